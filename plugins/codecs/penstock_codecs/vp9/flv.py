"""VP9 in FLV: Enhanced RTMP's FourCC ``vp09``, with ``vpcC`` as sequence header."""

from __future__ import annotations

import struct

from penstock.errors import ProtocolViolation
from penstock.media import CodecConfig, Frame
from penstock_codecs.vp9.header import CHROMA_444, Vp9Config, parse_frame
from penstock_formats.flv import FlvUnit

CLAUSE = "VPCodecConfigurationRecord"
_FULL_BOX = b"\1\0\0\0"
_RECORD = struct.Struct(">BBBBBBH")


class Vp9Flv:
    """FLV binding of VP9."""

    legacy_id: int | None = None
    fourcc: str | None = "vp09"
    has_composition_time = False

    def config_record(self, config: CodecConfig) -> bytes:
        vp9 = Vp9Config.of(config)
        flags = vp9.bit_depth << 4 | vp9.chroma << 1 | vp9.full_range
        return _FULL_BOX + _RECORD.pack(
            vp9.profile, vp9.level, flags, vp9.primaries, vp9.transfer, vp9.matrix, 0
        )

    def parse_config(self, record: bytes) -> CodecConfig:
        # Some writers leave out version and flags; a record itself can't begin so, with no bit depth.
        body = record[4:] if record.startswith(_FULL_BOX) else record
        if len(body) < _RECORD.size:
            raise ProtocolViolation(f"a vpcC of {len(record)} bytes", CLAUSE)
        profile, level, flags, primaries, transfer, matrix, _ = _RECORD.unpack_from(body)
        depth, chroma = flags >> 4, flags >> 1 & 7
        if profile > 3 or depth not in (8, 10, 12) or chroma > CHROMA_444:
            raise ProtocolViolation(f"a vpcC with profile {profile}, {depth} bits, chroma {chroma}", CLAUSE)
        return Vp9Config(profile, level, depth, chroma, bool(flags & 1), primaries, transfer, matrix)

    def implied_config(self, data: bytes, sample_rate: int, channels: int) -> CodecConfig | None:
        return parse_frame(data)

    def encode(self, frame: Frame) -> bytes:
        return frame.units[0]

    def decode(self, data: bytes, key: bool, config: CodecConfig) -> FlvUnit:
        found = parse_frame(data)
        if found is None:
            return FlvUnit((data,), False)
        refined = Vp9Config.of(config).refined(found)
        return FlvUnit((data,), True, None if refined == config else refined)
