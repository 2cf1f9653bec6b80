"""Round-trip time, measured from ACK to ACKACK (draft-sharabayko-srt-01 4.10)."""

from __future__ import annotations

from penstock_srt.settings import MS

INITIAL = 100 * MS
INITIAL_VARIANCE = 50 * MS
MAX_PENDING = 1024
"""Acknowledgements that wait for their ACKACK: ten seconds' worth."""
MAX_RTT = 10_000 * MS
"""What a peer says beyond this is not believed."""


class RoundTrip:
    """Smoothed round-trip time and its variance, in ns; an ACK's number leads to when it went and what it said."""

    def __init__(self) -> None:
        self.rtt = INITIAL
        self.variance = INITIAL_VARIANCE
        self.known = False
        self._pending: dict[int, tuple[int, int]] = {}

    def sent(self, number: int, now: int, sequence: int) -> None:
        """An ACK of `number` went out, for packets before `sequence`."""
        self._pending[number] = (now, sequence)
        if len(self._pending) > MAX_PENDING:
            del self._pending[next(iter(self._pending))]

    def answered(self, number: int, now: int) -> tuple[int, int] | None:
        """The time that the ACK of `number` took there and back, and its sequence; None where there was none."""
        found = self._pending.pop(number, None)
        if found is None:
            return None
        self.take(now - found[0])
        return now - found[0], found[1]

    def take(self, sample: int) -> None:
        """One more measurement; the first one is taken as it is."""
        sample = min(sample, MAX_RTT)
        if self.known:
            self.variance = (3 * self.variance + abs(self.rtt - sample)) // 4
            self.rtt = (7 * self.rtt + sample) // 8
        else:
            self.known = True
            self.rtt, self.variance = sample, sample // 2

    def said(self, rtt: int, variance: int) -> None:
        """The peer has measured, and smoothed what it measured: an ACK has it (3.2.4)."""
        self.known = True
        self.rtt, self.variance = min(rtt, MAX_RTT), min(variance, MAX_RTT)
