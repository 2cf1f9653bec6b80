"""What any carrier may ask of H.265."""

from __future__ import annotations

from penstock.media import CodecConfig
from penstock.registry import VideoInfo
from penstock_codecs.h265.config import as_h265


class H265Info:
    """`CodecInfo` of H.265, from the first SPS."""

    def describe(self, config: CodecConfig) -> VideoInfo:
        sps = as_h265(config).parsed
        return VideoInfo(sps.width, sps.height, sps.frame_rate)

    def codecs_string(self, config: CodecConfig) -> str:
        return f"hvc1.{as_h265(config).parsed.profile.codecs}"

    def reorder(self, config: CodecConfig) -> int:
        return as_h265(config).parsed.reorder

    def samples(self, units: tuple[bytes, ...], config: CodecConfig) -> int | None:
        return None
