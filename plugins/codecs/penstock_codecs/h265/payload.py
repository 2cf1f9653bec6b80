"""What one RTP payload of H.265 (RFC 7798) holds."""

from __future__ import annotations

from penstock.errors import ProtocolViolation
from penstock_formats.nal import split_annex_b
from penstock_formats.nal.rtp import Fragment, split_aggregate

AP = 48
FU = 49
START = 0x80
END = 0x40


def parse_payload(payload: bytes) -> Fragment | list[bytes]:
    """The NAL units in a payload, or the fragment of one. Raises `ProtocolViolation`."""
    if len(payload) < 3:
        raise ProtocolViolation("a payload without data", "RFC 7798 4.4")
    if payload.startswith((b"\x00\x00\x01", b"\x00\x00\x00\x01")):
        # Some cameras put a byte stream into the payload; no NAL unit has a temporal id of 0.
        nals = split_annex_b(payload)
    else:
        kind = payload[0] >> 1 & 63
        if kind == FU:
            return _parse_fragment(payload)
        if kind > FU:
            raise ProtocolViolation(f"a payload of type {kind}", "RFC 7798 4.4")
        nals = split_aggregate(payload, 2, "RFC 7798 4.4.2") if kind == AP else [payload]
    if not nals or any(len(nal) < 2 for nal in nals):
        raise ProtocolViolation("a NAL unit without its header", "RFC 7798 1.1.4")
    return nals


def _parse_fragment(payload: bytes) -> Fragment:
    if len(payload) < 4:
        raise ProtocolViolation("an FU without data", "RFC 7798 4.4.3")
    flags = payload[2]
    if flags & START and flags & END:
        raise ProtocolViolation("an FU is both first and last", "RFC 7798 4.4.3")
    header = bytes((payload[0] & 0x81 | (flags & 63) << 1, payload[1]))
    return Fragment(flags & START != 0, flags & END != 0, header, payload[3:])
