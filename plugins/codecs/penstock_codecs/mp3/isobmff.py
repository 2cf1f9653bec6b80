"""MP3 in ISO media files: ``mp4a`` with an ``esds`` that says so (ISO/IEC 14496-3 subpart 9), or QuickTime's ``.mp3``."""

from __future__ import annotations

from penstock.media import Codec, CodecConfig, Frame, Track
from penstock_codecs.mp3.header import MP3, Mp3Config, split
from penstock_formats.isobmff import AudioEntry, IsobmffUnit, SampleEntry
from penstock_formats.isobmff.esds import MPEG1_AUDIO, MPEG2_AUDIO, Esds, build_esds, parse_esds


class Mp3Isobmff:
    """ISOBMFF binding of MP3."""

    formats = ("mp4a", ".mp3")
    in_band = True

    def describe(self, track: Track, in_band: bool = False) -> SampleEntry:
        mp3 = Mp3Config.of(track.config)
        esds = build_esds(Esds(MPEG1_AUDIO if mp3.version == 1.0 else MPEG2_AUDIO))
        return AudioEntry("mp4a", (esds,), mp3.channels, mp3.sample_rate)

    def accept(self, entry: SampleEntry) -> tuple[Codec, None] | None:
        if entry.format == "mp4a":
            esds = parse_esds(entry.needed("esds"))
            if esds.object_type not in (MPEG1_AUDIO, MPEG2_AUDIO):
                return None
        # Each frame has all the configuration that there is.
        return MP3, None

    def encode(self, frame: Frame, in_band: bool = False) -> bytes:
        return b"".join(frame.units)

    def decode(self, data: bytes, key: bool, config: CodecConfig | None) -> IsobmffUnit:
        frames, found = split(data)
        return IsobmffUnit(frames, True, None if found == config else found)
