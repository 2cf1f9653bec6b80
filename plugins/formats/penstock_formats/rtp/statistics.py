"""What a receiver reports of one sender: loss and jitter (RFC 3550 A.3, A.8)."""

from __future__ import annotations

from penstock.media import NS
from penstock_formats.rtcp import ReportBlock, SenderReport

MAX_DROPOUT = 3000
"""RFC 3550 A.1: a larger step is a new numbering."""


class ReceiverStatistics:
    """Counts the packets of one SSRC. Times are nanoseconds of any steady clock, the same for all methods."""

    def __init__(self, ssrc: int, clock_rate: int) -> None:
        self.ssrc = ssrc
        self.received = 0
        self._clock_rate = clock_rate
        self._first = 0
        self._highest = 0
        self._jitter = 0
        self._transit: int | None = None
        self._expected_prior = 0
        self._received_prior = 0
        self._last_report = 0
        self._last_report_at: int | None = None

    def packet(self, sequence: int, timestamp: int, now: int) -> None:
        """One packet came in, in whatever order."""
        if self._transit is None:
            self._first = self._highest = sequence
        else:
            # As by `unwrap_sequence`.
            step = ((sequence - self._highest + 0x8000) & 0xFFFF) - 0x8000
            if abs(step) > MAX_DROPOUT:
                self._restart(sequence)
            elif step > 0:
                self._highest += step
        self.received += 1
        transit = now * self._clock_rate // NS - timestamp
        if self._transit is not None:
            step = ((transit - self._transit + 0x80000000) & 0xFFFFFFFF) - 0x80000000
            # RFC 3550 A.8: the estimate is kept times 16 so that rounding does not bias it.
            self._jitter += abs(step) - (self._jitter + 8 >> 4)
        self._transit = transit

    def sender_report(self, report: SenderReport, now: int) -> None:
        """The sender's report came in, which the next block refers to."""
        self._last_report = report.ntp >> 16 & 0xFFFFFFFF
        self._last_report_at = now

    def report(self, now: int) -> ReportBlock:
        """The block to send now; the next one's fraction counts from here."""
        expected = self._highest - self._first + 1 if self._transit is not None else 0
        step = expected - self._expected_prior
        lost = step - (self.received - self._received_prior)
        self._expected_prior = expected
        self._received_prior = self.received
        delay = 0
        if self._last_report_at is not None:
            delay = min((now - self._last_report_at) * 65536 // NS, 0xFFFFFFFF)
        return ReportBlock(
            ssrc=self.ssrc,
            fraction_lost=min(lost * 256 // step, 255) if step > 0 and lost > 0 else 0,
            cumulative_lost=max(-0x800000, min(expected - self.received, 0x7FFFFF)),
            highest_sequence=self._highest & 0xFFFFFFFF,
            jitter=min(self._jitter >> 4, 0xFFFFFFFF),
            last_report=self._last_report,
            delay=max(delay, 0),
        )

    def _restart(self, sequence: int) -> None:
        self._first = self._highest = sequence
        self.received = 0
        self._expected_prior = self._received_prior = 0
