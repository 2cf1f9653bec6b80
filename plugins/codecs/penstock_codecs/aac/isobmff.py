"""AAC in ISO media files (ISO/IEC 14496-14): sample entry ``mp4a`` with ``esds``."""

from __future__ import annotations

from penstock.media import Codec, CodecConfig, Frame, Track
from penstock_codecs.aac.config import AAC, AacConfig
from penstock_formats.isobmff import AudioEntry, IsobmffUnit, SampleEntry
from penstock_formats.isobmff.esds import MPEG2_AAC, MPEG4_AUDIO, Esds, build_esds, parse_esds


class AacIsobmff:
    """ISOBMFF binding of AAC."""

    formats = ("mp4a",)
    in_band = False

    def describe(self, track: Track, in_band: bool = False) -> SampleEntry:
        aac = AacConfig.of(track.config)
        return AudioEntry("mp4a", (build_esds(Esds(MPEG4_AUDIO, aac.asc)),), aac.channels, aac.sample_rate)

    def accept(self, entry: SampleEntry) -> tuple[Codec, AacConfig] | None:
        esds = parse_esds(entry.needed("esds"))
        if esds.object_type not in (MPEG4_AUDIO, *MPEG2_AAC):
            return None
        if not esds.specific and isinstance(entry, AudioEntry):
            return AAC, AacConfig.lc(entry.sample_rate, entry.channels)
        return AAC, AacConfig.parse(esds.specific)

    def encode(self, frame: Frame, in_band: bool = False) -> bytes:
        return frame.units[0]

    def decode(self, data: bytes, key: bool, config: CodecConfig | None) -> IsobmffUnit:
        return IsobmffUnit((data,), True)
