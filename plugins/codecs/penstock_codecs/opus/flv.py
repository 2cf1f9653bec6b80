"""Opus in FLV: Enhanced RTMP's FourCC ``Opus``, with OpusHead as sequence header."""

from __future__ import annotations

from penstock.media import CodecConfig, Frame
from penstock_codecs.opus.config import OpusConfig, parse_head, write_head
from penstock_codecs.opus.packet import duration
from penstock_formats.flv import FlvUnit


class OpusFlv:
    """FLV binding of Opus."""

    legacy_id: int | None = None
    fourcc: str | None = "Opus"
    has_composition_time = False

    def config_record(self, config: CodecConfig) -> bytes:
        return write_head(OpusConfig.of(config))

    def parse_config(self, record: bytes) -> CodecConfig:
        return parse_head(record)

    def implied_config(self, data: bytes, sample_rate: int, channels: int) -> CodecConfig | None:
        # Enhanced RTMP v2: without a sequence header the stream is mono or stereo, as its flags say.
        return OpusConfig.simple(channels) if channels in (1, 2) else None

    def encode(self, frame: Frame, in_band: bool = False) -> bytes:
        return frame.units[0]

    def decode(self, data: bytes, key: bool, config: CodecConfig) -> FlvUnit:
        duration(data)
        return FlvUnit((data,), True)
