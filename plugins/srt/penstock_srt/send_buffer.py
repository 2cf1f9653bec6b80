"""What was sent and is not yet acknowledged (draft-sharabayko-srt-01 4.4, 4.6)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple


class Run(NamedTuple):
    """Payloads that were sent at once, from sequence number `first` on; all have one time stamp, that of `sent`.

    They are the caller's own objects, shared by all readers, or what they were encrypted to with the key `key_bits`.
    """

    first: int
    number: int
    sent: int
    key_bits: int
    payloads: Sequence[bytes]


class SendBuffer:
    """Runs in order; sequence numbers are whole. A run goes when all of it is acknowledged."""

    def __init__(self, first: int, capacity: int) -> None:
        self.first = first
        """The first packet that is not acknowledged, or given up."""
        self.next = first
        self.capacity = capacity
        self._ends: list[int] = []
        self._runs: list[Run] = []

    def __len__(self) -> int:
        return self.next - self.first

    @property
    def oldest(self) -> int | None:
        """When the oldest run was sent."""
        return self._runs[0].sent if self._runs else None

    def append(self, run: Run) -> int:
        """Keep what is sent; returns how many packets were given up for want of room."""
        self.next = end = run.first + len(run.payloads)
        self._ends.append(end)
        self._runs.append(run)
        given_up = self.next - self.capacity - self.first
        if given_up <= 0:
            return 0
        self.acknowledge(self.first + given_up)
        return given_up

    def acknowledge(self, sequence: int) -> None:
        """All before `sequence` are needed no more."""
        self.first = sequence
        if sequence >= self.next:
            # As where each frame is acknowledged before the next one.
            self._ends.clear()
            self._runs.clear()
            return
        count = bisect_right(self._ends, sequence)
        del self._ends[:count], self._runs[:count]

    def drop(self, before: int) -> int:
        """Give up what was sent before that time; returns how many packets."""
        count = 0
        while count < len(self._runs) and self._runs[count].sent < before:
            count += 1
        if not count:
            return 0
        first = self._ends[count - 1]
        given_up = first - self.first
        self.acknowledge(first)
        return given_up

    def run_of(self, sequence: int) -> Run:
        """The run that has `sequence`, which is from `first` to before `next`."""
        return self._runs[bisect_right(self._ends, sequence)]

    def runs(self) -> list[Run]:
        """All that is kept, without what is acknowledged of the first run."""
        found = self._runs[:]
        if found and found[0].first < self.first:
            run, skipped = found[0], self.first - found[0].first
            found[0] = Run(self.first, run.number + skipped, run.sent, run.key_bits, run.payloads[skipped:])
        return found

    def restart(self, sequence: int) -> None:
        """Nothing is kept, and the next packet is `sequence`."""
        self._ends, self._runs = [], []
        self.first = self.next = sequence
