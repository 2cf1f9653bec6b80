"""AV1 in FLV: Enhanced RTMP's FourCC ``av01``, with ``av1C`` as sequence header and OBUs with size fields."""

from __future__ import annotations

from penstock.media import CodecConfig, Frame
from penstock_codecs.av1.obu import sort, split
from penstock_codecs.av1.record import parse_record, write_record
from penstock_codecs.av1.sample import build_sample, parse_sample
from penstock_codecs.av1.sequence import Av1Config
from penstock_formats.flv import FlvUnit


class Av1Flv:
    """FLV binding of AV1."""

    legacy_id: int | None = None
    fourcc: str | None = "av01"
    has_composition_time = False

    def config_record(self, config: CodecConfig) -> bytes:
        return write_record(Av1Config.of(config))

    def parse_config(self, record: bytes) -> CodecConfig:
        return parse_record(record)

    def implied_config(self, data: bytes, sample_rate: int, channels: int) -> CodecConfig | None:
        header = sort(split(data))[1]
        return Av1Config.parse(header) if header is not None else None

    def encode(self, frame: Frame, in_band: bool = False) -> bytes:
        return build_sample(frame)

    def decode(self, data: bytes, key: bool, config: CodecConfig) -> FlvUnit:
        return FlvUnit(*parse_sample(data, Av1Config.of(config)))
