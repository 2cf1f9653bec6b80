"""AV1 in FLV: Enhanced RTMP's FourCC ``av01``, with ``av1C`` as sequence header and OBUs with size fields."""

from __future__ import annotations

from penstock.errors import ProtocolViolation
from penstock.media import CodecConfig, Frame
from penstock_codecs.av1.obu import is_key, sort, split, with_size
from penstock_codecs.av1.record import parse_record, write_record
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

    def encode(self, frame: Frame) -> bytes:
        data = b"".join(map(with_size, frame.units))
        if not frame.key:
            return data
        # AV1-ISOBMFF 2.4: a sync sample has a sequence header before its first frame.
        header = Av1Config.of(frame.track.config).sequence_header
        return with_size(header) + data if header else data

    def decode(self, data: bytes, key: bool, config: CodecConfig) -> FlvUnit:
        units, header = sort(split(data))
        if not units:
            raise ProtocolViolation("an AV1 tag without a frame", "AV1-ISOBMFF 2.4")
        known = Av1Config.of(config)
        changed = None
        if header is not None and header != known.sequence_header:
            changed = known = Av1Config.parse(header)
        return FlvUnit(units, is_key(units, known.reduced), changed)
