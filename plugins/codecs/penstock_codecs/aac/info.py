"""What every carrier may ask of AAC."""

from __future__ import annotations

from penstock.media import CodecConfig
from penstock.registry import AudioInfo
from penstock_codecs.aac.config import PS, SBR, AacConfig


class AacInfo:
    """INFO of AAC."""

    def describe(self, config: CodecConfig) -> AudioInfo:
        aac = AacConfig.of(config)
        return AudioInfo(aac.sample_rate, aac.channels)

    def codecs_string(self, config: CodecConfig) -> str:
        aac = AacConfig.of(config)
        return f"mp4a.40.{PS if aac.ps else SBR if aac.sbr else aac.object_type}"

    def reorder(self, config: CodecConfig) -> int:
        return 0

    def samples(self, units: tuple[bytes, ...], config: CodecConfig) -> int | None:
        return (config if isinstance(config, AacConfig) else AacConfig.of(config)).frame_samples
