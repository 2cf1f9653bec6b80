"""Codecs of NAL units in ISO media files (ISO/IEC 14496-15): a sample is an access unit, with lengths."""

from __future__ import annotations

from typing import Generic, TypeVar

from attrs import frozen

from penstock.errors import ProtocolViolation
from penstock.media import Codec, CodecConfig, Frame, Track
from penstock_formats.isobmff.binding import IsobmffUnit
from penstock_formats.isobmff.sample_entry import SampleEntry, VisualEntry, colr, pasp
from penstock_formats.nal.codec import NalCodec, NalConfig
from penstock_formats.nal.syntax import join_lengths, split_lengths

C = TypeVar("C", bound=NalConfig)


@frozen(eq=False)
class NalIsobmff(Generic[C]):
    """`IsobmffBinding` of a codec of NAL units.

    `formats` are the sample entries without and with parameter sets in band; `record` is the box of the decoder
    configuration record.
    """

    codec: Codec
    nals: NalCodec[C]
    formats: tuple[str, str]
    record: str
    in_band: bool = True

    def describe(self, track: Track, in_band: bool = False) -> SampleEntry:
        config = self.nals.config.of(track.config)
        sps = config.parsed
        boxes = [(self.record, self.nals.build_record(config, in_band=in_band))]
        if (colour := sps.display.colour) is not None:
            boxes.append(colr(colour.primaries, colour.transfer, colour.matrix, colour.full_range))
        if (aspect := sps.display.aspect) is not None:
            boxes.append(pasp(*aspect))
        return VisualEntry(self.formats[in_band], tuple(boxes), sps.width, sps.height)

    def accept(self, entry: SampleEntry) -> tuple[Codec, C | None]:
        record = entry.needed(self.record)
        try:
            return self.codec, self.nals.parse_record(record)
        except ProtocolViolation:
            if entry.format != self.formats[True]:
                raise
            # The record may be without sets where samples have them.
            return self.codec, None

    def encode(self, frame: Frame, in_band: bool = False) -> bytes:
        if in_band and frame.key:
            return join_lengths(self.nals.config.of(frame.track.config).sets + frame.units)
        return join_lengths(frame.units)

    def decode(self, data: bytes, key: bool, config: CodecConfig | None) -> IsobmffUnit:
        """See `IsobmffBinding.decode`. `key` is not asked: open GOPs and refreshes are told apart by the units."""
        own = self.nals.config.of(config) if config is not None else None
        nals = split_lengths(data, own.nal_length if own is not None else 4)
        return IsobmffUnit(*self.nals.normalize(nals, own))
