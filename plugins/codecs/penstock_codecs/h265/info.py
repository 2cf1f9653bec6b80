"""What any carrier may ask of H.265."""

from __future__ import annotations

from penstock.media import CodecConfig
from penstock.registry import VideoInfo
from penstock_codecs.h265.config import H265Config
from penstock_formats.nal.display import Colour


class H265Info:
    """`CodecInfo` of H.265, from the first SPS."""

    def describe(self, config: CodecConfig) -> VideoInfo:
        sps = H265Config.of(config).parsed
        colour = sps.display.colour or Colour()
        return VideoInfo(sps.width, sps.height, sps.frame_rate, colour.transfer)

    def codecs_string(self, config: CodecConfig) -> str:
        return f"hvc1.{H265Config.of(config).parsed.profile.codecs}"

    def reorder(self, config: CodecConfig) -> int:
        return H265Config.of(config).parsed.reorder

    def samples(self, units: tuple[bytes, ...], config: CodecConfig) -> int | None:
        return None
