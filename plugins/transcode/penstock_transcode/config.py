"""The table ``[transcode]``."""

from __future__ import annotations

from typing import Any

from attrs import Attribute, frozen

from penstock.hooks import option
from penstock.settings import Pattern, within


def _is_bit_rate(_instance: Any, _attribute: Attribute[Any], value: int) -> None:
    if not 6_000 <= value <= 510_000:
        raise ValueError(f"must be between 6000 and 510000 bits a second, not {value}")


def _are_patterns(_instance: Any, _attribute: Attribute[Any], value: list[str]) -> None:
    for text in value:
        Pattern.parse(text)


@frozen
class TranscodeConfig:
    """Transcoding: sound and pictures for readers whose protocol does not carry the codec that they were published in."""

    opus_bit_rate: int = option(
        96_000, "Bits a second of Opus, which WebRTC viewers get of AAC and MP3.", validator=_is_bit_rate
    )
    aac_bit_rate: int = option(
        128_000,
        "Bits a second of AAC, which RTMP players that do not know Opus get of it, and MPEG-TS of G.711.",
        validator=_is_bit_rate,
    )
    video: list[str] = option(  # noqa: RUF009
        [],
        'Patterns of streams (such as "live/*") whose pictures are made H.264 without B-frames for readers that cannot '
        "have them as they are: browsers have no H.265 in WebRTC, and show B-frames in the wrong order. A stream of 720p "
        "costs two thirds of a core while it is read so.",
        validator=_are_patterns,
    )
    video_bit_rate: int = option(
        4_000_000, "Most bits a second of that H.264.", validator=within(50_000, 200_000_000)
    )
