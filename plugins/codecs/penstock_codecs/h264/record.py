"""AVCDecoderConfigurationRecord (ISO 14496-15 5.3.3.1), as FLV and MP4 carry it."""

from __future__ import annotations

from attrs import evolve

from penstock.errors import ProtocolViolation
from penstock_codecs.h264.config import NAL_PPS, NAL_SPS, H264Config, merge

CLAUSE = "ISO 14496-15 5.3.3.1.2"

SHORT_PROFILES = frozenset({66, 77, 88})
"""profile_idc of which the record has no chroma format and bit depths."""


def parse_record(record: bytes) -> H264Config:
    """The config in a record, with at least one SPS. Raises `ProtocolViolation`."""
    if len(record) < 7:
        raise ProtocolViolation("the AVC config record is cut", CLAUSE)
    if record[0] != 1:
        raise ProtocolViolation(f"an AVC config record of version {record[0]}", CLAUSE)
    nal_length = (record[4] & 3) + 1
    if nal_length == 3:
        raise ProtocolViolation("NAL unit lengths of 3 bytes", CLAUSE)
    sets, position = _take(record, 6, record[5] & 31, NAL_SPS)
    if position >= len(record):
        raise ProtocolViolation("the AVC config record is cut", CLAUSE)
    # What follows the PPS (chroma format, bit depths, SPS extensions) says nothing that the SPS does not.
    more, _ = _take(record, position + 1, record[position], NAL_PPS)
    config = merge(None, sets + more)
    if config is None:
        raise ProtocolViolation("the AVC config record has no SPS", CLAUSE)
    return evolve(config, nal_length=nal_length)


def _take(record: bytes, position: int, count: int, kind: int) -> tuple[list[bytes], int]:
    nals: list[bytes] = []
    for _ in range(count):
        start = position + 2
        position = start + int.from_bytes(record[position:start], "big")
        nal = record[start:position]
        if position > len(record) or not nal:
            raise ProtocolViolation("a parameter set is empty or goes past the end of the record", CLAUSE)
        # Some encoders put SPS extensions among the SPS; they are for auxiliary pictures, which are stripped.
        if nal[0] & 31 == kind:
            nals.append(nal)
    return nals, position


def build_record(config: H264Config, *, in_band: bool = False) -> bytes:
    """The record of `config`, for NAL unit lengths of 4 bytes; the sample entry alone tells of sets in band.

    Raises `ProtocolViolation` on a bad SPS.
    """
    sps = config.parsed
    pieces = [
        bytes((1, sps.profile, sps.constraints, sps.level, 0xFC | 3, 0xE0 | len(config.sps))),
        *(len(nal).to_bytes(2, "big") + nal for nal in config.sps),
        bytes((len(config.pps),)),
        *(len(nal).to_bytes(2, "big") + nal for nal in config.pps),
    ]
    if sps.profile not in SHORT_PROFILES:
        depths = 0xF8 | sps.luma_depth - 8, 0xF8 | sps.chroma_depth - 8
        pieces.append(bytes((0xFC | sps.chroma_format, *depths, 0)))
    return b"".join(pieces)
