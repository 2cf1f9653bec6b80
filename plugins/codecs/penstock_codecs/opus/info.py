"""What every carrier may ask of Opus."""

from __future__ import annotations

from penstock.media import CodecConfig
from penstock.registry import AudioInfo
from penstock_codecs.opus.config import CLOCK_RATE, OpusConfig
from penstock_codecs.opus.packet import duration


class OpusInfo:
    """INFO of Opus."""

    def describe(self, config: CodecConfig) -> AudioInfo:
        return AudioInfo(CLOCK_RATE, OpusConfig.of(config).channels)

    def codecs_string(self, config: CodecConfig) -> str:
        return "opus"

    def reorder(self, config: CodecConfig) -> int:
        return 0

    def samples(self, units: tuple[bytes, ...], config: CodecConfig) -> int | None:
        return sum(map(duration, units))
