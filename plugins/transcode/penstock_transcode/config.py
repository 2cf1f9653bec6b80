"""The table ``[transcode]``."""

from __future__ import annotations

from typing import Any

from attrs import Attribute, frozen

from penstock.hooks import option


def _is_bit_rate(_instance: Any, _attribute: Attribute[Any], value: int) -> None:
    if not 6_000 <= value <= 510_000:
        raise ValueError(f"must be between 6000 and 510000 bits a second, not {value}")


@frozen
class TranscodeConfig:
    """Transcoding: sound for readers whose protocol does not carry the codec that it was published in."""

    opus_bit_rate: int = option(
        96_000, "Bits a second of Opus, which WebRTC viewers get of AAC and MP3.", validator=_is_bit_rate
    )
    aac_bit_rate: int = option(
        128_000,
        "Bits a second of AAC, which RTMP players that do not know Opus get of it.",
        validator=_is_bit_rate,
    )
