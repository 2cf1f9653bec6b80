"""NAL units as H.264 and H.265 carry them: byte streams, length-prefixed samples, escapes."""

from __future__ import annotations

from collections.abc import Iterable

from penstock.errors import ProtocolViolation

MAX_NALS = 1024
"""NAL units in one access unit: H.265 A.4.1 allows 600 slice segments at its highest level."""

MAX_PARAMETER_SET = 8192
"""Bytes of one parameter set: with all lists, reference sets and HRD parameters they stay below 4 KiB."""

START_CODE = b"\x00\x00\x01"


def split_annex_b(data: bytes) -> list[bytes]:
    """The NAL units of a byte stream that begins with a start code, without empty ones and trailing zeros."""
    start = data.find(START_CODE)
    if start < 0 or data[:start].strip(b"\x00"):
        if not data.strip(b"\x00"):
            return []
        raise ProtocolViolation("the byte stream does not begin with a start code", "H.264 B.1.1")
    nals: list[bytes] = []
    count = 0
    while start >= 0:
        start += 3
        end = data.find(START_CODE, start)
        # H.264 7.4.1: a NAL unit never ends in a zero byte, so these are trailing_zero_8bits or zero_byte.
        nal = (data[start:end] if end >= 0 else data[start:]).rstrip(b"\x00")
        # Empty units count too: start codes alone must not cost more than NAL units.
        count += 1
        if count > MAX_NALS:
            raise ProtocolViolation(f"more than {MAX_NALS} NAL units in one access unit", "H.265 A.4.1")
        if nal:
            nals.append(nal)
        start = end
    return nals


def join_annex_b(nals: Iterable[bytes]) -> bytes:
    """`nals` as a byte stream with four-byte start codes."""
    return b"".join([b"\x00\x00\x00\x01" + nal for nal in nals])


def split_lengths(data: bytes, size: int = 4) -> list[bytes]:
    """The NAL units, but empty ones, of a sample (ISO 14496-15 4.3.3); their lengths have `size` bytes."""
    nals: list[bytes] = []
    start, end, count = 0, len(data), 0
    while start < end:
        body = start + size
        if body > end:
            raise ProtocolViolation("a NAL unit's length is cut", "ISO 14496-15 4.3.3")
        start = body + int.from_bytes(data[start:body], "big")
        if start > end:
            raise ProtocolViolation("a NAL unit goes past the end of its sample", "ISO 14496-15 4.3.3")
        count += 1
        if count > MAX_NALS:
            raise ProtocolViolation(f"more than {MAX_NALS} NAL units in one access unit", "H.265 A.4.1")
        if start > body:
            nals.append(data[body:start])
    return nals


def join_lengths(nals: Iterable[bytes], size: int = 4) -> bytes:
    """`nals` as a sample with lengths of `size` bytes."""
    pieces: list[bytes] = []
    for nal in nals:
        pieces += (len(nal).to_bytes(size, "big"), nal)
    return b"".join(pieces)


def unescape(nal: bytes) -> bytes:
    """`nal` without emulation prevention bytes (H.264 7.3.1)."""
    if nal.find(b"\x00\x00\x03") < 0:
        return nal
    return nal.replace(b"\x00\x00\x03", b"\x00\x00")


def trim_parameter_set(nal: bytes) -> bytes:
    """`nal` as it is compared: without the start code and the trailing zeros that some cameras leave on it.

    Raises `ProtocolViolation` where it is too large to be one.
    """
    if len(nal) > MAX_PARAMETER_SET:
        raise ProtocolViolation(f"a parameter set of {len(nal)} bytes", "H.264 7.3.2")
    if nal.startswith((b"\x00\x00\x01", b"\x00\x00\x00\x01")):
        nal = nal[nal.index(1) + 1 :]
    return nal.rstrip(b"\x00")
