"""VP8 in FLV: FourCC ``vp08``, with ``vpcC`` as sequence header, which says nothing of the size."""

from __future__ import annotations

from penstock.errors import ProtocolViolation
from penstock.media import CodecConfig, Frame
from penstock_codecs.vp8.header import Vp8Config, parse_frame
from penstock_formats.flv import FlvUnit

# vpcC: version 1; profile and level 0; 8 bits 4:2:0; colours unspecified; no initialization data.
RECORD = bytes((1, 0, 0, 0, 0, 0, 8 << 4 | 1 << 1, 2, 2, 2, 0, 0))


class Vp8Flv:
    """FLV binding of VP8."""

    legacy_id: int | None = None
    fourcc: str | None = "vp08"
    has_composition_time = False

    def config_record(self, config: CodecConfig) -> bytes:
        return RECORD

    def parse_config(self, record: bytes) -> CodecConfig:
        # Some writers leave out the version and flags of the box.
        if len(record) < len(RECORD) - 4:
            raise ProtocolViolation(f"a vpcC of {len(record)} bytes", "Enhanced RTMP v2")
        return Vp8Config()

    def implied_config(self, data: bytes, sample_rate: int, channels: int) -> CodecConfig | None:
        return parse_frame(data)

    def encode(self, frame: Frame) -> bytes:
        return frame.units[0]

    def decode(self, data: bytes, key: bool, config: CodecConfig) -> FlvUnit:
        found = parse_frame(data)
        return FlvUnit((data,), found is not None, None if found == config else found)
