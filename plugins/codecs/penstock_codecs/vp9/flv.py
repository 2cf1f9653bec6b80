"""VP9 in FLV: Enhanced RTMP's FourCC ``vp09``, with ``vpcC`` as sequence header."""

from __future__ import annotations

from penstock.media import CodecConfig, Frame
from penstock_codecs.vp9.header import Vp9Config, parse_frame
from penstock_codecs.vp9.record import parse_record, write_record
from penstock_formats.flv import FlvUnit


class Vp9Flv:
    """FLV binding of VP9."""

    legacy_id: int | None = None
    fourcc: str | None = "vp09"
    has_composition_time = False

    def config_record(self, config: CodecConfig) -> bytes:
        return write_record(Vp9Config.of(config))

    def parse_config(self, record: bytes) -> CodecConfig:
        return parse_record(record)

    def implied_config(self, data: bytes, sample_rate: int, channels: int) -> CodecConfig | None:
        return parse_frame(data)

    def encode(self, frame: Frame, in_band: bool = False) -> bytes:
        return frame.units[0]

    def decode(self, data: bytes, key: bool, config: CodecConfig) -> FlvUnit:
        return FlvUnit((data,), *Vp9Config.of(config).after(data))
