"""VP9 in ISO media files (VP Codec ISO Media File Format Binding): sample entry ``vp09`` with ``vpcC``."""

from __future__ import annotations

from attrs import evolve

from penstock.errors import ProtocolViolation
from penstock.media import Codec, CodecConfig, Frame, Track
from penstock_codecs.vp9.header import VP9, Vp9Config
from penstock_codecs.vp9.record import CLAUSE, parse_record, write_record
from penstock_formats.isobmff import IsobmffUnit, SampleEntry, VisualEntry
from penstock_formats.isobmff.sample_entry import colr


class Vp9Isobmff:
    """ISOBMFF binding of VP9."""

    formats = ("vp09",)
    in_band = True

    def describe(self, track: Track, in_band: bool = False) -> SampleEntry:
        vp9 = Vp9Config.of(track.config)
        if not vp9.width:
            raise ProtocolViolation("the picture size of VP9 is not known yet", CLAUSE)
        colours = colr(vp9.primaries, vp9.transfer, vp9.matrix, vp9.full_range)
        return VisualEntry("vp09", (("vpcC", write_record(vp9)), colours), vp9.width, vp9.height)

    def accept(self, entry: SampleEntry) -> tuple[Codec, Vp9Config]:
        config = parse_record(entry.needed("vpcC"))
        if isinstance(entry, VisualEntry):
            config = evolve(config, width=entry.width, height=entry.height)
        return VP9, config

    def encode(self, frame: Frame, in_band: bool = False) -> bytes:
        return frame.units[0]

    def decode(self, data: bytes, key: bool, config: CodecConfig | None) -> IsobmffUnit:
        return IsobmffUnit((data,), *Vp9Config.of(config).after(data))
