"""Codecs of NAL units in MPEG-TS: byte streams with delimiters, and parameter sets at key frames (H.222.0 2.14, 2.17)."""

from __future__ import annotations

from typing import Generic, TypeVar

from attrs import frozen

from penstock.errors import ProtocolViolation
from penstock.media import Frame, Track
from penstock_formats.mpegts.binding import TsFormat, TsUnit
from penstock_formats.mpegts.descriptor import registration
from penstock_formats.mpegts.pes import VIDEO
from penstock_formats.nal.codec import NalCodec, NalConfig
from penstock_formats.nal.syntax import join_annex_b, split_annex_b

C = TypeVar("C", bound=NalConfig)


@frozen(eq=False)
class NalTs(Generic[C]):
    """`MpegTsBinding` of a codec of NAL units; `delimiter` is an access unit delimiter for any picture.

    `registered` is the format_identifier by which some tell it as private data.
    """

    codec: NalCodec[C]
    stream_type: int
    delimiter: bytes
    registered: bytes | None = None

    def accepts(self, fmt: TsFormat) -> bool:
        if fmt.stream_type == 0x06:
            return registration(fmt.descriptors) == self.registered
        return fmt.stream_type == self.stream_type

    def reader(self, fmt: TsFormat) -> NalReader[C]:
        return NalReader(self.codec)

    def describe(self, track: Track) -> TsFormat:
        return TsFormat(self.stream_type, stream_id=VIDEO)

    def encode(self, frame: Frame, fresh: bool) -> bytes:
        if fresh and frame.track.config is not None:
            sets = self.codec.config.of(frame.track.config).sets
            return join_annex_b((self.delimiter, *sets, *frame.units))
        return join_annex_b((self.delimiter, *frame.units))


class NalReader(Generic[C]):
    """`PesReader`: a PES packet with a time is an access unit, or the two fields of a frame."""

    def __init__(self, codec: NalCodec[C]) -> None:
        self._codec = codec
        self._config: C | None = None
        self._changed = False

    def push(self, data: bytes, pts: int | None, dts: int | None, lost: bool) -> list[TsUnit]:
        units, key, config = self._codec.normalize(split_annex_b(data), self._config)
        if config is not None:
            self._config = config
            self._changed = True
        if not units:
            return []
        if pts is None:
            raise ProtocolViolation("a picture without a time", "H.222.0 2.7.4")
        news = self._config if self._changed else None
        self._changed = False
        return [TsUnit(pts, dts, units, key, news)]
