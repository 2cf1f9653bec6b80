"""HEVCDecoderConfigurationRecord (ISO 14496-15 8.3.3.1), as FLV and MP4 carry it."""

from __future__ import annotations

from attrs import evolve

from penstock.errors import ProtocolViolation
from penstock_codecs.h265.config import NAL_PPS, NAL_SPS, NAL_VPS, H265Config, merge

CLAUSE = "ISO 14496-15 8.3.3.1.2"

COMPLETE = 0x80
"""array_completeness: all sets are here, none in band, as the sample entry hvc1 has it."""

FIXED_SIZE = 23


def parse_record(record: bytes) -> H265Config:
    """The config in a record, with at least one SPS. Raises `ProtocolViolation`."""
    if len(record) < FIXED_SIZE:
        raise ProtocolViolation("the HEVC config record is cut", CLAUSE)
    # Writers from before the standard was done have version 0.
    if record[0] > 1:
        raise ProtocolViolation(f"an HEVC config record of version {record[0]}", CLAUSE)
    nal_length = (record[21] & 3) + 1
    if nal_length == 3:
        raise ProtocolViolation("NAL unit lengths of 3 bytes", CLAUSE)
    sets: list[bytes] = []
    position = FIXED_SIZE
    for _ in range(record[22]):
        if position + 3 > len(record):
            raise ProtocolViolation("the HEVC config record is cut", CLAUSE)
        wanted = record[position] & 63 in (NAL_VPS, NAL_SPS, NAL_PPS)
        count = int.from_bytes(record[position + 1 : position + 3], "big")
        position += 3
        for _ in range(count):
            start = position + 2
            position = start + int.from_bytes(record[position:start], "big")
            nal = record[start:position]
            if position > len(record) or not nal:
                raise ProtocolViolation("a NAL unit is empty or goes past the end of the record", CLAUSE)
            if wanted:
                sets.append(nal)
    config = merge(None, sets)
    if config is None:
        raise ProtocolViolation("the HEVC config record has no SPS", CLAUSE)
    return evolve(config, nal_length=nal_length)


def build_record(config: H265Config, *, in_band: bool = False) -> bytes:
    """The record of `config`, for NAL unit lengths of 4 bytes. Raises `ProtocolViolation` on a bad SPS.

    Frame rate, parallelism and spatial segmentation are left unspecified, as the standard allows.
    """
    sps = config.parsed
    profile = sps.profile
    arrays = [(NAL_VPS, config.vps), (NAL_SPS, config.sps), (NAL_PPS, config.pps)]
    pieces = [
        bytes((1, profile.space << 6 | profile.tier << 5 | profile.idc)),
        profile.compatibility.to_bytes(4, "big"),
        profile.constraints.to_bytes(6, "big"),
        bytes((profile.level, 0xF0, 0, 0xFC, 0xFC | sps.chroma_format)),
        bytes((0xF8 | sps.luma_depth - 8, 0xF8 | sps.chroma_depth - 8, 0, 0)),
        bytes((sps.sub_layers << 3 | sps.nested << 2 | 3, sum(1 for _, nals in arrays if nals))),
    ]
    for kind, nals in arrays:
        if nals:
            pieces.append(bytes((kind if in_band else COMPLETE | kind, 0, len(nals))))
            pieces += [len(nal).to_bytes(2, "big") + nal for nal in nals]
    return b"".join(pieces)
