"""One established connection, of either role: datagrams in, payloads out when they are due, and the other way."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from operator import add

from attrs import frozen

from penstock.errors import ProtocolViolation
from penstock_srt.extension import ExtensionType
from penstock_srt.handshake import Handshake, Kind
from penstock_srt.key_material import KeyMaterial, KeyState
from penstock_srt.keyring import Keyring
from penstock_srt.packet import (
    CONTROL,
    FULL_ACK,
    HEADER,
    Acknowledgement,
    ControlPacket,
    ControlType,
    build_drop_request,
    parse_drop_request,
    parse_loss_list,
    split_headers,
)
from penstock_srt.receiver import MIN_NAK_INTERVAL, Receiver
from penstock_srt.sender import Sender
from penstock_srt.sequence import MASK
from penstock_srt.settings import HEADERS, MS, Address, Randomness, Settings
from penstock_srt.statistics import Statistics
from penstock_srt.time_base import TimeBase

KEEP_ALIVE = 1000 * MS
"""Silence after which one is sent (3.2.3)."""
KEY_INTERVAL = 100 * MS
"""Key material of a peer is looked at no more often, since that takes a millisecond; ours is sent no more often."""
TICK = 5 * MS
"""How often a connection wants to be looked at, at most: payloads are let out that much after they are due."""

_CONTROL = b"\x80"
"""The first byte of a control packet is this or more."""
_EXTENDED = b"\xff\xff"
"""The first two of one with keys."""
_ACK = CONTROL | ControlType.ACK << 16
_ACKACK = CONTROL | ControlType.ACKACK << 16
_NO_BODY = bytes(4)
"""Those without a body have four bytes that mean nothing, as libsrt's have."""


@frozen
class Received:
    """Payloads that are due, in order; `dropped` packets before the last of them never came in time."""

    payloads: list[bytes]
    dropped: int


@frozen
class Closed:
    """The connection is over; nothing comes after it."""

    reason: str


@frozen
class Terms:
    """What a handshake agreed on. Delays are in ms, times in ns: `start` is when our time stamps were 0, `peer_start`
    when the peer's were, one way's delay included. `agreement` is the body of what a handshake is answered with that
    comes again, as ours that ended it was lost; empty where nothing is to be said.
    """

    id: int
    peer_id: int
    sequence: int
    peer_sequence: int
    latency: int
    peer_latency: int
    mtu: int
    window: int
    start: int
    peer_start: int
    keys: Keyring | None = None
    agreement: bytes = b""


class Connection:
    """The peer is at `address`; what comes from elsewhere, or for another socket id than `id`, is not to be given here.

    All that is sent is returned: by `send` (data), and by `datagrams_to_send`, which is to be asked after each of the
    other methods. A payload is a packet: at most `max_payload` bytes, 1316 being seven of MPEG-TS. Payloads are not
    copied but kept until they are acknowledged, so they, and the sequence of them, may not change.
    """

    def __init__(
        self,
        terms: Terms,
        settings: Settings,
        address: Address,
        stream_id: bytes,
        random: Randomness,
        now: int,
    ) -> None:
        self.terms = terms
        self.address = address
        self.stream_id = stream_id
        self.id = terms.id
        self.overhead = terms.keys.overhead if terms.keys else 0
        """Bytes that encryption adds to each payload."""
        self.max_payload = terms.mtu - HEADERS - self.overhead
        self.capacity = settings.window
        """Packets that are held at most, each way."""
        self.ahead = 0
        """Ns by which payloads may come out before they are due, where nothing before them is missing: for who looks only
        now and then, so that none comes late."""
        self.closed = ""
        """Why it is over, empty while it is not."""
        self._statistics = Statistics()
        self._idle = settings.peer_idle_timeout * MS
        self.sender = Sender(
            terms.peer_id,
            terms.sequence,
            terms.window,
            terms.peer_latency * MS,
            terms.start,
            settings.overhead,
            terms.keys,
            self._statistics,
        )
        self._receiver = Receiver(
            terms.id,
            terms.peer_sequence,
            settings.window,
            TimeBase(terms.peer_start, terms.latency * MS),
            terms.keys,
            self._statistics,
            now,
        )
        self._events: deque[Received | Closed] = deque()
        self._replies: list[bytes] = []
        self._heard = self._said = self._ticked = now
        self._farewell = False
        self._settings = settings
        self._random = random
        self._next_key_at = self._announce_at = now

    def receive_datagrams(self, datagrams: Sequence[bytes], now: int) -> None:
        """Take what came at once from the peer."""
        if self.closed:
            return
        if self._receiver.buffer.stamps:
            self._deliver(now)
        control = [data for data in datagrams if data[:1] >= _CONTROL]
        if control:
            datagrams = [data for data in datagrams if data[:1] < _CONTROL]
            # A new key is taken before what it opens, where both have lain unread.
            for data in control:
                if data[:2] == _EXTENDED:
                    self._take(data, now)
        if datagrams:
            self._receiver.receive(datagrams, now)
        for data in control:
            if data[:2] != _EXTENDED:
                self._take(data, now)
        self._heard = now

    def next_event(self) -> Received | Closed | None:
        """What came of it, one after another; None where there is no more."""
        return self._events.popleft() if self._events else None

    def send(self, payloads: Sequence[bytes], now: int) -> list[bytes]:
        """The datagrams of `payloads`, to be sent at once; none once it is closed."""
        headers, payloads = self.head(payloads, sum(map(len, payloads)), now)
        return list(map(add, split_headers(headers), payloads))

    def head(self, payloads: Sequence[bytes], size: int, now: int) -> tuple[bytes, Sequence[bytes]]:
        """As `send`, with the headers by themselves, back to back, and what is to follow each, which is the same
        `payloads` unless they are encrypted. `size` is that of all payloads.
        """
        return (b"", ()) if self.closed or not payloads else self.sender.send(payloads, size, now)

    def answer(self, data: bytes, now: int) -> bytes | None:
        """The answer to a datagram of the size of `FULL_ACK`, where that is a full acknowledgement and nothing else is to be
        done; None where it is to be given to `receive_datagrams`, as all others are.

        Players send one for each frame: what comes of it is what comes of it the long way, for half of the cost.
        """
        sender, keys = self.sender, self.terms.keys
        if self.closed or self._replies or sender.pending or self._receiver.buffer.stamps:
            return None
        if keys is not None and not keys.settled(
            self._settings.refresh_packets - self._settings.announce_packets
        ):
            return None
        kind, number, _, destination, sequence, rtt, variance, available, _, capacity, _ = FULL_ACK.unpack(
            data
        )
        if kind != _ACK or destination != self.id or not number:
            return None
        self._statistics.pktRecvACK += 1
        sender.acknowledged(sequence & MASK, rtt, variance, available, capacity)
        self._heard = self._said = now
        stamp = (now - sender.start) // 1000 & 0xFFFFFFFF
        return HEADER.pack(_ACKACK, number, stamp, sender.peer_id) + _NO_BODY

    def datagrams_to_send(self, now: int) -> list[bytes]:
        """What else is to be sent now: acknowledgements, loss reports, retransmissions."""
        datagrams, self._replies = self._replies, []
        if self.closed:
            if self._farewell:
                self._farewell = False
                datagrams.append(self._build(ControlType.SHUTDOWN, now))
            return datagrams
        receiver, sender = self._receiver, self.sender
        # Asked after every datagram or few: what is not due is not even called.
        if receiver.ack_due(now):
            acknowledgement = receiver.acknowledge(now)
            if acknowledgement is not None:
                number, ack = acknowledgement
                datagrams.append(self._build(ControlType.ACK, now, number, ack.build()))
        next_report = receiver.next_report
        if next_report is not None and next_report <= now:
            report = receiver.report_losses(now)
            if report is not None:
                datagrams.append(self._build(ControlType.NAK, now, 0, report))
        if sender.dropped is not None:
            first, last = sender.dropped
            sender.dropped = None
            body = build_drop_request(first & MASK, last & MASK)
            datagrams.append(self._build(ControlType.DROP_REQUEST, now, 0, body))
        if self.terms.keys is not None:
            announcement = self._announce(self.terms.keys, now)
            if announcement is not None:
                datagrams.append(announcement)
        if sender.pending:
            datagrams += sender.retransmissions(now)
        if datagrams:
            self._said = now
        elif now - max(self._said, sender.last_sent) >= KEEP_ALIVE:
            self._said = now
            datagrams.append(self._build(ControlType.KEEP_ALIVE, now))
        return datagrams

    def next_timeout(self) -> int | None:
        """When `handle_timeout` is to be called, if nothing else happens before; None once it is closed."""
        if self.closed:
            return None
        # Asked after every datagram or few, as well.
        receiver, sender = self._receiver, self.sender
        silent, said = self._heard + self._idle, self._said
        if sender.last_sent > said:
            said = sender.last_sent
        soonest = said + KEEP_ALIVE
        if silent < soonest:
            soonest = silent
        stamps = receiver.buffer.stamps
        if stamps:
            # Delivery, with acknowledgements of what has come and of that again: what another link of the bond has
            # brought is nothing to acknowledge here.
            due = receiver.time_base.due(stamps[0])
            if receiver.buffer.payloads[0] is not None:
                due -= self.ahead
            soonest = min(soonest, max(due, self._ticked + TICK))
            if receiver.next_ack < soonest and self._statistics.pktRecv:
                soonest = receiver.next_ack
        elif receiver.ack_wanted and receiver.next_ack < soonest:
            soonest = receiver.next_ack
        next_report = receiver.next_report
        if next_report is not None and next_report < soonest:
            soonest = next_report
        if sender.pending:
            soonest = min(soonest, self._ticked + MIN_NAK_INTERVAL)
        return soonest

    def handle_timeout(self, now: int) -> None:
        """The time of `next_timeout` has come."""
        if self.closed:
            return
        self._ticked = now
        self._deliver(now)
        self.sender.drop_too_late(now)
        if now - self._heard >= self._idle:
            self.close(f"nothing was heard of the peer for {self._idle / 1e9:g} s")

    def close(self, reason: str) -> None:
        """End it, and tell the peer with the next datagrams; what is received and not yet due is lost."""
        if self.closed:
            return
        self._end(reason)
        self._farewell = True

    def share(self, other: Connection, next_sequence: int) -> None:
        """Be a link of the same bond as `other`, which may be this; what is sent next is `next_sequence`."""
        self._receiver.share(other._receiver)
        self.sender.start = other.sender.start
        # The first link as well: its message numbers are to be those that it has when it resumes.
        self.resume(next_sequence)

    def resume(self, sequence: int) -> None:
        """Go on to send from `sequence`, a whole number; what was sent before is no concern of this link."""
        self.sender.restart(sequence)

    @property
    def next_sequence(self) -> int:
        """The next packet that is sent, a whole number."""
        return self.sender.buffer.next

    @property
    def first_unacknowledged(self) -> int:
        """The first packet that the peer has not acknowledged, a whole number."""
        return self.sender.buffer.first

    @property
    def oldest_unacknowledged(self) -> int | None:
        """When that packet was sent, None where there is none."""
        return self.sender.buffer.oldest

    def press(self, now: int) -> None:
        """Nothing follows by which the peer would see that it misses the last packets: send again what it has not
        acknowledged for a round trip, and as much as that varies, while that is of use.
        """
        buffer, trip = self.sender.buffer, self.sender.round_trip
        if len(buffer) and trip.rtt + 4 * trip.variance < now - self.sender.last_sent <= self.sender.latency:
            self.sender.requested([(buffer.first & MASK, (buffer.next - 1) & MASK)], now)

    @property
    def misses(self) -> bool:
        """Whether something is missing, here or at the peer."""
        return self._receiver.buffer.losses.next_report is not None or self.sender.pending

    @property
    def heard(self) -> int:
        """When something last came of the peer."""
        return self._heard

    def stamp(self, now: int) -> int:
        """Our time stamp `now`."""
        return self.sender.stamp(now)

    @property
    def statistics(self) -> Statistics:
        """Totals, and how it is now."""
        statistics = self._statistics
        self._receiver.describe(statistics)
        self.sender.describe(statistics, self._said)
        return statistics

    def _deliver(self, now: int) -> None:
        payloads, dropped = self._receiver.deliver(now, self.ahead)
        if payloads or dropped:
            self._events.append(Received(payloads, dropped))

    def _take(self, data: bytes, now: int) -> None:
        try:
            self._control(ControlPacket.parse(data), now)
        except ProtocolViolation:
            self._statistics.pktMalformed += 1

    def _control(self, packet: ControlPacket, now: int) -> None:
        if packet.destination != self.id:
            self._statistics.pktMalformed += 1
            return
        match packet.type:
            case ControlType.ACK:
                self._statistics.pktRecvACK += 1
                ack = Acknowledgement.parse(packet.body)
                capacity = None if ack.packet_rate is None else ack.capacity
                self.sender.acknowledged(
                    ack.next_sequence, ack.rtt, ack.rtt_variance, ack.available, capacity
                )
                if packet.information:
                    self._replies.append(self._acknowledged(packet.information, now))
            case ControlType.ACKACK:
                self._receiver.acknowledged(packet, now)
            case ControlType.NAK:
                self._statistics.pktRecvNAK += 1
                self.sender.requested(parse_loss_list(packet.body), now)
            case ControlType.DROP_REQUEST:
                self._receiver.give_up(*parse_drop_request(packet.body))
            case ControlType.SHUTDOWN:
                # Nothing follows: what has come is as whole as it will be, and is not held until it is due.
                payloads, dropped = self._receiver.finish()
                if payloads or dropped:
                    self._events.append(Received(payloads, dropped))
                self._end("the peer closed the connection")
            case ControlType.PEER_ERROR:
                self._end("the peer reports an error")
            case ControlType.USER_DEFINED:
                self._keys(packet, now)
            case ControlType.HANDSHAKE:
                self._shake(packet, now)
            case ControlType.KEEP_ALIVE | ControlType.CONGESTION_WARNING:
                pass
            case _:
                self._statistics.pktMalformed += 1

    def _shake(self, packet: ControlPacket, now: int) -> None:
        """A peer that has not got our agreement says its conclusion again (4.3.2)."""
        agreement = self.terms.agreement
        if agreement:
            handshake = Handshake.parse(packet.body)
            if handshake.kind == Kind.CONCLUSION and handshake.extension:
                self._replies.append(self._build(ControlType.HANDSHAKE, now, 0, agreement))

    def _acknowledged(self, number: int, now: int) -> bytes:
        """The answer to the ACK of that number."""
        return HEADER.pack(_ACKACK, number, self.sender.stamp(now), self.terms.peer_id) + _NO_BODY

    def _keys(self, packet: ControlPacket, now: int) -> None:
        """Key material in mid-stream (6.1.6): the peer's new key, or its answer to ours."""
        keys = self.terms.keys
        if packet.subtype == ExtensionType.KMRSP and keys is not None:
            keys.confirm(packet.body)
        elif packet.subtype == ExtensionType.KMREQ and now >= self._next_key_at:
            self._next_key_at = now + KEY_INTERVAL
            answer = packet.body
            if keys is None:
                answer = KeyState.NO_SECRET.to_bytes(4, "big")
            elif not keys.take(KeyMaterial.parse(packet.body)):
                answer = KeyState.BAD_SECRET.to_bytes(4, "big")
            self._replies.append(self._build(ControlType.USER_DEFINED, now, 0, answer, ExtensionType.KMRSP))

    def _announce(self, keys: Keyring, now: int) -> bytes | None:
        """Our new key, again until it is confirmed."""
        keys.renew(self._settings.refresh_packets, self._settings.announce_packets, self._random)
        if keys.announcement is None or now < self._announce_at:
            return None
        self._announce_at = now + max(KEY_INTERVAL, 3 * self.sender.round_trip.rtt // 2)
        return self._build(ControlType.USER_DEFINED, now, 0, keys.announcement, ExtensionType.KMREQ)

    def _end(self, reason: str) -> None:
        if not self.closed:
            self.closed = reason
            self._events.append(Closed(reason))

    def _build(
        self,
        type: ControlType,
        now: int,
        information: int = 0,
        body: bytes = _NO_BODY,
        subtype: int = 0,
    ) -> bytes:
        stamp = self.sender.stamp(now)
        return ControlPacket(type, subtype, information, stamp, self.terms.peer_id, body).build()
