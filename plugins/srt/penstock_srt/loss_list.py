"""The packets that are missing, and when they were last asked for (draft-sharabayko-srt-01 4.8.2)."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from penstock_srt.packet import MAX_RANGES, Range


class LossList:
    """Ranges in order, of whole sequence numbers: one packet far ahead makes one range, however much is missing."""

    def __init__(self) -> None:
        self.next_report: int | None = None
        """When the next NAK is due, None while nothing is missing."""
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        self._due: list[int] = []

    def __contains__(self, sequence: int) -> bool:
        at = bisect_left(self._lasts, sequence)
        return at < len(self._firsts) and self._firsts[at] <= sequence

    @property
    def first(self) -> int | None:
        """The first that is missing."""
        return self._firsts[0] if self._firsts else None

    def add(self, first: int, end: int, when: int) -> None:
        """From `first` to before `end` are missing, which is after all that is; to be reported at `when`."""
        self._firsts.append(first)
        self._lasts.append(end - 1)
        self._due.append(when)
        if self.next_report is None or when < self.next_report:
            self.next_report = when

    def remove(self, first: int, last: int) -> int:
        """What is missing from `first` to `last` has come, or is given up; returns how many that are."""
        begin, end = bisect_left(self._lasts, first), bisect_right(self._firsts, last)
        if begin >= end:
            return 0
        kept: list[tuple[int, int, int]] = []
        if self._firsts[begin] < first:
            kept.append((self._firsts[begin], first - 1, self._due[begin]))
        if self._lasts[end - 1] > last:
            kept.append((last + 1, self._lasts[end - 1], self._due[end - 1]))
        count = sum(self._lasts[at] - self._firsts[at] + 1 for at in range(begin, end))
        count -= sum(b - a + 1 for a, b, _ in kept)
        self._firsts[begin:end] = [a for a, _, _ in kept]
        self._lasts[begin:end] = [b for _, b, _ in kept]
        self._due[begin:end] = [when for _, _, when in kept]
        if not self._firsts:
            self.next_report = None
        return count

    def report(self, now: int, again: int, early: int) -> list[Range]:
        """What is to be asked for at `now`, or within `early` ns, so that one packet does; each of it once more after
        `again` ns.
        """
        ranges: list[Range] = []
        soonest = until = now + again
        limit = now + early
        for at, when in enumerate(self._due):
            if when > limit or len(ranges) == MAX_RANGES:
                soonest = min(soonest, when)
                continue
            self._due[at] = until
            ranges.append((self._firsts[at], self._lasts[at]))
        self.next_report = soonest if self._firsts else None
        return ranges
