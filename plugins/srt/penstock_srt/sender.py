"""The sending half of a connection: data packets out, acknowledgements and loss reports in, retransmission."""

from __future__ import annotations

from collections.abc import Sequence

from penstock_srt.keyring import Keyring
from penstock_srt.packet import (
    HEADER,
    KEY_SHIFT,
    MESSAGE_NUMBERS,
    RETRANSMITTED,
    SOLO,
    Range,
    build_headers,
)
from penstock_srt.round_trip import RoundTrip
from penstock_srt.send_buffer import Run, SendBuffer
from penstock_srt.sequence import MASK, offset
from penstock_srt.settings import MS
from penstock_srt.statistics import Statistics

MIN_KEPT = 1000 * MS
"""Packets are kept for at least as long, so that a peer with a shorter latency is told what is dropped (4.6)."""
MAX_REQUESTED = 1024
"""Packets that one NAK may ask for: what is missing beyond that is asked for again, and the budget would not allow it."""
COPY_AFTER = 5 * MS
"""Where a packet is sent twice, the second time is so much later: what loses one seldom loses that one alone."""
FORGET_PACKETS = 256
"""After so many acknowledged packets, what is noted of them is looked through."""
MIN_BUDGET = 64
"""Packets that may be sent again at once; where much is sent, as many as the overhead allows in a second."""
MAX_WINDOW = 8192
"""Packets that are kept for one peer at most, whatever it says of its window and latency, as libsrt's buffer has it: 12 MB
where each peer has its own ciphertext, for one that acknowledges nothing."""
PACKET_BITS = 8 * 1500
"""Of a packet in rates that count packets, as libsrt reckons."""


class Sender:
    """`peer_id` is the peer's socket id, `start` the time when our time stamps were 0; sequence numbers are whole.

    `latency` is the peer's, in ns: what it has not got by then is of no use to it.
    """

    def __init__(
        self,
        peer_id: int,
        sequence: int,
        window: int,
        latency: int,
        start: int,
        overhead: int,
        keys: Keyring | None,
        statistics: Statistics,
    ) -> None:
        self.peer_id = peer_id
        self.buffer = SendBuffer(sequence, min(window, MAX_WINDOW))
        self.latency = latency
        self.start = start
        self.keys = keys
        self.statistics = statistics
        self.round_trip = RoundTrip()
        self.window = window
        self.peer_rate = 0
        self.dropped: Range | None = None
        """What a NAK asked for in vain, as whole numbers, until a drop request has said so."""
        self.last_sent = start
        self._kept = max(latency, MIN_KEPT)
        self._number = 0
        self._overhead = overhead / 100
        self._budget = float(MIN_BUDGET)
        self._budget_limit = float(MIN_BUDGET)
        self._second_began = start
        self._second_packets = 0
        self._second_bytes = 0
        self._second_rate = 0.0
        self._forgotten = sequence
        self._wanted: dict[int, int] = {}
        """What is to be sent again, and until when that is of use."""
        self._sent_again: dict[int, int] = {}
        self._copies: dict[int, tuple[int, int]] = {}
        """What is to be sent twice: when, and until when that is of use."""

    def stamp(self, now: int) -> int:
        """The time stamp of what is sent `now`."""
        return (now - self.start) // 1000 & 0xFFFFFFFF

    def send(self, payloads: Sequence[bytes], size: int, now: int) -> tuple[bytes, Sequence[bytes]]:
        """Headers of the data packets of `payloads`, back to back, and what is to follow each; they are kept for
        retransmission. `size` is that of all payloads.
        """
        # What each frame costs each reader: little is called here.
        buffer, keys, statistics = self.buffer, self.keys, self.statistics
        oldest = buffer.oldest
        if oldest is not None and oldest < now - self._kept:
            self.drop_too_late(now)
        count = len(payloads)
        first, number = buffer.next, self._number
        bits = 0 if keys is None else keys.sending << KEY_SHIFT
        stamp = (now - self.start) // 1000 & 0xFFFFFFFF
        headers = build_headers(first & MASK, number, SOLO | bits, stamp, self.peer_id, count)
        self._number = (number + count) % MESSAGE_NUMBERS
        if keys is not None:
            payloads = keys.encrypt(first, headers, payloads)
            size += count * keys.overhead
        given_up = buffer.append(Run(first, number, now, bits, payloads))
        if given_up:
            statistics.pktSndDrop += given_up
            self._forget()
        statistics.pktSent += count
        statistics.byteSent += size + len(headers)
        self.last_sent = now
        if now - self._second_began >= 1000 * MS:
            self._measure(now)
        budget = self._budget + count * self._overhead
        self._budget = budget if budget < self._budget_limit else self._budget_limit
        return headers, payloads

    def _measure(self, now: int) -> None:
        """A second has passed: what was sent in it says how much may be sent again at once."""
        statistics, elapsed = self.statistics, now - self._second_began
        count = statistics.pktSent - self._second_packets
        self._budget_limit = max(MIN_BUDGET, count * self._overhead)
        self._second_rate = (statistics.byteSent - self._second_bytes) * 1e9 / elapsed
        self._second_began = now
        self._second_packets, self._second_bytes = statistics.pktSent, statistics.byteSent

    def restart(self, sequence: int) -> None:
        """Send from `sequence` on; nothing before is kept.

        What was sent already may be sent anew. The message number is the sequence's, so that its header is the same then:
        another one with the same key and nonce gives GCM's key of authentication away (NIST SP 800-38D 8).
        """
        self.buffer.restart(sequence)
        self._number = sequence % MESSAGE_NUMBERS
        self._forgotten = sequence
        self._wanted.clear()
        self._sent_again.clear()
        self._copies.clear()

    def acknowledged(
        self, next_sequence: int, rtt: int | None, variance: int, available: int, capacity: int | None
    ) -> None:
        """An ACK came, in the terms of `Acknowledgement`; one for packets that were never sent is ignored."""
        buffer = self.buffer
        first = buffer.first
        sequence = first + offset(next_sequence, first)
        if sequence > buffer.next:
            self.statistics.pktMalformed += 1
            return
        if sequence > first:
            buffer.acknowledge(sequence)
            if sequence - self._forgotten >= FORGET_PACKETS:
                self._forget()
        if rtt is not None:
            self.round_trip.said(rtt * 1000, variance * 1000)
            self.window = available
        if capacity is not None:
            self.peer_rate = capacity

    def requested(self, ranges: Sequence[Range], now: int) -> None:
        """A NAK came: note what is to be sent again."""
        buffer, wanted, again = self.buffer, self._wanted, self._sent_again
        # What was sent again less than a round trip ago cannot be known to be lost again.
        trip = self.round_trip
        recent = now - max(trip.rtt // 2, trip.rtt - 4 * trip.variance)
        room = MAX_REQUESTED
        for first, last in ranges:
            begin = buffer.first + offset(first, buffer.first)
            end = min(buffer.first + offset(last, buffer.first) + 1, buffer.next)
            if begin < buffer.first and end > begin:
                self.dropped = (begin, min(end, buffer.first) - 1)
            begin = max(begin, buffer.first)
            if begin >= end:
                continue
            # A hole is waited for until the packet behind it is due; the way of the first packet is in the peer's time base.
            useful = buffer.run_of(min(end, buffer.next - 1)).sent + self.latency
            for sequence in range(begin, min(end, begin + room)):
                room -= 1
                sent = again.get(sequence)
                if sequence not in wanted and (sent is None or sent <= recent):
                    wanted[sequence] = useful
                    self.statistics.pktSndLoss += 1

    @property
    def pending(self) -> bool:
        """Whether something is to be sent again."""
        return bool(self._wanted or self._copies)

    def retransmissions(self, now: int) -> list[bytes]:
        """What is to be sent again, as far as the budget goes; what would come too late is left out."""
        copies = [sequence for sequence, (when, _) in self._copies.items() if when <= now]
        datagrams: list[bytes] = []
        for sequence in copies:
            self._again(sequence, self._copies.pop(sequence)[1], now, datagrams)
        trip = self.round_trip.rtt
        for sequence, useful in list(self._wanted.items()):
            if self._budget < 1:
                break
            del self._wanted[sequence]
            sent = self._again(sequence, useful, now, datagrams)
            if sent is None:
                continue
            unlucky = sequence in self._sent_again or now - sent > 3 * trip // 2
            if unlucky and useful < now + trip and 2 * self._budget > self._budget_limit:
                # It was lost twice, or the report of it was lost, and there is no time to hear whether it is lost once more.
                self._copies[sequence] = now + COPY_AFTER, useful
            self._sent_again[sequence] = now
        self.statistics.pktRetrans += len(datagrams)
        return datagrams

    def _again(self, sequence: int, useful: int, now: int, datagrams: list[bytes]) -> int | None:
        """Add a packet as it is sent again, and say when it was sent first; None where that is of no use any more."""
        if sequence < self.buffer.first or useful < now:
            return None
        run = self.buffer.run_of(sequence)
        self._budget -= 1
        at = sequence - run.first
        message = SOLO | RETRANSMITTED | run.key_bits | (run.number + at) % MESSAGE_NUMBERS + 1
        header = HEADER.pack(sequence & MASK, message, self.stamp(run.sent), self.peer_id)
        datagrams.append(header + run.payloads[at])
        return run.sent

    def drop_too_late(self, now: int) -> None:
        """Give up what the peer can use no more (4.6)."""
        given_up = self.buffer.drop(now - self._kept)
        if given_up:
            self.statistics.pktSndDrop += given_up
            self._forget()

    def describe(self, statistics: Statistics, now: int) -> None:
        """Write how it is now."""
        statistics.pktFlightSize = statistics.pktSndBuf = len(self.buffer)
        oldest = self.buffer.oldest
        statistics.msSndBuf = 0.0 if oldest is None else max(0, now - oldest) / MS
        statistics.pktFlowWindow = self.window
        statistics.msSndTsbPdDelay = self.latency / MS
        statistics.mbpsSendRate = self._second_rate * 8 / 1e6
        if self.round_trip.known:
            statistics.msRTT, statistics.msRTTVariance = (
                self.round_trip.rtt / MS,
                self.round_trip.variance / MS,
            )
        if self.peer_rate:
            statistics.mbpsBandwidth = self.peer_rate * PACKET_BITS / 1e6

    def _forget(self) -> None:
        first = self.buffer.first
        if first - self._forgotten < FORGET_PACKETS:
            return
        self._forgotten = first
        for noted in (self._wanted, self._sent_again):
            for sequence in [n for n in noted if n < first]:
                del noted[sequence]
