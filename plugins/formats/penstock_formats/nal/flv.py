"""Codecs of NAL units in FLV: the sequence header is their configuration record, a frame is one sample."""

from __future__ import annotations

from typing import Generic, TypeVar

from attrs import frozen

from penstock.media import CodecConfig, Frame
from penstock_formats.flv.binding import FlvUnit
from penstock_formats.nal.codec import NalCodec, NalConfig
from penstock_formats.nal.syntax import join_lengths, split_lengths

C = TypeVar("C", bound=NalConfig)


@frozen(eq=False)
class NalFlv(Generic[C]):
    """`FlvBinding` of a codec of NAL units."""

    codec: NalCodec[C]
    legacy_id: int
    fourcc: str
    has_composition_time: bool = True

    def config_record(self, config: CodecConfig) -> bytes:
        return self.codec.build_record(self.codec.config.of(config))

    def parse_config(self, record: bytes) -> C:
        return self.codec.parse_record(record)

    def implied_config(self, data: bytes, sample_rate: int, channels: int) -> None:
        return None

    def encode(self, frame: Frame, in_band: bool = False) -> bytes:
        if in_band:
            return join_lengths(self.codec.config.of(frame.track.config).sets + frame.units)
        return join_lengths(frame.units)

    def decode(self, data: bytes, key: bool, config: CodecConfig) -> FlvUnit:
        """See `FlvBinding.decode`. The tag's `key` is not asked: some set it on I-frames that are none."""
        own = self.codec.config.of(config)
        return FlvUnit(*self.codec.normalize(split_lengths(data, own.nal_length), own))
