"""What every carrier may ask of VP8."""

from __future__ import annotations

from penstock.media import CodecConfig
from penstock.registry import VideoInfo
from penstock_codecs.vp8.header import Vp8Config


class Vp8Info:
    """INFO of VP8."""

    def describe(self, config: CodecConfig) -> VideoInfo | None:
        vp8 = Vp8Config.of(config)
        return VideoInfo(vp8.width, vp8.height) if vp8.width else None

    def codecs_string(self, config: CodecConfig) -> str:
        """As vpcC's specification has it: profile and level are 0, as in the record."""
        return "vp08.00.00.08"

    def reorder(self, config: CodecConfig) -> int:
        return 0

    def samples(self, units: tuple[bytes, ...], config: CodecConfig) -> int | None:
        return None
