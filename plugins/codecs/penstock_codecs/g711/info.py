"""What every carrier may ask of G.711."""

from __future__ import annotations

from attrs import frozen

from penstock.media import CodecConfig
from penstock.registry import AudioInfo
from penstock_codecs.g711.config import G711Config


@frozen
class G711Info:
    """INFO of one law. RFC 6381 has no name for it; `law` is the sample entry of ISO media files."""

    law: str

    def describe(self, config: CodecConfig) -> AudioInfo:
        g711 = G711Config.of(config)
        return AudioInfo(g711.sample_rate, g711.channels)

    def codecs_string(self, config: CodecConfig) -> str:
        return self.law

    def reorder(self, config: CodecConfig) -> int:
        return 0

    def samples(self, units: tuple[bytes, ...], config: CodecConfig) -> int | None:
        return sum(map(len, units)) // G711Config.of(config).channels
