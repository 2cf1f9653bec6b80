"""The RTP packet of RFC 3550 5.1 and its header extensions (RFC 8285)."""

from __future__ import annotations

import struct
from typing import NamedTuple

from penstock.errors import ProtocolViolation

_CLAUSE = "RFC 3550 5.1"
_EXTENSION_CLAUSE = "RFC 8285 4"
_HEADER = struct.Struct("!BBHII")
_EXTENSION = struct.Struct("!HH")
HEADER_SIZE = _HEADER.size

ONE_BYTE_PROFILE = 0xBEDE
TWO_BYTE_PROFILE = 0x1000


class Extension(NamedTuple):
    """A header extension: its profile and its data, a multiple of four bytes."""

    profile: int
    data: bytes


class RtpPacket(NamedTuple):
    """One packet without its padding. A tuple, because one is made for every packet that comes in."""

    payload_type: int
    marker: bool
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes
    csrc: tuple[int, ...] = ()
    extension: Extension | None = None

    @classmethod
    def parse(cls, data: bytes) -> RtpPacket:
        """The packet that `data` holds; raises `ProtocolViolation`."""
        size = len(data)
        if size < 12:
            raise ProtocolViolation("RTP packet shorter than its header", _CLAUSE)
        first, second, sequence, timestamp, ssrc = _HEADER.unpack_from(data)
        if first == 0x80:
            fields = second & 0x7F, second > 0x7F, sequence, timestamp, ssrc, data[12:], (), None
            # As by `cls(*fields)`, which is a function in Python by itself.
            return tuple.__new__(cls, fields)  # pyright: ignore[reportUnknownMemberType]
        if first >> 6 != 2:
            raise ProtocolViolation("RTP version is not 2", _CLAUSE)
        count = first & 0x0F
        start = 12 + 4 * count
        if start > size:
            raise ProtocolViolation("RTP CSRC list runs past the end", _CLAUSE)
        csrc: tuple[int, ...] = struct.unpack_from(f"!{count}I", data, 12)
        extension = None
        if first & 0x10:
            if start + 4 > size:
                raise ProtocolViolation("RTP header extension runs past the end", "RFC 3550 5.3.1")
            profile, words = _EXTENSION.unpack_from(data, start)
            start += 4
            if start + 4 * words > size:
                raise ProtocolViolation("RTP header extension runs past the end", "RFC 3550 5.3.1")
            extension = Extension(profile, data[start : start + 4 * words])
            start += 4 * words
        end = size
        if first & 0x20:
            padding = data[-1]
            if not 0 < padding <= size - start:
                raise ProtocolViolation("RTP padding is empty or longer than the payload", _CLAUSE)
            end -= padding
        return cls(second & 0x7F, second > 0x7F, sequence, timestamp, ssrc, data[start:end], csrc, extension)

    def encode(self) -> bytes:
        """The packet on the wire, without padding."""
        first = 0x80 | len(self.csrc) | (0x10 if self.extension else 0)
        second = self.payload_type | (0x80 if self.marker else 0)
        parts = [_HEADER.pack(first, second, self.sequence, self.timestamp, self.ssrc)]
        if self.csrc:
            parts.append(struct.pack(f"!{len(self.csrc)}I", *self.csrc))
        if self.extension:
            parts += [
                _EXTENSION.pack(self.extension.profile, len(self.extension.data) // 4),
                self.extension.data,
            ]
        return b"".join((*parts, self.payload))


def rtp_header(payload_type: int, marker: bool, sequence: int, timestamp: int, ssrc: int) -> bytes:
    """The 12 bytes before a payload; `sequence` and `timestamp` may be unwrapped."""
    second = payload_type | 0x80 if marker else payload_type
    return _HEADER.pack(0x80, second, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc)


def unwrap_sequence(sequence: int, near: int) -> int:
    """The number nearest to the unwrapped `near` with the low 16 bits `sequence`; may be below 0."""
    return near + ((sequence - near + 0x8000) & 0xFFFF) - 0x8000


def unwrap_timestamp(timestamp: int, near: int) -> int:
    """The time nearest to the unwrapped `near` whose low 32 bits are `timestamp`, in RTP ticks."""
    return near + ((timestamp - near + 0x80000000) & 0xFFFFFFFF) - 0x80000000


def extension_elements(extension: Extension) -> list[tuple[int, bytes]]:
    """The (id, data) elements of a header extension; empty for a profile other than those of RFC 8285."""
    if extension.profile == ONE_BYTE_PROFILE:
        return _one_byte_elements(extension.data)
    if extension.profile & 0xFFF0 == TWO_BYTE_PROFILE:
        return _two_byte_elements(extension.data)
    return []


def _one_byte_elements(data: bytes) -> list[tuple[int, bytes]]:
    elements: list[tuple[int, bytes]] = []
    at = 0
    while at < len(data):
        head = data[at]
        at += 1
        if head == 0:
            continue
        # RFC 8285 4.2: id 15, and id 0 with a length, end the list; what came before counts.
        if head >> 4 in (0, 15):
            break
        end = at + (head & 0x0F) + 1
        if end > len(data):
            raise ProtocolViolation("header extension element runs past the end", f"{_EXTENSION_CLAUSE}.2")
        elements.append((head >> 4, data[at:end]))
        at = end
    return elements


def _two_byte_elements(data: bytes) -> list[tuple[int, bytes]]:
    elements: list[tuple[int, bytes]] = []
    at = 0
    while at < len(data):
        if data[at] == 0:
            at += 1
            continue
        if at + 2 > len(data) or at + 2 + data[at + 1] > len(data):
            raise ProtocolViolation("header extension element runs past the end", f"{_EXTENSION_CLAUSE}.3")
        end = at + 2 + data[at + 1]
        elements.append((data[at], data[at + 2 : end]))
        at = end
    return elements
