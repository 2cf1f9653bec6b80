"""What one RTP payload of H.264 (RFC 6184) holds."""

from __future__ import annotations

from penstock.errors import ProtocolViolation
from penstock_formats.nal import split_annex_b
from penstock_formats.nal.rtp import Fragment, split_aggregate

STAP_A = 24
FU_A = 28
START = 0x80
END = 0x40


def parse_payload(payload: bytes) -> Fragment | list[bytes]:
    """The NAL units in a payload, or the fragment of one. Raises `ProtocolViolation`."""
    if not payload:
        raise ProtocolViolation("an empty payload", "RFC 6184 5.2")
    kind = payload[0] & 31
    if kind == FU_A:
        if len(payload) < 3:
            raise ProtocolViolation("an FU-A without data", "RFC 6184 5.8")
        flags = payload[1]
        if flags & START and flags & END:
            raise ProtocolViolation("an FU-A is both first and last", "RFC 6184 5.8")
        header = bytes((payload[0] & 0xE0 | flags & 31,))
        fields = flags & START != 0, flags & END != 0, header, payload[2:]
        # As by `Fragment(*fields)`, which is a function in Python by itself.
        return tuple.__new__(Fragment, fields)  # pyright: ignore[reportUnknownMemberType]
    if 1 <= kind < STAP_A:
        return [payload]
    if kind == STAP_A:
        return split_aggregate(payload, 1, "RFC 6184 5.7.1")
    if kind == 0 and payload.startswith((b"\x00\x00\x01", b"\x00\x00\x00\x01")):
        # Some cameras put a byte stream into the payload.
        nals = split_annex_b(payload)
        if nals:
            return nals
    raise ProtocolViolation(f"a payload of type {kind}", "RFC 6184 5.2")
