"""At what rate a picture is sent."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from attrs import define, field

from penstock.media import NS

MEAN_NS = 2 * NS
"""What it is the mean of: a key frame among the pictures until the next."""
LEAST_NS = NS // 2
MAX_FRAMES = 1024
HEADERS = 40
"""Bytes that each packet has besides its payload: header, extensions and tag."""


@define(eq=False)
class Rate:
    """Of the frames of one track. Times are dts."""

    _frames: deque[tuple[int, int]] = field(factory=deque[tuple[int, int]])
    _octets: int = 0
    _began: int | None = None

    def frame(self, payloads: Sequence[bytes], time: int) -> None:
        """One frame, in packets."""
        frames = self._frames
        size = sum(map(len, payloads)) + HEADERS * len(payloads)
        if self._began is None:
            self._began = time
        frames.append((time, size))
        self._octets += size
        while time - frames[0][0] >= MEAN_NS or len(frames) > MAX_FRAMES:
            self._octets -= frames.popleft()[1]

    @property
    def value(self) -> float:
        """Bits a second."""
        if self._began is None:
            return 0.0
        return 8 * NS * self._octets / max(LEAST_NS, min(MEAN_NS, self._frames[-1][0] - self._began))
