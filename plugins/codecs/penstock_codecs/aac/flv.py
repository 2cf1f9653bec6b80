"""AAC in FLV: SoundFormat 10 and FourCC ``mp4a``; the sequence header is the AudioSpecificConfig."""

from __future__ import annotations

from penstock.errors import ProtocolViolation
from penstock.media import CodecConfig, Frame
from penstock_codecs.aac.config import AacConfig
from penstock_formats.flv import FlvUnit


class AacFlv:
    """FLV binding of AAC."""

    legacy_id: int | None = 10
    fourcc: str | None = "mp4a"
    has_composition_time = False

    def config_record(self, config: CodecConfig) -> bytes:
        return AacConfig.of(config).asc

    def parse_config(self, record: bytes) -> CodecConfig:
        return AacConfig.parse(record)

    def implied_config(self, data: bytes, sample_rate: int, channels: int) -> CodecConfig | None:
        return None

    def encode(self, frame: Frame, in_band: bool = False) -> bytes:
        return frame.units[0]

    def decode(self, data: bytes, key: bool, config: CodecConfig) -> FlvUnit:
        if not data:
            raise ProtocolViolation("an AAC tag without an access unit", "FLV E.4.2.2")
        return FlvUnit((data,), True)
