"""H.264 in FLV: CodecID 7, and FourCC avc1 in Enhanced RTMP."""

from __future__ import annotations

from penstock.media import CodecConfig, Frame
from penstock_codecs.h264.config import H264Config, as_h264
from penstock_codecs.h264.record import build_record, parse_record
from penstock_codecs.h264.unit import normalize
from penstock_formats.flv.binding import FlvUnit
from penstock_formats.nal import join_lengths, split_lengths


class H264Flv:
    """`FlvBinding` of H.264."""

    legacy_id = 7
    fourcc = "avc1"
    has_composition_time = True

    def config_record(self, config: CodecConfig) -> bytes:
        return build_record(as_h264(config))

    def parse_config(self, record: bytes) -> H264Config:
        return parse_record(record)

    def implied_config(self, data: bytes, sample_rate: int, channels: int) -> None:
        return None

    def encode(self, frame: Frame) -> bytes:
        return join_lengths(frame.units)

    def decode(self, data: bytes, key: bool, config: CodecConfig) -> FlvUnit:
        """See `FlvBinding.decode`. The tag's `key` is not asked: some set it on I-frames that are none."""
        own = as_h264(config)
        return FlvUnit(*normalize(split_lengths(data, own.nal_length), own))
