"""Players of DASH: FFmpeg gets the description of low latency, whatever it makes of it, the others one of whole segments."""

from __future__ import annotations

from pathlib import Path

from attrs import frozen

from .adaptive import FRAGMENTED, PLAIN, FFmpegAdaptivePlayer, GstAdaptivePlayer
from .clients import FFMPEGS, GST_NEEDS, Player, VlcPlayer
from .clips import Clip
from .compare import Rules

PATIENCE = 6.0
"""Seconds that players get after the publisher's end: those that begin behind live are still playing."""


@frozen
class FFmpegDashPlayer(FFmpegAdaptivePlayer):
    def argv(self, clip: Clip, url: str, work: Path) -> list[str]:
        return super().argv(clip, f"{url}.mpd", work)


@frozen
class GstDashPlayer(GstAdaptivePlayer):
    def argv(self, clip: Clip, url: str, work: Path) -> list[str]:
        return super().argv(clip, f"{url}.mpd", work)


@frozen
class VlcDashPlayer(VlcPlayer):
    def argv(self, clip: Clip, url: str, work: Path) -> list[str]:
        return super().argv(clip, f"{url}.mpd", work)


PLAYERS: tuple[Player, ...] = (
    *(
        # It never takes a presentation for ended: for the track that ends first it waits for ever, and reads no other.
        FFmpegDashPlayer(name, "dash", (binary,), FRAGMENTED, Rules(tail=12), PATIENCE)
        for name, binary, _, _ in FFMPEGS
    ),
    GstDashPlayer("gstreamer", "dash", GST_NEEDS, PLAIN, Rules(tail=4), PATIENCE),
    # What its muxer still holds when it ends: 0.3 s of sound and picture.
    VlcDashPlayer("vlc", "dash", ("cvlc",), PLAIN, Rules(tail=20, times=False), PATIENCE),
)


def player(name: str) -> Player:
    """The player of that name, such as ``ffmpeg new dash``."""
    return next(p for p in PLAYERS if p.name == name)
