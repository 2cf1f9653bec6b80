"""RTCP: reports (RFC 3550 6) and feedback (RFC 4585, RFC 5104, REMB), a compound datagram at a time."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import ClassVar

from attrs import frozen

from penstock.errors import ProtocolViolation
from penstock.media import NS

_CLAUSE = "RFC 3550 6.4"
_BLOCK = struct.Struct("!IIIIII")
_SENDER = struct.Struct("!IQIII")
_PAIR = struct.Struct("!II")
_NACK = struct.Struct("!HH")

MAX_PACKETS = 64
"""Packets in one compound; real ones have 2 to 5."""
MAX_NACK_PAIRS = 256
"""Entries of one NACK: what fits an Ethernet frame; more is a request for retransmission without bounds."""

SDES_CNAME = 1


@frozen
class ReportBlock:
    """What a receiver tells of one sender.

    `fraction_lost` is in 1/256, `jitter` in RTP ticks, `delay` in 1/65536 s.
    """

    ssrc: int
    fraction_lost: int = 0
    cumulative_lost: int = 0
    highest_sequence: int = 0
    jitter: int = 0
    last_report: int = 0
    delay: int = 0


@frozen
class SenderReport:
    """`ntp` is the 64-bit NTP time (0 = the sender has no clock) at which its RTP clock shows `rtp_time`."""

    TYPE: ClassVar = 200
    ssrc: int
    ntp: int
    rtp_time: int
    packets: int
    octets: int
    reports: tuple[ReportBlock, ...] = ()


@frozen
class ReceiverReport:
    TYPE: ClassVar = 201
    ssrc: int
    reports: tuple[ReportBlock, ...] = ()


@frozen
class SourceDescription:
    """Chunks of (SSRC, items), an item being (type, text)."""

    TYPE: ClassVar = 202
    chunks: tuple[tuple[int, tuple[tuple[int, bytes], ...]], ...]


@frozen
class Goodbye:
    TYPE: ClassVar = 203
    ssrcs: tuple[int, ...]
    reason: bytes | None = None


@frozen
class Nack:
    """Generic NACK (RFC 4585 6.2.1): (sequence, bit mask of the 16 that follow) pairs."""

    sender: int
    media: int
    pairs: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, sender: int, media: int, sequences: Iterable[int]) -> Nack:
        """A NACK of these sequence numbers, given in rising order."""
        pairs: list[tuple[int, int]] = []
        for sequence in sequences:
            distance = (sequence - pairs[-1][0]) & 0xFFFF if pairs else 0
            if 1 <= distance <= 16:
                pairs[-1] = pairs[-1][0], pairs[-1][1] | 1 << (distance - 1)
            else:
                pairs.append((sequence & 0xFFFF, 0))
        return cls(sender, media, tuple(pairs))

    def sequences(self) -> Iterator[int]:
        """Every sequence number that is asked for, at most 17 a pair."""
        for first, mask in self.pairs:
            yield first
            for bit in range(16):
                if mask >> bit & 1:
                    yield (first + bit + 1) & 0xFFFF


@frozen
class PictureLoss:
    """PLI (RFC 4585 6.3.1)."""

    sender: int
    media: int


@frozen
class FullIntraRequest:
    """FIR (RFC 5104 4.3.1): (SSRC, command sequence number) entries."""

    sender: int
    media: int
    entries: tuple[tuple[int, int], ...]


@frozen
class MaxBitrate:
    """REMB (draft-alvestrand-rmcat-remb 2.2): `mantissa` << `exponent` bits a second for all of `ssrcs`."""

    sender: int
    media: int
    exponent: int
    mantissa: int
    ssrcs: tuple[int, ...]

    @property
    def bitrate(self) -> int:
        return self.mantissa << self.exponent


@frozen
class Feedback:
    """Feedback of another format, unread; transport-wide congestion control is type 205, format 15."""

    packet_type: int
    format: int
    sender: int
    media: int
    data: bytes


@frozen
class Unknown:
    """A packet of a type that is only carried: APP, XR, and what is yet to come."""

    packet_type: int
    count: int
    data: bytes


RtcpPacket = (
    SenderReport | ReceiverReport | SourceDescription | Goodbye | Nack | PictureLoss | FullIntraRequest
    | MaxBitrate | Feedback | Unknown
)  # fmt: skip


def parse_rtcp(data: bytes) -> tuple[RtcpPacket, ...]:
    """The packets of a compound or reduced-size (RFC 5506) datagram; raises `ProtocolViolation`."""
    packets: list[RtcpPacket] = []
    at = 0
    while at < len(data):
        if at + 4 > len(data):
            raise ProtocolViolation("RTCP header runs past the end", _CLAUSE)
        if len(packets) == MAX_PACKETS:
            raise ProtocolViolation(f"more than {MAX_PACKETS} packets in one RTCP compound", "RFC 3550 6.1")
        first, kind, words = struct.unpack_from("!BBH", data, at)
        if first >> 6 != 2:
            raise ProtocolViolation("RTCP version is not 2", _CLAUSE)
        end = at + 4 + 4 * words
        if end > len(data):
            raise ProtocolViolation("RTCP packet runs past the end", _CLAUSE)
        body = data[at + 4 : end]
        if first & 0x20:
            # RFC 3550 6.4.1 has whole words of it; libwebrtc fills transport feedback up to a word with one to three bytes.
            if not body or not 0 < body[-1] <= len(body):
                raise ProtocolViolation("RTCP padding is empty or longer than the packet", _CLAUSE)
            body = body[: -body[-1]]
        packets.append(_parse_body(kind, first & 0x1F, body))
        at = end
    if not packets:
        raise ProtocolViolation("empty RTCP datagram", _CLAUSE)
    return tuple(packets)


def _parse_body(kind: int, count: int, body: bytes) -> RtcpPacket:
    match kind:
        case 200:
            _need(body, 24 + 24 * count)
            ssrc, ntp, rtp_time, sent, octets = _SENDER.unpack_from(body)
            return SenderReport(ssrc, ntp, rtp_time, sent, octets, _blocks(body, 24, count))
        case 201:
            _need(body, 4 + 24 * count)
            return ReceiverReport(int.from_bytes(body[:4], "big"), _blocks(body, 4, count))
        case 202:
            return SourceDescription(_chunks(body, count))
        case 203:
            return _goodbye(body, count)
        case 205 | 206:
            return _feedback(kind, count, body)
        case _:
            return Unknown(kind, count, body)


def _need(body: bytes, size: int) -> None:
    if len(body) < size:
        raise ProtocolViolation("RTCP packet shorter than its count says", _CLAUSE)


def _blocks(body: bytes, at: int, count: int) -> tuple[ReportBlock, ...]:
    return tuple(_block(body, at + 24 * i) for i in range(count))


def _block(body: bytes, at: int) -> ReportBlock:
    ssrc, lost, highest, jitter, last, delay = _BLOCK.unpack_from(body, at)
    cumulative = lost & 0xFFFFFF
    if cumulative & 0x800000:
        cumulative -= 1 << 24
    return ReportBlock(ssrc, lost >> 24, cumulative, highest, jitter, last, delay)


def _chunks(body: bytes, count: int) -> tuple[tuple[int, tuple[tuple[int, bytes], ...]], ...]:
    chunks: list[tuple[int, tuple[tuple[int, bytes], ...]]] = []
    at = 0
    for _ in range(count):
        if at + 4 > len(body):
            raise ProtocolViolation("SDES chunk runs past the end", "RFC 3550 6.5")
        ssrc = int.from_bytes(body[at : at + 4], "big")
        at += 4
        items: list[tuple[int, bytes]] = []
        while at < len(body) and body[at]:
            if at + 2 > len(body) or at + 2 + body[at + 1] > len(body):
                raise ProtocolViolation("SDES item runs past the end", "RFC 3550 6.5")
            end = at + 2 + body[at + 1]
            items.append((body[at], body[at + 2 : end]))
            at = end
        # RFC 3550 6.5: a null octet ends a chunk; some senders leave it out at the end of the packet.
        at = (at + 4) & ~3
        chunks.append((ssrc, tuple(items)))
    return tuple(chunks)


def _goodbye(body: bytes, count: int) -> Goodbye:
    _need(body, 4 * count)
    ssrcs: tuple[int, ...] = struct.unpack_from(f"!{count}I", body)
    rest = body[4 * count :]
    if not rest:
        return Goodbye(ssrcs)
    if 1 + rest[0] > len(rest):
        raise ProtocolViolation("BYE reason runs past the end", "RFC 3550 6.6")
    return Goodbye(ssrcs, rest[1 : 1 + rest[0]])


def _feedback(kind: int, form: int, body: bytes) -> RtcpPacket:
    if len(body) < 8:
        raise ProtocolViolation("RTCP feedback shorter than its header", "RFC 4585 6.1")
    sender, media = _PAIR.unpack_from(body)
    rest = body[8:]
    if kind == 205 and form == 1:
        if not 4 <= len(rest) <= 4 * MAX_NACK_PAIRS:
            raise ProtocolViolation(f"NACK of no or more than {MAX_NACK_PAIRS} entries", "RFC 4585 6.2.1")
        return Nack(sender, media, tuple(_NACK.iter_unpack(rest)))
    if kind == 206 and form == 1:
        return PictureLoss(sender, media)
    if kind == 206 and form == 4:
        if len(rest) % 8:
            raise ProtocolViolation("FIR entry is cut", "RFC 5104 4.3.1.1")
        return FullIntraRequest(sender, media, tuple((s, word >> 24) for s, word in _PAIR.iter_unpack(rest)))
    if kind == 206 and form == 15 and rest[:4] == b"REMB":
        if len(rest) < 8 or len(rest) < 8 + 4 * rest[4]:
            raise ProtocolViolation("REMB shorter than its count says", "draft-alvestrand-rmcat-remb 2.2")
        mantissa = (rest[5] & 3) << 16 | rest[6] << 8 | rest[7]
        return MaxBitrate(sender, media, rest[5] >> 2, mantissa, struct.unpack_from(f"!{rest[4]}I", rest, 8))
    return Feedback(kind, form, sender, media, rest)


def encode_rtcp(packets: Iterable[RtcpPacket]) -> bytes:
    """One compound datagram."""
    return b"".join(map(_encode, packets))


def _encode(packet: RtcpPacket) -> bytes:
    match packet:
        case SenderReport(ssrc, ntp, rtp_time, sent, octets, reports):
            head = _SENDER.pack(ssrc, ntp, rtp_time & 0xFFFFFFFF, sent & 0xFFFFFFFF, octets & 0xFFFFFFFF)
            return _packet(200, len(reports), head + b"".join(map(_encode_block, reports)))
        case ReceiverReport(ssrc, reports):
            return _packet(201, len(reports), ssrc.to_bytes(4, "big") + b"".join(map(_encode_block, reports)))
        case SourceDescription(chunks):
            return _packet(202, len(chunks), b"".join(_encode_chunk(*chunk) for chunk in chunks))
        case Goodbye(ssrcs, reason):
            tail = b"" if reason is None else bytes((len(reason),)) + reason
            return _packet(
                203, len(ssrcs), struct.pack(f"!{len(ssrcs)}I", *ssrcs) + tail + bytes(-len(tail) % 4)
            )
        case Nack(sender, media, pairs):
            return _encode_feedback(205, 1, sender, media, b"".join(_NACK.pack(*pair) for pair in pairs))
        case PictureLoss(sender, media):
            return _encode_feedback(206, 1, sender, media, b"")
        case FullIntraRequest(sender, media, entries):
            fields = b"".join(_PAIR.pack(ssrc, number << 24) for ssrc, number in entries)
            return _encode_feedback(206, 4, sender, media, fields)
        case MaxBitrate(sender, media, exponent, mantissa, ssrcs):
            word = len(ssrcs) << 24 | exponent << 18 | mantissa
            return _encode_feedback(
                206, 15, sender, media, struct.pack(f"!4sI{len(ssrcs)}I", b"REMB", word, *ssrcs)
            )
        case Feedback(kind, form, sender, media, data):
            return _encode_feedback(kind, form, sender, media, data)
        case Unknown(kind, count, data):
            return _packet(kind, count, data)


def _packet(kind: int, count: int, body: bytes) -> bytes:
    return struct.pack("!BBH", 0x80 | count, kind, len(body) // 4) + body


def _encode_feedback(kind: int, form: int, sender: int, media: int, data: bytes) -> bytes:
    return _packet(kind, form, _PAIR.pack(sender, media) + data)


def _encode_block(block: ReportBlock) -> bytes:
    lost = block.fraction_lost << 24 | block.cumulative_lost & 0xFFFFFF
    return _BLOCK.pack(block.ssrc, lost, block.highest_sequence, block.jitter, block.last_report, block.delay)


def _encode_chunk(ssrc: int, items: tuple[tuple[int, bytes], ...]) -> bytes:
    text = b"".join(bytes((kind, len(value))) + value for kind, value in items)
    return ssrc.to_bytes(4, "big") + text + bytes(4 - len(text) % 4)


_NTP_EPOCH = 2_208_988_800
"""Seconds from 1900 to 1970."""


def ntp_to_ns(ntp: int) -> int:
    """Nanoseconds since 1970 of a 64-bit NTP time; the era is the one of 1968 to 2104 (RFC 5905 6)."""
    seconds = ntp >> 32
    if seconds < 1 << 31:
        seconds += 1 << 32
    return (seconds - _NTP_EPOCH) * NS + ((ntp & 0xFFFFFFFF) * NS + (1 << 31) >> 32)


def ns_to_ntp(ns: int) -> int:
    """The 64-bit NTP time of nanoseconds since 1970; `ntp_to_ns` gives exactly `ns` back."""
    seconds, rest = divmod(ns, NS)
    return (seconds + _NTP_EPOCH) % (1 << 32) << 32 | ((rest << 32) + NS // 2) // NS
