"""SRT packets: the header that all have, and the bodies of control packets (draft-sharabayko-srt-01 3)."""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterable
from typing import NamedTuple

from penstock.errors import ProtocolViolation
from penstock_srt.sequence import MASK, offset

HEADER = struct.Struct(">4I")
"""Sequence number or control type, message number or type information, time stamp, destination socket id."""
HEADER_SIZE = HEADER.size
CONTROL = 0x80000000
SOLO = 0xE0000000
"""A message in one packet (PP 11), to be delivered in order (O): all that live mode sends."""
KEY_SHIFT = 27
KEYS = 3 << KEY_SHIFT
"""The bits KK: which key encrypts the payload, 0 none, 1 even, 2 odd."""
RETRANSMITTED = 0x04000000
MESSAGE_NUMBERS = 0x03FFFFFF
"""Message numbers are 1 to this, then 1 again: 0 is for packets of no message."""

_WORD = struct.Struct(">I")
_PAIR = struct.Struct(">II")
_ACK = struct.Struct(">7I")
FULL_ACK = struct.Struct(">11I")
"""Header and body of a full acknowledgement."""


_EACH = [sum(1 << 128 * n for n in range(count)) for count in range(65)]
_NEXT = [
    sum((n << 96 | n << 64) << 128 * (count - 1 - n) for n in range(count)) for count in range(len(_EACH))
]
"""By the number of headers: what repeats one, and what counts its sequence and message numbers on."""


def build_headers(sequence: int, number: int, flags: int, stamp: int, destination: int, count: int) -> bytes:
    """Headers of `count` data packets in a row, back to back; `number` is one less than the first's message number.

    They are one long number, as there are some for each frame and reader: three operations in place of three for each.
    """
    if count >= len(_EACH) or sequence + count > MASK or number + count >= MESSAGE_NUMBERS:
        return b"".join(
            HEADER.pack((sequence + n) & MASK, flags | (number + n) % MESSAGE_NUMBERS + 1, stamp, destination)
            for n in range(count)
        )
    first = sequence << 96 | (flags | number + 1) << 64 | stamp << 32 | destination
    return (first * _EACH[count] + _NEXT[count]).to_bytes(HEADER_SIZE * count, "big")


def split_headers(headers: bytes) -> list[bytes]:
    """Each by itself."""
    return [headers[at : at + HEADER_SIZE] for at in range(0, len(headers), HEADER_SIZE)]


class ControlType(enum.IntEnum):
    """Control types, of 15 bits."""

    HANDSHAKE = 0
    KEEP_ALIVE = 1
    ACK = 2
    NAK = 3
    CONGESTION_WARNING = 4
    SHUTDOWN = 5
    ACKACK = 6
    DROP_REQUEST = 7
    PEER_ERROR = 8
    USER_DEFINED = 0x7FFF


class ControlPacket(NamedTuple):
    """A control packet; `timestamp` is in us of the sender's clock, modulo 2^32."""

    type: int
    subtype: int
    information: int
    timestamp: int
    destination: int
    body: bytes

    @classmethod
    def parse(cls, data: bytes) -> ControlPacket:
        """The packet that `data` is; raises `ProtocolViolation`."""
        if len(data) < HEADER_SIZE:
            raise ProtocolViolation(f"SRT packet of {len(data)} bytes", "draft-sharabayko-srt-01 3")
        first, information, timestamp, destination = HEADER.unpack_from(data)
        if not first & CONTROL:
            raise ProtocolViolation(
                "SRT data packet where a control packet is due", "draft-sharabayko-srt-01 3.2"
            )
        return cls(
            first >> 16 & 0x7FFF, first & 0xFFFF, information, timestamp, destination, data[HEADER_SIZE:]
        )

    def build(self) -> bytes:
        """The packet on the wire."""
        first = CONTROL | self.type << 16 | self.subtype
        return HEADER.pack(first, self.information, self.timestamp, self.destination) + self.body


class Acknowledgement(NamedTuple):
    """The body of an ACK (3.2.4). A light one has the sequence number only, a small one no rates.

    `next_sequence` is the first packet that has not come; times are in us, `available` is the room of the receiver's
    buffer in packets, rates are of packets a second, `bytes_rate` of bytes a second.
    """

    next_sequence: int
    rtt: int | None = None
    rtt_variance: int = 0
    available: int = 0
    packet_rate: int | None = None
    capacity: int = 0
    bytes_rate: int = 0

    @classmethod
    def parse(cls, body: bytes) -> Acknowledgement:
        """The acknowledgement of `body`; raises `ProtocolViolation`."""
        size = len(body)
        if size < 4:
            raise ProtocolViolation("ACK without a sequence number", "draft-sharabayko-srt-01 3.2.4")
        if size < 16:
            return cls(_WORD.unpack_from(body)[0] & MASK)
        if size < _ACK.size:
            sequence, rtt, variance, available = HEADER.unpack_from(body)
            return cls(sequence & MASK, rtt, variance, available)
        sequence, rtt, variance, available, rate, capacity, by_bytes = _ACK.unpack_from(body)
        return cls(sequence & MASK, rtt, variance, available, rate, capacity, by_bytes)

    def build(self) -> bytes:
        """The body on the wire."""
        if self.rtt is None:
            return _WORD.pack(self.next_sequence)
        if self.packet_rate is None:
            return HEADER.pack(self.next_sequence, self.rtt, self.rtt_variance, self.available)
        return _ACK.pack(
            self.next_sequence,
            self.rtt,
            self.rtt_variance,
            self.available,
            self.packet_rate,
            self.capacity,
            self.bytes_rate,
        )


Range = tuple[int, int]
"""The first and the last sequence number of packets in a row."""

MAX_RANGES = 180
"""Ranges of one NAK: what fits a packet of 1,456 bytes. More of them wait for the next."""


def parse_loss_list(body: bytes) -> list[Range]:
    """The ranges that a NAK reports (3.2.5, Appendix A), in order; raises `ProtocolViolation`.

    Ranges that go back or overlap would let a few bytes ask for one packet many times.
    """
    clause = "draft-sharabayko-srt-01 3.2.5"
    if len(body) % 4 or not body:
        raise ProtocolViolation("NAK is empty or not of whole words", clause)
    ranges: list[Range] = []
    begin: int | None = None
    for (word,) in _WORD.iter_unpack(body):
        if word & CONTROL:
            if begin is not None:
                raise ProtocolViolation("NAK has two beginnings of a range in a row", clause)
            begin = word & MASK
            continue
        first = word if begin is None else begin
        begin = None
        if offset(word, first) < 0 or (ranges and offset(first, ranges[-1][1]) <= 0):
            raise ProtocolViolation("NAK has a reversed range, or ranges out of order", clause)
        ranges.append((first, word))
    if begin is not None:
        raise ProtocolViolation("NAK ends within a range", clause)
    return ranges


def build_loss_list(ranges: Iterable[Range]) -> bytes:
    """The body of a NAK."""
    return b"".join(
        _WORD.pack(first) if first == last else _PAIR.pack(first | CONTROL, last) for first, last in ranges
    )


def parse_drop_request(body: bytes) -> Range:
    """The packets that the sender has no more (3.2.9); raises `ProtocolViolation`."""
    clause = "draft-sharabayko-srt-01 3.2.9"
    if len(body) < _PAIR.size:
        raise ProtocolViolation("drop request without its range", clause)
    first, last = _PAIR.unpack_from(body)
    if (first | last) & CONTROL or offset(last, first) < 0:
        raise ProtocolViolation("drop request with a reversed range", clause)
    return first, last


def build_drop_request(first: int, last: int) -> bytes:
    """The body of a drop request."""
    return _PAIR.pack(first, last)
