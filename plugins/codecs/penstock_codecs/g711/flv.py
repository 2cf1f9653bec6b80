"""G.711 in FLV: SoundFormat 7 and 8, always at 8 kHz; there is no sequence header and no FourCC."""

from __future__ import annotations

from attrs import frozen

from penstock.errors import ProtocolViolation
from penstock.media import CodecConfig, Frame
from penstock_codecs.g711.config import G711Config
from penstock_formats.flv import FlvUnit

RATE = 8000
"""FLV 10.1 E.4.2.1: the rate flag does not apply to G.711."""


@frozen
class G711Flv:
    """FLV binding of one law."""

    legacy_id: int | None
    fourcc: str | None = None
    has_composition_time: bool = False

    def config_record(self, config: CodecConfig) -> bytes | None:
        g711 = G711Config.of(config)
        if g711.sample_rate != RATE or g711.channels > 2:
            raise ProtocolViolation(
                f"FLV has G.711 at 8000 Hz, mono or stereo; not {g711.channels} at {g711.sample_rate} Hz",
                "FLV E.4.2.1",
            )
        return None

    def parse_config(self, record: bytes) -> CodecConfig:
        raise ProtocolViolation("G.711 has no sequence header", "FLV E.4.2.1")

    def implied_config(self, data: bytes, sample_rate: int, channels: int) -> CodecConfig | None:
        return G711Config.checked(channels, RATE)

    def encode(self, frame: Frame, in_band: bool = False) -> bytes:
        return frame.units[0]

    def decode(self, data: bytes, key: bool, config: CodecConfig) -> FlvUnit:
        if not data or len(data) % G711Config.of(config).channels:
            raise ProtocolViolation("a G.711 tag has no whole number of samples", "FLV E.4.2.1")
        return FlvUnit((data,), True)
