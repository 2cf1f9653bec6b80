"""Packets that are missing on the way in, and when to ask for them again (RFC 4585 6.2)."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define, field

MAX_MISSING = 256
"""Packets that are asked for at a time: where more are missing, a key frame is the shorter way."""
FIRST_NS = 5_000_000
"""What is only out of order is there by then."""
AGAIN_NS = 40_000_000
"""Between two times of asking for the same: a round trip in one country."""
MAX_TRIES = 8


@define
class _Wanted:
    at: int
    tries: int = 0


@define(eq=False)
class Missing:
    """What is missing of one SSRC. Times are monotonic ns."""

    _highest: int | None = None
    _wanted: dict[int, _Wanted] = field(factory=dict[int, _Wanted])

    def received(self, sequence: int, now: int) -> None:
        """A packet came in, or what repeats it."""
        if self._highest is None:
            self._highest = sequence
            return
        number = self._highest + ((sequence - self._highest + 0x8000) & 0xFFFF) - 0x8000
        if number <= self._highest:
            self._wanted.pop(number, None)
            return
        if number - self._highest > MAX_MISSING:
            self._wanted.clear()
        else:
            for between in range(self._highest + 1, number):
                self._wanted[between] = _Wanted(now + FIRST_NS)
            while len(self._wanted) > MAX_MISSING:
                del self._wanted[next(iter(self._wanted))]
        self._highest = number

    def due(self, now: int) -> Sequence[int]:
        """The sequence numbers to ask for now, in rising order."""
        found: list[int] = []
        for number, wanted in tuple(self._wanted.items()):
            if now < wanted.at:
                continue
            if wanted.tries == MAX_TRIES:
                del self._wanted[number]
                continue
            wanted.tries += 1
            wanted.at = now + AGAIN_NS
            found.append(number & 0xFFFF)
        return found
