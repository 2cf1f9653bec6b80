"""Open bitstream units (AV1 5.3), with and without their size field."""

from __future__ import annotations

from collections.abc import Iterable

from penstock.errors import ProtocolViolation

SEQUENCE_HEADER, TEMPORAL_DELIMITER, FRAME_HEADER, TILE_GROUP = 1, 2, 3, 4
FRAME, REDUNDANT_FRAME_HEADER, TILE_LIST, PADDING = 6, 7, 8, 15
_DROPPED = frozenset({TEMPORAL_DELIMITER, TILE_LIST, PADDING})

MAX_OBUS = 4224
"""In a temporal unit: one tile group for each of 64 x 64 tiles, and 128 headers and metadata."""

_HAS_EXTENSION, _HAS_SIZE = 0x04, 0x02


def leb128(data: bytes, at: int) -> tuple[int, int]:
    """The number at `data[at:]` and where it ends (AV1 4.10.5)."""
    value = 0
    for n, byte in enumerate(data[at : at + 8]):
        value |= (byte & 0x7F) << (7 * n)
        if byte < 0x80:
            if value >= 1 << 32:
                break
            return value, at + n + 1
    raise ProtocolViolation("a leb128 number is cut short or above 32 bits", "AV1 4.10.5")


def write_leb128(value: int) -> bytes:
    """`value` in as few bytes as it takes."""
    if value < 0x80:
        return bytes((value,))
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def kind(obu: bytes) -> int:
    """The type in an OBU's header."""
    return obu[0] >> 3 & 15


def _header_size(obu: bytes, at: int = 0) -> int:
    if at >= len(obu) or obu[at] & 0x80:
        raise ProtocolViolation("no OBU header where one must be", "AV1 5.3.2")
    size = 2 if obu[at] & _HAS_EXTENSION else 1
    if at + size > len(obu):
        raise ProtocolViolation("an OBU header is cut short", "AV1 5.3.3")
    return size


def without_size(obu: bytes) -> bytes:
    """`obu` in the normal form; it may have a size field."""
    header = _header_size(obu)
    if not obu[0] & _HAS_SIZE:
        return obu
    size, at = leb128(obu, header)
    if at + size > len(obu):
        raise ProtocolViolation("an OBU is cut short", "AV1 5.3.1")
    return bytes((obu[0] & ~_HAS_SIZE,)) + obu[1:header] + obu[at : at + size]


def with_size(obu: bytes) -> bytes:
    """`obu`, which is in the normal form, with its size field."""
    header = 2 if obu[0] & _HAS_EXTENSION else 1
    return bytes((obu[0] | _HAS_SIZE,)) + obu[1:header] + write_leb128(len(obu) - header) + obu[header:]


def split(data: bytes) -> list[bytes]:
    """OBUs of the low-overhead format in the normal form; the last may be without size (AV1-ISOBMFF 2.4)."""
    obus: list[bytes] = []
    at = 0
    while at < len(data):
        header = _header_size(data, at)
        end = len(data)
        if data[at] & _HAS_SIZE:
            size, start = leb128(data, at + header)
            end = start + size
            if end > len(data):
                raise ProtocolViolation("an OBU is cut short", "AV1 5.3.1")
            obus.append(bytes((data[at] & ~_HAS_SIZE,)) + data[at + 1 : at + header] + data[start:end])
        else:
            obus.append(data[at:])
        if len(obus) > MAX_OBUS:
            raise ProtocolViolation(f"a temporal unit of more than {MAX_OBUS} OBUs")
        at = end
    return obus


def sort(obus: Iterable[bytes]) -> tuple[tuple[bytes, ...], bytes | None]:
    """The units of a frame, and the sequence header that was among them."""
    units: list[bytes] = []
    header: bytes | None = None
    for obu in obus:
        what = kind(obu)
        if what == SEQUENCE_HEADER:
            header = obu
        elif what not in _DROPPED:
            units.append(obu)
    return tuple(units), header


def is_key(units: tuple[bytes, ...], reduced: bool) -> bool:
    """Whether a shown key frame comes first; `reduced` is the sequence's reduced_still_picture_header."""
    for obu in units:
        if kind(obu) in (FRAME_HEADER, FRAME):
            at = _header_size(obu)
            if at >= len(obu):
                raise ProtocolViolation("a frame OBU without a frame header", "AV1 5.9.2")
            # show_existing_frame, two bits of frame_type (KEY_FRAME is 0), show_frame
            return reduced or obu[at] & 0xF0 == 0x10
    return False


def shows(units: tuple[bytes, ...], reduced: bool) -> bool:
    """Whether a frame among `units` is shown (show_existing_frame or show_frame); `reduced` as in `is_key`."""
    for obu in units:
        if kind(obu) in (FRAME_HEADER, FRAME):
            at = _header_size(obu)
            if at >= len(obu):
                raise ProtocolViolation("a frame OBU without a frame header", "AV1 5.9.2")
            if reduced or obu[at] & 0x90:
                return True
    return False
