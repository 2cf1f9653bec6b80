"""What every carrier may ask of AV1."""

from __future__ import annotations

from penstock.media import CodecConfig
from penstock.registry import VideoInfo
from penstock_codecs.av1.sequence import Av1Config


class Av1Info:
    """INFO of AV1."""

    def describe(self, config: CodecConfig) -> VideoInfo | None:
        av1 = Av1Config.of(config)
        return VideoInfo(av1.width, av1.height, av1.frame_rate, av1.color.transfer) if av1.width else None

    def codecs_string(self, config: CodecConfig) -> str:
        """AV1-ISOBMFF 5; the optional part only where it differs from its defaults, and then whole."""
        av1 = Av1Config.of(config)
        color = av1.color
        text = f"av01.{av1.profile}.{av1.level:02}{'H' if av1.tier else 'M'}.{color.bit_depth:02}"
        chroma = f"{color.subsampling_x}{color.subsampling_y}{color.sample_position}"
        if color.primaries is None and not color.monochrome and chroma[:2] == "11" and not color.full_range:
            return text
        primaries = 2 if color.primaries is None else color.primaries
        points = f"{primaries:02}.{color.transfer:02}.{color.matrix:02}"
        return f"{text}.{color.monochrome:d}.{chroma}.{points}.{color.full_range:d}"

    def reorder(self, config: CodecConfig) -> int:
        # AV1 7.20: each temporal unit shows one frame, in output order.
        return 0

    def samples(self, units: tuple[bytes, ...], config: CodecConfig) -> int | None:
        return None
