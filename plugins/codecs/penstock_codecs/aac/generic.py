"""RFC 3640: access units behind a section of AU headers whose fields are as wide as the SDP says."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from attrs import frozen

from penstock.errors import ProtocolViolation
from penstock.media import Frame
from penstock_formats.bits import BitReader
from penstock_formats.rtp import AccessUnit

CLAUSE = "RFC 3640 3.2"
MAX_UNIT = 8 << 20
"""Bytes of one access unit that are put together from fragments."""

MAX_SIZE_13 = 8191
"""RFC 3640 3.3.6: what AAC-hbr's size field of 13 bits can say; AAC has at most 768 bytes a channel."""

_HEADER = struct.Struct(">HH")


@frozen
class GenericFormat:
    """Widths in bits of the AU header's fields, in their order; `constant_size` is in bytes."""

    size_length: int = 0
    index_length: int = 0
    index_delta_length: int = 0
    cts_delta_length: int = 0
    dts_delta_length: int = 0
    random_access: int = 0
    stream_state: int = 0
    auxiliary_size_length: int = 0
    constant_size: int = 0

    @staticmethod
    def parse(fmtp: Mapping[str, str]) -> GenericFormat:
        """The format parameters of RFC 3640 4.1."""
        fmt = GenericFormat(
            _number(fmtp, "sizelength"),
            _number(fmtp, "indexlength"),
            _number(fmtp, "indexdeltalength"),
            _number(fmtp, "ctsdeltalength"),
            _number(fmtp, "dtsdeltalength"),
            _number(fmtp, "randomaccessindication", 1),
            _number(fmtp, "streamstateindication"),
            _number(fmtp, "auxiliarydatasizelength"),
            _number(fmtp, "constantsize", MAX_UNIT),
        )
        if fmt.constant_size and fmt.size_length:
            raise ProtocolViolation("both sizelength and constantsize", "RFC 3640 4.1")
        if not fmt.size_length and "sizelength" not in fmtp and not fmt.constant_size:
            # RFC 3640 3.3.6: what AAC-hbr must say, and what some senders leave out.
            return GenericFormat(13, 3, 3)
        return fmt

    @property
    def later_header_bits(self) -> int:
        """The least size of an AU header after the first."""
        return self.size_length + self.index_delta_length + self._flag_bits

    @property
    def has_headers(self) -> bool:
        """RFC 3640 3.2.1: without any field there is no AU header section at all."""
        return self.size_length + self.index_length + self.index_delta_length + self._flag_bits > 0

    @property
    def plain(self) -> bool:
        """Whether each header is a size and an index in two bytes: AAC-hbr as everybody sends it."""
        extras = self._flag_bits + self.auxiliary_size_length
        return (
            self.size_length > 0
            and self.size_length + self.index_length == 16
            and self.index_delta_length == self.index_length
            and not extras
        )

    @property
    def _flag_bits(self) -> int:
        return (
            (self.cts_delta_length > 0) + (self.dts_delta_length > 0) + self.random_access + self.stream_state
        )


def _number(fmtp: Mapping[str, str], key: str, most: int = 32) -> int:
    text = fmtp.get(key, "0").strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and int(text) <= most):
        raise ProtocolViolation(f"{key}= is not a number of 0 to {most}", "RFC 3640 4.1")
    return int(text)


class GenericPacketizer:
    """One access unit a packet, in fragments where it is too long (RFC 3640 3.3.6, AAC-hbr)."""

    def __init__(self, max_payload: int) -> None:
        self._room = max_payload - _HEADER.size

    def packetize(self, frame: Frame) -> list[bytes]:
        unit = frame.units[0]
        size = len(unit)
        if size > MAX_SIZE_13:
            # No packet can say it, and no decoder takes it: the frame is as good as lost.
            return []
        header = _HEADER.pack(16, size << 3)
        room = self._room
        if size <= room:
            return [header + unit]
        return [header + unit[at : at + room] for at in range(0, size, room)]


class GenericDepacketizer:
    """`clock_rate` is that of the RTP timestamps; an access unit is `frame_length` samples at `core_rate`."""

    def __init__(self, fmt: GenericFormat, clock_rate: int, frame_length: int, core_rate: int) -> None:
        self._fmt = fmt
        self._has_headers = fmt.has_headers
        self._plain = fmt.plain
        self._shift = fmt.index_length
        self._step = (frame_length * clock_rate, core_rate)
        self._pending = bytearray()
        self._size: int = 0
        self._timestamp = 0
        self._torn = True

    def push(self, payload: bytes, timestamp: int, marker: bool, lost: bool) -> list[AccessUnit]:
        if lost or (self._pending and timestamp != self._timestamp):
            self._drop(torn=lost)
        try:
            sizes, at = self._headers(payload)
            if len(sizes) == 1 and sizes[0] > len(payload) - at:
                return self._fragment(payload[at:], sizes[0], timestamp, marker)
            if self._pending:
                raise ProtocolViolation("an access unit begins inside a fragmented one", "RFC 3640 3.2.3")
            units = self._cut(payload, at, sizes, timestamp)
        except ProtocolViolation:
            self._drop(torn=True)
            raise
        self._torn = False
        return units

    def _cut(self, payload: bytes, at: int, sizes: list[int], timestamp: int) -> list[AccessUnit]:
        ticks, rate = self._step
        units: list[AccessUnit] = []
        for size in sizes:
            unit = payload[at : at + size]
            if not size or len(unit) < size:
                raise ProtocolViolation(f"an access unit of {size} bytes, {len(unit)} of them there", CLAUSE)
            units.append(AccessUnit(timestamp + len(units) * ticks // rate, (unit,)))
            at += size
        return units

    def flush(self) -> list[AccessUnit]:
        self._drop(torn=True)
        return []

    def _drop(self, *, torn: bool) -> None:
        self._pending = bytearray()
        self._torn = torn

    def _headers(self, payload: bytes) -> tuple[list[int], int]:
        """Sizes of the access units, and where they begin."""
        fmt = self._fmt
        if not self._has_headers:
            return self._without_headers(payload, 0)
        if len(payload) < 3:
            raise ProtocolViolation("an AAC packet without AU headers", CLAUSE)
        length = payload[0] << 8 | payload[1]
        at = 2 + (length + 7) // 8
        if not length or at > len(payload):
            raise ProtocolViolation(f"AU headers of {length} bits", "RFC 3640 3.2.1")
        if self._plain and not length % 16:
            return self._plain_sizes(payload, at), at
        sizes = self._read_headers(BitReader(payload[2:at], CLAUSE), length)
        if fmt.auxiliary_size_length:
            bits = BitReader(payload[at:], "RFC 3640 3.2.2")
            bits.skip(bits.u(fmt.auxiliary_size_length))
            at += (bits.position + 7) // 8
        if not fmt.size_length:
            return self._without_headers(payload, at)
        return sizes, at

    def _plain_sizes(self, payload: bytes, end: int) -> list[int]:
        """As `_read_headers`, of headers of two bytes each."""
        shift = self._shift
        sizes: list[int] = []
        for at in range(2, end, 2):
            header = payload[at] << 8 | payload[at + 1]
            if sizes and header & (1 << shift) - 1:
                raise _interleaved()
            sizes.append(header >> shift)
        return sizes

    def _without_headers(self, payload: bytes, at: int) -> tuple[list[int], int]:
        left = len(payload) - at
        size = self._fmt.constant_size or left
        if not left:
            raise ProtocolViolation("an AAC packet without an access unit", CLAUSE)
        return [size] * max(left // size, 1), at

    def _read_headers(self, bits: BitReader, length: int) -> list[int]:
        fmt = self._fmt
        least = fmt.later_header_bits
        sizes: list[int] = []
        while not sizes or 0 < least <= length - bits.position:
            sizes.append(bits.u(fmt.size_length))
            if len(sizes) == 1:
                # RFC 3640 3.2.1.1: zero without interleaving, but some encoders count packets in it.
                bits.skip(fmt.index_length)
            elif bits.u(fmt.index_delta_length):
                raise _interleaved()
            if fmt.cts_delta_length and bits.flag():
                bits.skip(fmt.cts_delta_length)
            if fmt.dts_delta_length and bits.flag():
                bits.skip(fmt.dts_delta_length)
            bits.skip(fmt.random_access + fmt.stream_state)
        return sizes

    def _fragment(self, data: bytes, size: int, timestamp: int, marker: bool) -> list[AccessUnit]:
        if size > MAX_UNIT or (self._pending and size != self._size):
            raise ProtocolViolation(f"a fragment of an access unit of {size} bytes", "RFC 3640 3.2.3")
        if not data:
            raise ProtocolViolation("an empty fragment", "RFC 3640 3.2.3")
        self._pending += data
        self._size, self._timestamp = size, timestamp
        if len(self._pending) < size and not marker:
            return []
        unit, torn = bytes(self._pending), self._torn
        self._drop(torn=False)
        if len(unit) == size:
            return [AccessUnit(timestamp, (unit,))]
        if torn:
            return []
        raise ProtocolViolation(
            f"fragments of {len(unit)} bytes of an access unit of {size}", "RFC 3640 3.2.3"
        )


def _interleaved() -> ProtocolViolation:
    return ProtocolViolation("interleaved access units are not supported", "RFC 3640 3.2.3.2")
