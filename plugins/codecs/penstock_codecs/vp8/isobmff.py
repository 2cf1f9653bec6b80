"""VP8 in ISO media files (VP Codec ISO Media File Format Binding): sample entry ``vp08`` with ``vpcC``."""

from __future__ import annotations

from penstock.errors import ProtocolViolation
from penstock.media import Codec, CodecConfig, Frame, Track
from penstock_codecs.vp8.header import CLAUSE, VP8, Vp8Config
from penstock_codecs.vp8.record import RECORD, parse_record
from penstock_formats.isobmff import IsobmffUnit, SampleEntry, VisualEntry


class Vp8Isobmff:
    """ISOBMFF binding of VP8."""

    formats = ("vp08",)
    in_band = True

    def describe(self, track: Track, in_band: bool = False) -> SampleEntry:
        vp8 = Vp8Config.of(track.config)
        if not vp8.width:
            raise ProtocolViolation("the picture size of VP8 is not known yet", CLAUSE)
        return VisualEntry("vp08", (("vpcC", RECORD),), vp8.width, vp8.height)

    def accept(self, entry: SampleEntry) -> tuple[Codec, Vp8Config]:
        config = parse_record(entry.needed("vpcC"))
        return VP8, Vp8Config(entry.width, entry.height) if isinstance(entry, VisualEntry) else config

    def encode(self, frame: Frame, in_band: bool = False) -> bytes:
        return frame.units[0]

    def decode(self, data: bytes, key: bool, config: CodecConfig | None) -> IsobmffUnit:
        return IsobmffUnit((data,), *Vp8Config.of(config).after(data))
