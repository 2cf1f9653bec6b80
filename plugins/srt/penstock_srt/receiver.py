"""The receiving half of a connection: data packets in, acknowledgements and loss reports out."""

from __future__ import annotations

from collections.abc import Iterable

from penstock_srt.keyring import Keyring
from penstock_srt.packet import (
    HEADER,
    HEADER_SIZE,
    KEY_SHIFT,
    KEYS,
    RETRANSMITTED,
    Acknowledgement,
    ControlPacket,
    Range,
    build_loss_list,
)
from penstock_srt.receive_buffer import ReceiveBuffer
from penstock_srt.round_trip import RoundTrip
from penstock_srt.sender import PACKET_BITS
from penstock_srt.sequence import MASK, offset
from penstock_srt.settings import MS
from penstock_srt.statistics import Statistics
from penstock_srt.time_base import TimeBase, unwrap

ACK_INTERVAL = 10 * MS
"""Of full acknowledgements (4.8.1)."""
LIGHT_ACK_PACKETS = 64
"""Packets after which a light one is sent before the next full one is due (4.8.1)."""
MAX_AHEAD = 1_000_000
"""Us that a time stamp may be ahead of the time: what is stamped further ahead would be held for as long."""
MAX_GAP = 1 << 29
"""A packet so far ahead is of no use, whatever it may be."""
MIN_NAK_INTERVAL = 10 * MS
PATIENCE = 10 * MS
"""What one link of a bond brings may come by another so much later."""

_PLAIN_HEADER = ~RETRANSMITTED


class Receiver:
    """`id` is our socket id; sequence numbers are whole."""

    def __init__(
        self,
        id: int,
        sequence: int,
        capacity: int,
        time_base: TimeBase,
        keys: Keyring | None,
        statistics: Statistics,
        now: int,
    ) -> None:
        self.id = id
        self.buffer = ReceiveBuffer(sequence, capacity)
        self.time_base = time_base
        self.keys = keys
        self.statistics = statistics
        self.round_trip = RoundTrip()
        self.buffer.last_stamp = time_base.stamp(now)
        self.seen = sequence
        """What came here is before this; where the buffer is shared, more may have come elsewhere."""
        self._shared = False
        self._leads = True
        self.next_ack = now + ACK_INTERVAL
        """When a full acknowledgement may be sent; it is, if there is something to say."""
        self._ack_number = 0
        self._acked = sequence
        self._confirmed = sequence
        self._acked_at = now
        self._since_ack = 0
        self._rate_at = now
        self._rate_packets = 0
        self._rate_bytes = 0
        self._last_rate = (0, 0)
        self._peak = 0

    def share(self, other: Receiver) -> None:
        """Put what comes into the buffer of `other`, which may be this: both are of one bond."""
        other.buffer.patience = PATIENCE
        self.buffer, self.time_base = other.buffer, other.time_base
        self._shared, self._leads = True, other is self

    def receive(self, datagrams: Iterable[bytes], now: int) -> None:
        """Take data packets in."""
        # What costs is per packet, so all that can be is a local name here, and a packet in order is nothing but
        # appended.
        buffer, keys, own = self.buffer, self.keys, self.id
        unpack, add_payload, add_stamp = HEADER.unpack_from, buffer.payloads.append, buffer.stamps.append
        tail = buffer.tail
        expected = tail & MASK
        room = buffer.capacity - len(buffer.payloads)
        ceiling = self.time_base.stamp(now) + MAX_AHEAD
        last, count, size = buffer.last_stamp, 0, 0
        high = last - last % (1 << 32)
        for data in datagrams:
            if len(data) < HEADER_SIZE:
                self.statistics.pktMalformed += 1
                continue
            sequence, message, stamp, destination = unpack(data)
            if destination != own:
                self.statistics.pktMalformed += 1
                continue
            count += 1
            size += len(data)
            if sequence == expected and room > 0:
                if keys is None and not message & KEYS:
                    payload: bytes | None = data[HEADER_SIZE:]
                else:
                    payload = self._decrypt(sequence, message, data)
                    if payload is None:
                        continue
                stamp += high
                if not last <= stamp <= ceiling:
                    stamp = min(max(unwrap(stamp, last), last), ceiling)
                    high = stamp - stamp % (1 << 32)
                add_payload(payload)
                add_stamp(stamp)
                last = stamp
                expected = (expected + 1) & MASK
                room -= 1
            else:
                buffer.last_stamp = last
                self._irregular(sequence, message, stamp, data, now, ceiling)
                last = buffer.last_stamp
                high = last - last % (1 << 32)
                expected = buffer.tail & MASK
                room = buffer.capacity - len(buffer.payloads)
        buffer.last_stamp = last
        if buffer.tail != tail:
            self.seen = buffer.tail
            buffer.reporter = self.id
        self._since_ack += count
        statistics = self.statistics
        statistics.pktRecv += count
        statistics.byteRecv += size

    def _decrypt(self, sequence: int, message: int, data: bytes) -> bytes | None:
        cipher = self.keys.ciphers[(message & KEYS) >> KEY_SHIFT] if self.keys is not None else None
        # S5: once encrypted, nothing in the clear is taken; and what we have no key for is not.
        if cipher is not None:
            header = data[:HEADER_SIZE]
            if message & RETRANSMITTED:
                header = header[:4] + (message & _PLAIN_HEADER).to_bytes(4, "big") + header[8:]
            payload = cipher.decrypt(sequence, header, data[HEADER_SIZE:])
            if payload is not None:
                return payload
        self.statistics.pktRcvUndecrypt += 1
        return None

    def _irregular(self, number: int, message: int, stamp: int, data: bytes, now: int, ceiling: int) -> None:
        """A packet out of order, again, or too many."""
        buffer, statistics = self.buffer, self.statistics
        if message & RETRANSMITTED:
            statistics.pktRcvRetrans += 1
        distance = offset(number, buffer.tail)
        sequence = buffer.tail + distance
        if distance > MAX_GAP or distance < -MAX_GAP:
            statistics.pktRcvDiscarded += 1
            return
        new = sequence >= self.seen
        if new:
            self.seen = sequence + 1
        if distance < 0 and not buffer.misses(sequence):
            # What another link of the bond has brought before is as it should be.
            if not (new and self._shared):
                statistics.pktRcvBelated += 1
            return
        if self.keys is None and not message & KEYS:
            payload: bytes | None = data[HEADER_SIZE:]
        else:
            payload = self._decrypt(number, message, data)
        if payload is None:
            return
        stamp = unwrap(stamp, buffer.last_stamp)
        if distance < 0:
            buffer.fill(sequence, payload, stamp)
            return
        stamp = min(max(stamp, buffer.last_stamp), ceiling)
        missing = buffer.append(sequence, payload, stamp, now)
        if missing is None:
            statistics.pktRcvDiscarded += 1
            return
        buffer.last_stamp = stamp
        statistics.pktRcvLoss += missing
        if buffer.head == sequence:
            statistics.pktRcvDrop += missing

    def deliver(self, now: int, ahead: int) -> tuple[list[bytes], int]:
        """What is due: payloads, and how many were given up between them; also what is due within `ahead` ns, as far as
        nothing is missing.
        """
        stamps, base = self.buffer.stamps, self.time_base
        soon = base.limit(now + ahead)
        if not stamps or stamps[0] > soon:
            return [], 0
        payloads, dropped = self.buffer.deliver(base.limit(now), soon)
        self.statistics.pktRcvDrop += dropped
        return payloads, dropped

    def finish(self) -> tuple[list[bytes], int]:
        """All that has come, due or not."""
        stamps = self.buffer.stamps
        payloads, dropped = self.buffer.deliver(stamps[-1], stamps[-1]) if stamps else ([], 0)
        self.statistics.pktRcvDrop += dropped
        return payloads, dropped

    def ack_due(self, now: int) -> bool:
        """Whether to ask `acknowledge`."""
        return self._since_ack >= LIGHT_ACK_PACKETS or (now >= self.next_ack and self.statistics.pktRecv > 0)

    def acknowledge(self, now: int) -> tuple[int, Acknowledgement] | None:
        """The number and body of the ACK that is due; a light one has number 0 (4.8.1)."""
        sequence = self._position
        if now < self.next_ack:
            if self._since_ack < LIGHT_ACK_PACKETS or sequence == self._acked:
                return None
            self._since_ack = 0
            return 0, Acknowledgement(sequence & MASK)
        self.next_ack = now + ACK_INTERVAL
        self._since_ack = 0
        rate, byte_rate = self._rates(now)
        trip = self.round_trip
        again = self._acked_at + trip.rtt + 4 * trip.variance
        if sequence == self._acked and (sequence == self._confirmed or now < again):
            return None
        self._acked, self._acked_at = sequence, now
        self._ack_number = self._ack_number % 0xFFFFFFFF + 1
        trip.sent(self._ack_number, now, sequence)
        self.statistics.pktSentACK += 1
        return self._ack_number, Acknowledgement(
            sequence & MASK,
            trip.rtt // 1000,
            trip.variance // 1000,
            max(2, self.buffer.capacity - len(self.buffer.payloads)),
            rate,
            self._peak,
            byte_rate,
        )

    @property
    def _position(self) -> int:
        """What is acknowledged: nothing that was not sent here, or the peer would take us for an attacker."""
        return min(self.buffer.acknowledged, self.seen)

    @property
    def next_report(self) -> int | None:
        """When a loss report is due."""
        buffer = self.buffer
        return buffer.losses.next_report if not self._shared or buffer.reporter == self.id else None

    @property
    def ack_wanted(self) -> bool:
        """Whether there is something to acknowledge, or to acknowledge again."""
        # Who sends only is asked most often, and has seen nothing.
        acked = self._acked
        return self._confirmed != acked or (self.seen != acked and self._position != acked)

    def _rates(self, now: int) -> tuple[int, int]:
        statistics, elapsed = self.statistics, now - self._rate_at
        packets = statistics.pktRecv - self._rate_packets
        if elapsed >= 100 * MS or not packets:
            seconds = max(elapsed, MS) / 1e9
            size = statistics.byteRecv - self._rate_bytes
            self._last_rate = int(packets / seconds), int(size / seconds)
            self._peak = max(self._peak, self._last_rate[0])
            self._rate_at = now
            self._rate_packets, self._rate_bytes = statistics.pktRecv, statistics.byteRecv
        return self._last_rate

    def acknowledged(self, packet: ControlPacket, now: int) -> None:
        """An ACKACK came."""
        answered = self.round_trip.answered(packet.information, now)
        if answered is None:
            return
        sample, sequence = answered
        self._confirmed = max(self._confirmed, sequence)
        if self._leads:
            self.time_base.sample(now, packet.timestamp, sample)

    def report_losses(self, now: int) -> bytes | None:
        """The body of the NAK that is due, None where none is (4.8.2)."""
        losses, trip = self.buffer.losses, self.round_trip
        # Four times in a round trip, as reports are lost like all else; the sender knows what is on its way already.
        again = max(MIN_NAK_INTERVAL, (trip.rtt + 4 * trip.variance) // 4)
        ranges: list[Range] = losses.report(now, again, MIN_NAK_INTERVAL // 2)
        if not ranges:
            return None
        self.statistics.pktSentNAK += 1
        return build_loss_list((first & MASK, last & MASK) for first, last in ranges)

    def give_up(self, first: int, last: int) -> None:
        """The sender has the packets of this range (of the wire) no more; another link may yet bring them."""
        if self._shared:
            return
        tail = self.buffer.tail
        self.buffer.give_up(tail + offset(first, tail), tail + offset(last, tail))

    def describe(self, statistics: Statistics) -> None:
        """Write how it is now."""
        stamps, trip = self.buffer.stamps, self.round_trip
        statistics.pktRcvBuf = len(stamps)
        statistics.msRcvBuf = (stamps[-1] - stamps[0]) / 1000 if stamps else 0.0
        statistics.msRcvTsbPdDelay = self.time_base.latency / MS
        statistics.msDrift = self.time_base.drift / MS
        statistics.mbpsRecvRate = self._last_rate[1] * 8 / 1e6
        statistics.mbpsBandwidth = self._peak * PACKET_BITS / 1e6
        statistics.msRTT, statistics.msRTTVariance = trip.rtt / MS, trip.variance / MS
