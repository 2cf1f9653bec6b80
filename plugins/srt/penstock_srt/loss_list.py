"""The packets that are missing, and when they were last asked for (draft-sharabayko-srt-01 4.8.2)."""

from __future__ import annotations

from penstock_srt.packet import MAX_RANGES, Range


class LossList:
    """Sequence numbers are whole and always in order, since they are only ever missed in order."""

    def __init__(self) -> None:
        self._due: dict[int, int] = {}
        self.next_report: int | None = None
        """When the next NAK is due, None while nothing is missing."""

    def __contains__(self, sequence: int) -> bool:
        return sequence in self._due

    @property
    def first(self) -> int | None:
        """The first that is missing."""
        return next(iter(self._due), None)

    def add(self, first: int, end: int, when: int) -> None:
        """From `first` to before `end` are missing; to be reported at `when`."""
        self._due.update(dict.fromkeys(range(first, end), when))
        if self.next_report is None or when < self.next_report:
            self.next_report = when

    def remove(self, sequence: int) -> None:
        """`sequence`, which is missing, has come."""
        del self._due[sequence]
        if not self._due:
            self.next_report = None

    def drop(self, end: int) -> None:
        """Those before `end` are given up."""
        dropped: list[int] = []
        for sequence in self._due:
            if sequence >= end:
                break
            dropped.append(sequence)
        for sequence in dropped:
            del self._due[sequence]
        if not self._due:
            self.next_report = None

    def report(self, now: int, again: int) -> list[Range]:
        """What is to be asked for at `now`, in ranges of whole numbers; each of it once more after `again` ns."""
        ranges: list[Range] = []
        due = self._due
        begin = last = -2
        until = now + again
        soonest = until
        for sequence, when in due.items():
            if when > now or len(ranges) == MAX_RANGES:
                soonest = min(soonest, when)
                continue
            due[sequence] = until
            if sequence != last + 1:
                if last >= 0:
                    ranges.append((begin, last))
                begin = sequence
            last = sequence
        if last >= 0:
            ranges.append((begin, last))
        self.next_report = soonest if due else None
        return ranges
