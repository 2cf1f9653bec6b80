"""The timestamps of tags, which wrap: after 49.7 days where all 32 bits are used, after half of that where a sign is spared."""

from __future__ import annotations

from penstock.clock import Unwrapper

NEAR_MS = 10_000
"""What is as near as this but for the highest bit is a wrap at 2**31."""


class TagClock:
    """Milliseconds as an integer that goes on over every wrap.

    FLV E.4.1 has the timestamp signed: FFmpeg never sets the highest bit, so that its times wrap at 2**31. RTMP 5.3.1.1 has
    it unsigned.
    """

    __slots__ = ("_half", "_last", "_whole")

    def __init__(self) -> None:
        self._whole = Unwrapper(32)
        self._half = 0
        self._last: int | None = None

    def unwrap(self, value: int) -> int:
        """`value` on the line without wraps."""
        last, time = self._last, self._whole.unwrap(value) + self._half
        if last is not None and abs(time - last) > NEAR_MS:
            for step in (1 << 31, -1 << 31):
                if abs(time + step - last) <= NEAR_MS:
                    self._half += step
                    time += step
                    break
        self._last = time
        return time
