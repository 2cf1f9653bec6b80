"""VPCodecConfigurationRecord, the body of ``vpcC`` (VP Codec ISO Media File Format Binding 1.0)."""

from __future__ import annotations

from penstock.errors import ProtocolViolation
from penstock_codecs.vp8.header import Vp8Config

# Version 1 of the box; profile and level 0; 8 bits 4:2:0; colours unspecified; no initialization data.
RECORD = bytes((1, 0, 0, 0, 0, 0, 8 << 4 | 1 << 1, 2, 2, 2, 0, 0))


def parse_record(record: bytes) -> Vp8Config:
    """The config of a record, which says nothing of the size. Raises `ProtocolViolation`."""
    # Some writers leave out the version and flags of the box.
    if len(record) < len(RECORD) - 4:
        raise ProtocolViolation(f"a vpcC of {len(record)} bytes", "VPCodecConfigurationRecord")
    return Vp8Config()
