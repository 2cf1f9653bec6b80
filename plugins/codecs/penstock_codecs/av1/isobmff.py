"""AV1 in ISO media files (AV1-ISOBMFF): sample entry ``av01`` with ``av1C``."""

from __future__ import annotations

from attrs import evolve

from penstock.errors import ProtocolViolation
from penstock.media import Codec, CodecConfig, Frame, Track
from penstock_codecs.av1.record import parse_record, write_record
from penstock_codecs.av1.sample import build_sample, parse_sample
from penstock_codecs.av1.sequence import AV1, Av1Config
from penstock_formats.isobmff import IsobmffUnit, SampleEntry, VisualEntry
from penstock_formats.isobmff.sample_entry import colr


class Av1Isobmff:
    """ISOBMFF binding of AV1."""

    formats = ("av01",)
    in_band = True

    def describe(self, track: Track, in_band: bool = False) -> SampleEntry:
        av1 = Av1Config.of(track.config)
        if not av1.width:
            raise ProtocolViolation("the picture size of AV1 is not known yet", "AV1-ISOBMFF 2.2.4")
        boxes = [("av1C", write_record(av1))]
        color = av1.color
        if color.primaries is not None:
            boxes.append(colr(color.primaries, color.transfer, color.matrix, color.full_range))
        return VisualEntry("av01", tuple(boxes), av1.width, av1.height)

    def accept(self, entry: SampleEntry) -> tuple[Codec, Av1Config]:
        config = parse_record(entry.needed("av1C"))
        if not config.width and isinstance(entry, VisualEntry):
            # Without a sequence header in it the record does not have the size.
            config = evolve(config, width=entry.width, height=entry.height)
        return AV1, config

    def encode(self, frame: Frame, in_band: bool = False) -> bytes:
        return build_sample(frame)

    def decode(self, data: bytes, key: bool, config: CodecConfig | None) -> IsobmffUnit:
        return IsobmffUnit(*parse_sample(data, Av1Config.of(config)))
