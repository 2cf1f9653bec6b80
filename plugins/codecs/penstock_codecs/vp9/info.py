"""What every carrier may ask of VP9."""

from __future__ import annotations

from penstock.media import CodecConfig
from penstock.registry import VideoInfo
from penstock_codecs.vp9.header import CHROMA_420, Vp9Config


class Vp9Info:
    """INFO of VP9."""

    def describe(self, config: CodecConfig) -> VideoInfo | None:
        vp9 = Vp9Config.of(config)
        return VideoInfo(vp9.width, vp9.height, transfer=vp9.transfer) if vp9.width else None

    def codecs_string(self, config: CodecConfig) -> str:
        """As in vpcC's specification; the optional part, which is all or none, for other than 4:2:0."""
        vp9 = Vp9Config.of(config)
        text = f"vp09.{vp9.profile:02}.{vp9.level:02}.{vp9.bit_depth:02}"
        if vp9.chroma <= CHROMA_420:
            return text
        points = f"{vp9.primaries:02}.{vp9.transfer:02}.{vp9.matrix:02}.{vp9.full_range:02}"
        return f"{text}.{vp9.chroma:02}.{points}"

    def reorder(self, config: CodecConfig) -> int:
        return 0

    def samples(self, units: tuple[bytes, ...], config: CodecConfig) -> int | None:
        return None
