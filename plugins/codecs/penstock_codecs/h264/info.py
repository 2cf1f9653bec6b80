"""What any carrier may ask of H.264."""

from __future__ import annotations

from penstock.media import CodecConfig
from penstock.registry import VideoInfo
from penstock_codecs.h264.config import H264Config
from penstock_formats.nal.display import Colour


class H264Info:
    """`CodecInfo` of H.264, from the first SPS."""

    def describe(self, config: CodecConfig) -> VideoInfo:
        sps = H264Config.of(config).parsed
        colour = sps.display.colour or Colour()
        return VideoInfo(sps.width, sps.height, sps.frame_rate, colour.transfer)

    def codecs_string(self, config: CodecConfig) -> str:
        sps = H264Config.of(config).parsed
        return f"avc1.{sps.profile:02x}{sps.constraints:02x}{sps.level:02x}"

    def reorder(self, config: CodecConfig) -> int:
        return H264Config.of(config).parsed.reorder

    def samples(self, units: tuple[bytes, ...], config: CodecConfig) -> int | None:
        return None
