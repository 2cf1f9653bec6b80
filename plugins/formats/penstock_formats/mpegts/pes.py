"""The header of PES packets (H.222.0 2.4.3.6)."""

from __future__ import annotations

from typing import NamedTuple

from penstock.errors import ProtocolViolation

CLAUSE = "H.222.0 2.4.3.7"

PRIVATE_1 = 0xBD
AUDIO = 0xC0
VIDEO = 0xE0

PLAIN = frozenset({0xBC, 0xBE, 0xBF, 0xF0, 0xF1, 0xF2, 0xF8, 0xFF})
"""stream_id of packets that have no more than a length: maps, padding, private stream 2, ECM, EMM, DSM-CC, type E."""

FIXED_SIZE = 9
MAX_LENGTH = 0xFFFF
MASK = (1 << 33) - 1

_ALIGNED = 0x84
_PTS, _PTS_DTS = 0x80, 0xC0


class PesHeader(NamedTuple):
    """`size` is that of the header; times are in ticks of 90 kHz, modulo 2^33."""

    stream_id: int
    size: int
    pts: int | None
    dts: int | None


def parse_header(data: bytes) -> PesHeader:
    """The header that `data` begins with. Raises `ProtocolViolation`."""
    if len(data) < 6 or data[:3] != b"\x00\x00\x01":
        raise ProtocolViolation("a PES packet does not begin with its start code", CLAUSE)
    stream_id = data[3]
    if stream_id in PLAIN:
        return PesHeader(stream_id, 6, None, None)
    if len(data) < FIXED_SIZE or data[6] & 0xC0 != 0x80:
        raise ProtocolViolation("a PES header is cut, or of MPEG-1", CLAUSE)
    flags, size = data[7], FIXED_SIZE + data[8]
    needed = FIXED_SIZE + (5 * (flags >> 7) + 5 * (flags >> 6 & 1) if flags & _PTS else 0)
    if size > len(data) or needed > size:
        raise ProtocolViolation("a PES header goes past its end", CLAUSE)
    pts = _parse_time(data, 9) if flags & _PTS else None
    return PesHeader(stream_id, size, pts, _parse_time(data, 14) if flags & _PTS_DTS == _PTS_DTS else None)


def build_header(stream_id: int, size: int, pts: int, dts: int, *, unbounded: bool) -> bytes:
    """The header of a PES packet of `size` bytes that begins with an access unit.

    Its length is 0, unknown, where it has to be, beyond 65535; `unbounded` says that it may, which is so of video.
    With a length a receiver need not wait for the next packet to have this one. Raises `ProtocolViolation`.
    """
    if pts == dts:
        length, tail = size + 8, b"\x80\x05" + _time(pts, 0x21)
    else:
        length, tail = size + 13, b"\xc0\x0a" + _time(pts, 0x31) + _time(dts, 0x11)
    if length > MAX_LENGTH:
        if not unbounded:
            raise ProtocolViolation(f"an access unit of {size} bytes is too long for a PES packet", CLAUSE)
        length = 0
    return b"\x00\x00\x01" + bytes((stream_id, length >> 8, length & 255, _ALIGNED)) + tail


def _parse_time(data: bytes, at: int) -> int:
    value = int.from_bytes(data[at : at + 5], "big")
    # The marker bits are not checked: some encoders leave them out.
    return value >> 3 & 0x1C0000000 | value >> 2 & 0x3FFF8000 | value >> 1 & 0x7FFF


def _time(ticks: int, prefix: int) -> bytes:
    ticks &= MASK
    spread = (ticks & 0x1C0000000) << 3 | (ticks & 0x3FFF8000) << 2 | (ticks & 0x7FFF) << 1
    return (spread | prefix << 32 | 0x10001).to_bytes(5, "big")
