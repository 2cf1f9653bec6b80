"""The transport packet (H.222.0 2.4.3.2): 188 bytes, of which four are its header."""

from __future__ import annotations

from penstock.errors import ProtocolViolation

CLAUSE = "H.222.0 2.4.3.5"

SIZE = 188
BODY = 184
SYNC = 0x47

PID_PAT = 0
PID_FIRST = 0x10
"""Those below are reserved for tables (table 2-3)."""
PID_NULL = 0x1FFF

# Of the header as one number of 32 bits.
ERROR = 1 << 23
START = 1 << 22
SCRAMBLED = 3 << 6

DISCONTINUITY = 0x80
RANDOM_ACCESS = 0x40
PCR_FLAG = 0x10


def parse_body(header: int, body: bytes) -> tuple[bytes | None, bool]:
    """The payload behind a packet's header, None where it has none, and whether a discontinuity is announced."""
    control = header >> 4 & 3
    if control == 1:
        return body, False
    if not control:
        raise ProtocolViolation("adaptation_field_control is 0", CLAUSE)
    length = body[0]
    # A payload of at least one byte follows the field, or it fills the packet.
    if length > BODY - control // 3 - 1:
        raise ProtocolViolation(f"an adaptation field of {length} bytes", CLAUSE)
    discontinuity = length > 0 and body[1] & DISCONTINUITY != 0
    return (None if control == 2 else body[1 + length :]), discontinuity
