"""VPCodecConfigurationRecord, the body of ``vpcC`` (VP Codec ISO Media File Format Binding 1.0)."""

from __future__ import annotations

import struct

from penstock.errors import ProtocolViolation
from penstock_codecs.vp9.header import CHROMA_444, Vp9Config

CLAUSE = "VPCodecConfigurationRecord"
_FULL_BOX = b"\1\0\0\0"
_RECORD = struct.Struct(">BBBBBBH")


def write_record(config: Vp9Config) -> bytes:
    """The record of `config`, with the version and flags of its box."""
    flags = config.bit_depth << 4 | config.chroma << 1 | config.full_range
    return _FULL_BOX + _RECORD.pack(
        config.profile, config.level, flags, config.primaries, config.transfer, config.matrix, 0
    )


def parse_record(record: bytes) -> Vp9Config:
    """The config of a record. Raises `ProtocolViolation`."""
    # Some writers leave out version and flags; a record itself can't begin so, with no bit depth.
    body = record[4:] if record.startswith(_FULL_BOX) else record
    if len(body) < _RECORD.size:
        raise ProtocolViolation(f"a vpcC of {len(record)} bytes", CLAUSE)
    profile, level, flags, primaries, transfer, matrix, _ = _RECORD.unpack_from(body)
    depth, chroma = flags >> 4, flags >> 1 & 7
    if profile > 3 or depth not in (8, 10, 12) or chroma > CHROMA_444:
        raise ProtocolViolation(f"a vpcC with profile {profile}, {depth} bits, chroma {chroma}", CLAUSE)
    return Vp9Config(profile, level, depth, chroma, bool(flags & 1), primaries, transfer, matrix)
