"""The table ``[hls]``."""

from __future__ import annotations

from typing import Any, Literal

from attrs import Attribute, frozen

from penstock.hooks import option
from penstock.settings import Pattern, within


def _are_patterns(_instance: Any, _attribute: Attribute[Any], value: list[str]) -> None:
    for text in value:
        Pattern.parse(text)


@frozen
class HlsConfig:
    """HLS and Low-Latency HLS, on the HTTP port."""

    variant: Literal["ts", "fmp4", "ll"] = option(
        "ll",
        'What /path.m3u8 plays: "ts" (MPEG-TS segments), "fmp4" (fragmented MP4), "ll" (that with parts, for low '
        "latency); ?variant= chooses another.",
    )
    viewer_timeout: float = option(
        30.0, "Seconds without a request after which a viewer has left.", validator=within(1)
    )
    max_viewers: int = option(20_000, "Most viewers at a time.", validator=within(1))
    first_segment_timeout: float = option(
        30.0,
        "Seconds that a viewer waits for a stream's first segment, and as long for the second where it needs two.",
        validator=within(0),
    )
    always: list[str] = option(  # noqa: RUF009
        [],
        'Patterns of streams (such as "live/*") that are segmented although nobody watches, so that viewers need not '
        "wait and can go back.",
        validator=_are_patterns,
    )
    directory: str = option(
        "", "Directory that segments and playlists are also written to, for other web servers; empty: none."
    )
    directory_streams: list[str] = option(  # noqa: RUF009
        ["**"], "Patterns of the streams that are written to the directory.", validator=_are_patterns
    )
    directory_variant: Literal["ts", "fmp4"] = option("ts", "What is written to the directory.")
    directory_keep: bool = option(
        False,
        "Keep segments in the directory that have left the playlist, and those of streams that have ended.",
    )
