"""G.711 in ISO media files: QuickTime's sample entries ``alaw`` and ``ulaw``, which MP4 readers know as well."""

from __future__ import annotations

import struct

from attrs import frozen

from penstock.errors import ProtocolViolation
from penstock.media import Codec, CodecConfig, Frame, Track
from penstock_codecs.g711.config import G711Config
from penstock_formats.isobmff import AudioEntry, IsobmffUnit, SampleEntry

LAYOUTS = {1: 100 << 16 | 1, 2: 101 << 16 | 2}
"""Mono and stereo as QuickTime's ``chan`` box says them: without it readers have to guess."""


@frozen
class G711Isobmff:
    """ISOBMFF binding of one law; `law` is its sample entry."""

    codec: Codec
    law: str
    in_band: bool = False

    @property
    def formats(self) -> tuple[str, ...]:
        return (self.law,)

    def describe(self, track: Track, in_band: bool = False) -> SampleEntry:
        g711 = G711Config.of(track.config)
        layout = LAYOUTS.get(g711.channels)
        boxes = (("chan", struct.pack(">IIII", 0, layout, 0, 0)),) if layout is not None else ()
        return AudioEntry(self.law, boxes, g711.channels, g711.sample_rate)

    def accept(self, entry: SampleEntry) -> tuple[Codec, G711Config] | None:
        if not isinstance(entry, AudioEntry):
            return None
        return self.codec, G711Config.checked(entry.channels, entry.sample_rate)

    def encode(self, frame: Frame, in_band: bool = False) -> bytes:
        return frame.units[0]

    def decode(self, data: bytes, key: bool, config: CodecConfig | None) -> IsobmffUnit:
        if len(data) % G711Config.of(config).channels:
            raise ProtocolViolation("a G.711 sample has no whole number of samples", "QuickTime sound media")
        return IsobmffUnit((data,), True)
