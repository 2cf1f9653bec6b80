"""AV1CodecConfigurationRecord, the body of ``av1C`` (AV1-ISOBMFF 2.3)."""

from __future__ import annotations

from penstock.errors import ProtocolViolation
from penstock_codecs.av1.obu import sort, split, with_size
from penstock_codecs.av1.sequence import Av1Config, Color

CLAUSE = "AV1-ISOBMFF 2.3.3"
MAX_RECORD = 65_536
"""Bytes: the sequence header and metadata OBUs."""


def parse_record(data: bytes) -> Av1Config:
    """The config of a record; without a sequence header in it, what its four bytes say."""
    if len(data) < 4 or len(data) > MAX_RECORD:
        raise ProtocolViolation(f"an av1C of {len(data)} bytes", CLAUSE)
    if data[0] != 0x81:
        raise ProtocolViolation("an av1C of another version than 1", CLAUSE)
    header = sort(split(data[4:]))[1]
    if header is not None:
        return Av1Config.parse(header)
    flags = data[2]
    color = Color(
        bit_depth=12 if flags & 0x20 else 10 if flags & 0x40 else 8,
        monochrome=bool(flags & 0x10),
        subsampling_x=flags >> 3 & 1,
        subsampling_y=flags >> 2 & 1,
        sample_position=flags & 3,
    )
    return Av1Config(b"", data[1] >> 5, data[1] & 0x1F, flags >> 7, color)


def write_record(config: Av1Config) -> bytes:
    """The record of `config`, with its sequence header."""
    color = config.color
    flags = (
        config.tier << 7
        | (color.bit_depth > 8) << 6
        | (color.bit_depth == 12) << 5
        | color.monochrome << 4
        | color.subsampling_x << 3
        | color.subsampling_y << 2
        | color.sample_position
    )
    obus = with_size(config.sequence_header) if config.sequence_header else b""
    return bytes((0x81, config.profile << 5 | config.level, flags, 0)) + obus
