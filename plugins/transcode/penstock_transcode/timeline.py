"""Times of samples that are counted on the way through a decoder, a resampler and an encoder."""

from __future__ import annotations

from collections import deque

from penstock.media import to_ns

TOLERANCE_NS = 1_000_000
"""Times of the source may be rounded (RTMP's are whole ms); what is further off is a gap, or another clock."""


class Timeline:
    """Where on the stream's clock each sample that goes into an encoder belongs.

    A gap in the source is one in what is made of it: it is not filled, just as the source does not.
    """

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._anchors: deque[tuple[int, int]] = deque()
        """Numbers of samples from which on times run from a time, in ns."""

    def take(self, time: int, number: int) -> None:
        """Sample `number` is the first of what the source plays at `time`."""
        if self._anchors and abs(time - self._time(self._anchors[-1], number)) <= TOLERANCE_NS:
            return
        self._anchors.append((number, time))

    def at(self, number: int) -> int:
        """The time of a sample; asked for in rising order. What an encoder puts before the first (its delay) has times, too."""
        anchors = self._anchors
        while len(anchors) > 1 and anchors[1][0] <= number:
            anchors.popleft()
        return self._time(anchors[0], number)

    def _time(self, anchor: tuple[int, int], number: int) -> int:
        samples = number - anchor[0]
        return anchor[1] + (to_ns(samples, self._rate) if samples >= 0 else -to_ns(-samples, self._rate))
