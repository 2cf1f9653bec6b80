"""MP3 in MPEG-TS: stream type 0x03 (MPEG-1) or 0x04 (MPEG-2 and 2.5)."""

from __future__ import annotations

from penstock.errors import ProtocolViolation
from penstock.media import Frame, Track
from penstock_codecs.mp3.header import HEADER_SIZE, FrameHeader, Mp3Config
from penstock_formats.mpegts.audio import AudioFrame, AudioReader
from penstock_formats.mpegts.binding import TsFormat
from penstock_formats.mpegts.pes import AUDIO

MPEG1_TYPE = 0x03
MPEG2_TYPE = 0x04


class Mp3Syntax:
    """`AudioSyntax` of MPEG audio, which has no other layer for us."""

    sync = 0xFF
    header_size = HEADER_SIZE

    def size(self, data: bytes, at: int) -> int | None:
        try:
            return FrameHeader.parse(data, at).size
        except ProtocolViolation:
            return None

    def parse(self, frame: bytes) -> AudioFrame:
        config = FrameHeader.parse(frame).config
        return AudioFrame((frame,), config.frame_samples, config.sample_rate, config)


class Mp3Ts:
    """MPEG-TS binding of MP3."""

    def accepts(self, fmt: TsFormat) -> bool:
        return fmt.stream_type in (MPEG1_TYPE, MPEG2_TYPE)

    def reader(self, fmt: TsFormat) -> AudioReader:
        return AudioReader(Mp3Syntax())

    def describe(self, track: Track) -> TsFormat:
        version = Mp3Config.of(track.config).version
        return TsFormat(MPEG1_TYPE if version == 1.0 else MPEG2_TYPE, stream_id=AUDIO)

    def encode(self, frame: Frame, fresh: bool) -> bytes:
        return b"".join(frame.units)
