"""Elementary streams that no plugin knows (KLV, SCTE 35, ID3, subtitles, AC-3 ...), carried on as they are."""

from __future__ import annotations

from attrs import frozen

from penstock.media import Codec, CodecConfig, Frame, Kind, Track
from penstock_formats.mpegts.binding import TsFormat, TsUnit
from penstock_formats.mpegts.descriptor import Descriptor

PRIVATE = Codec("mpegts-private", Kind.DATA)
"""A frame has one unit: what one PES packet holds, or one section."""

SECTION_TYPES = frozenset({0x05, 0x0A, 0x0B, 0x0C, 0x0D, 0x16, 0x86})
"""Stream types of which packets carry sections (H.222.0 table 2-34): private, DSM-CC, metadata; SCTE 35."""


@frozen
class PrivateConfig(CodecConfig):
    """`program` are the descriptors of the program it came in: SCTE 35 and metadata have some there."""

    format: TsFormat
    program: tuple[Descriptor, ...] = ()

    @property
    def sections(self) -> bool:
        return self.format.stream_type in SECTION_TYPES


class PrivateReader:
    """Takes PES packets as they are; its stream's config is what the program map says of it."""

    def __init__(self, config: PrivateConfig) -> None:
        self._config: PrivateConfig | None = config

    def push(self, data: bytes, pts: int | None, dts: int | None, lost: bool) -> list[TsUnit]:
        if pts is None or not data:
            return []
        config, self._config = self._config, None
        return [TsUnit(pts, dts, (data,), config=config)]


class PrivateTs:
    """`MpegTsBinding` of `PRIVATE`, but for reading, which is asked where no other binding accepts."""

    def describe(self, track: Track) -> TsFormat:
        return PrivateConfig.of(track.config).format

    def encode(self, frame: Frame, fresh: bool) -> bytes:
        return frame.units[0]
