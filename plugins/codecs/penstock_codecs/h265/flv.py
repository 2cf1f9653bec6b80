"""H.265 in FLV: FourCC hvc1 of Enhanced RTMP, and the CodecID 12 that vendors agreed on before it."""

from __future__ import annotations

from penstock.media import CodecConfig, Frame
from penstock_codecs.h265.config import H265Config, as_h265
from penstock_codecs.h265.record import build_record, parse_record
from penstock_codecs.h265.unit import normalize
from penstock_formats.flv.binding import FlvUnit
from penstock_formats.nal import join_lengths, split_lengths


class H265Flv:
    """`FlvBinding` of H.265."""

    legacy_id = 12
    fourcc = "hvc1"
    has_composition_time = True

    def config_record(self, config: CodecConfig) -> bytes:
        return build_record(as_h265(config))

    def parse_config(self, record: bytes) -> H265Config:
        return parse_record(record)

    def implied_config(self, data: bytes, sample_rate: int, channels: int) -> None:
        return None

    def encode(self, frame: Frame) -> bytes:
        return join_lengths(frame.units)

    def decode(self, data: bytes, key: bool, config: CodecConfig) -> FlvUnit:
        """See `FlvBinding.decode`. The tag's `key` is not asked: some set it on I-frames that are none."""
        own = as_h265(config)
        return FlvUnit(*normalize(split_lengths(data, own.nal_length), own))
