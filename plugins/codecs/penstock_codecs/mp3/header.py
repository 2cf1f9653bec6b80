"""The frame header (ISO/IEC 11172-3 2.4.1.3), which is all the configuration that MP3 has."""

from __future__ import annotations

from attrs import frozen

from penstock.errors import ProtocolViolation
from penstock.media import Codec, CodecConfig, Kind

MP3 = Codec("mp3", Kind.AUDIO)

CLAUSE = "ISO/IEC 11172-3 2.4.2.3"
HEADER_SIZE = 4

_VERSIONS = {3: 1.0, 2: 2.0, 0: 2.5}
_RATES = {1.0: (44100, 48000, 32000), 2.0: (22050, 24000, 16000), 2.5: (11025, 12000, 8000)}
_KBITS_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_KBITS_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)


@frozen
class Mp3Config(CodecConfig):
    """`version` is that of MPEG: 1.0, 2.0 or 2.5."""

    sample_rate: int
    channels: int
    version: float = 1.0

    @staticmethod
    def foretold(sample_rate: int, channels: int) -> Mp3Config:
        """The config of frames that are still to come. Raises `ProtocolViolation`."""
        version = next((v for v, rates in _RATES.items() if sample_rate in rates), None)
        if version is None or not 1 <= channels <= 2:
            raise ProtocolViolation(f"MP3 with {channels} channels at {sample_rate} Hz", CLAUSE)
        return Mp3Config(sample_rate, channels, version)

    @property
    def frame_samples(self) -> int:
        """Samples of one frame."""
        return 1152 if self.version == 1.0 else 576


@frozen
class FrameHeader:
    """`size` is that of the whole frame in bytes, header included."""

    config: Mp3Config
    size: int

    @staticmethod
    def parse(data: bytes, at: int = 0) -> FrameHeader:
        """The header at `data[at:]`. Raises `ProtocolViolation`."""
        if len(data) - at < HEADER_SIZE:
            raise ProtocolViolation("an MP3 frame header is cut short", CLAUSE)
        bits = int.from_bytes(data[at : at + HEADER_SIZE], "big")
        version = _VERSIONS.get(bits >> 19 & 3)
        if bits >> 21 != 0x7FF or version is None:
            raise ProtocolViolation("no MPEG audio sync word", CLAUSE)
        if bits >> 17 & 3 != 1:
            raise ProtocolViolation("MPEG audio of another layer than III is not supported", CLAUSE)
        bitrate, rate = bits >> 12 & 15, bits >> 10 & 3
        if bitrate in (0, 15) or rate == 3:
            raise ProtocolViolation("an MP3 frame of free format or a reserved rate", CLAUSE)
        hertz = _RATES[version][rate]
        factor, kbits = (144_000, _KBITS_1) if version == 1.0 else (72_000, _KBITS_2)
        size = factor * kbits[bitrate] // hertz + (bits >> 9 & 1)
        return FrameHeader(Mp3Config(hertz, 1 if bits >> 6 & 3 == 3 else 2, version), size)


def split(data: bytes) -> tuple[tuple[bytes, ...], Mp3Config]:
    """The whole frames that `data` consists of, and the config of the first."""
    header = FrameHeader.parse(data)
    config = header.config
    if header.size == len(data):
        return (data,), config
    frames: list[bytes] = []
    at = 0
    while at < len(data):
        end = at + FrameHeader.parse(data, at).size
        if end > len(data):
            raise ProtocolViolation("an MP3 frame is cut short", CLAUSE)
        frames.append(data[at:end])
        at = end
    return tuple(frames), config
