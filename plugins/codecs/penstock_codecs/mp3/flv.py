"""MP3 in FLV: SoundFormat 2, and Enhanced RTMP's FourCC ``.mp3``; there is no sequence header.

SoundFormat 14 (MP3 at 8 kHz) is not offered: no encoder in use sends it.
"""

from __future__ import annotations

from penstock.errors import ProtocolViolation
from penstock.media import CodecConfig, Frame
from penstock_codecs.mp3.header import FrameHeader, Mp3Config, split
from penstock_formats.flv import FlvUnit


class Mp3Flv:
    """FLV binding of MP3."""

    legacy_id: int | None = 2
    fourcc: str | None = ".mp3"
    has_composition_time = False

    def config_record(self, config: CodecConfig) -> bytes | None:
        return None

    def parse_config(self, record: bytes) -> CodecConfig:
        raise ProtocolViolation("MP3 has no sequence header", "Enhanced RTMP v2")

    def implied_config(self, data: bytes, sample_rate: int, channels: int) -> CodecConfig | None:
        return FrameHeader.parse(data).config if data else Mp3Config.foretold(sample_rate, channels)

    def encode(self, frame: Frame, in_band: bool = False) -> bytes:
        return b"".join(frame.units)

    def decode(self, data: bytes, key: bool, config: CodecConfig) -> FlvUnit:
        frames, found = split(data)
        return FlvUnit(frames, True, None if found == config else found)
