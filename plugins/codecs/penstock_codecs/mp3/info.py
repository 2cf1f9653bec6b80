"""What every carrier may ask of MP3."""

from __future__ import annotations

from penstock.media import CodecConfig
from penstock.registry import AudioInfo
from penstock_codecs.mp3.header import Mp3Config


class Mp3Info:
    """INFO of MP3."""

    def describe(self, config: CodecConfig) -> AudioInfo:
        mp3 = Mp3Config.of(config)
        return AudioInfo(mp3.sample_rate, mp3.channels)

    def codecs_string(self, config: CodecConfig) -> str:
        """RFC 6381 with the object type indications of MPEG-1 and MPEG-2 audio."""
        return "mp4a.6B" if Mp3Config.of(config).version == 1.0 else "mp4a.69"

    def reorder(self, config: CodecConfig) -> int:
        return 0

    def samples(self, units: tuple[bytes, ...], config: CodecConfig) -> int | None:
        return len(units) * Mp3Config.of(config).frame_samples
