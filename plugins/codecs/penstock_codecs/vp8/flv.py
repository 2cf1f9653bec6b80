"""VP8 in FLV: FourCC ``vp08``, with ``vpcC`` as sequence header, which says nothing of the size."""

from __future__ import annotations

from penstock.media import CodecConfig, Frame
from penstock_codecs.vp8.header import Vp8Config, parse_frame
from penstock_codecs.vp8.record import RECORD, parse_record
from penstock_formats.flv import FlvUnit


class Vp8Flv:
    """FLV binding of VP8."""

    legacy_id: int | None = None
    fourcc: str | None = "vp08"
    has_composition_time = False

    def config_record(self, config: CodecConfig) -> bytes:
        return RECORD

    def parse_config(self, record: bytes) -> CodecConfig:
        return parse_record(record)

    def implied_config(self, data: bytes, sample_rate: int, channels: int) -> CodecConfig | None:
        return parse_frame(data)

    def encode(self, frame: Frame, in_band: bool = False) -> bytes:
        return frame.units[0]

    def decode(self, data: bytes, key: bool, config: CodecConfig) -> FlvUnit:
        return FlvUnit((data,), *Vp8Config.of(config).after(data))
