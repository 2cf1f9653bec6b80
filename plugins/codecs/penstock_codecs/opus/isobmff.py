"""Opus in ISO media files (Encapsulation of Opus in ISO Base Media File Format): ``Opus`` with ``dOps``."""

from __future__ import annotations

from penstock.media import Codec, CodecConfig, Frame, Track
from penstock_codecs.opus.config import CLOCK_RATE, OPUS, OpusConfig, parse_specific, write_specific
from penstock_codecs.opus.packet import duration
from penstock_formats.isobmff import AudioEntry, IsobmffUnit, SampleEntry


class OpusIsobmff:
    """ISOBMFF binding of Opus."""

    formats = ("Opus",)
    in_band = False

    def describe(self, track: Track, in_band: bool = False) -> SampleEntry:
        opus = OpusConfig.of(track.config)
        return AudioEntry("Opus", (("dOps", write_specific(opus)),), opus.channels, CLOCK_RATE)

    def accept(self, entry: SampleEntry) -> tuple[Codec, OpusConfig]:
        return OPUS, parse_specific(entry.needed("dOps"))

    def encode(self, frame: Frame, in_band: bool = False) -> bytes:
        return frame.units[0]

    def decode(self, data: bytes, key: bool, config: CodecConfig | None) -> IsobmffUnit:
        duration(data)
        return IsobmffUnit((data,), True)
