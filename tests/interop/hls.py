"""Players of HLS: with MPEG-TS, with fragmented MP4, and of Low-Latency HLS as clients that know nothing of parts."""

from __future__ import annotations

from pathlib import Path

from attrs import frozen

from .adaptive import FRAGMENTED, PLAIN, FFmpegAdaptivePlayer, GstAdaptivePlayer
from .clients import FFMPEGS, GST_NEEDS, Player, VlcPlayer
from .clips import Clip
from .compare import Rules

VARIANTS = ("ts", "fmp4", "ll")
CODECS = {"ts": frozenset({"h264", "hevc", "aac", "mp3"}), "fmp4": FRAGMENTED, "ll": FRAGMENTED}
PATIENCE = 8.0
"""Seconds that players get after the publisher's end: they look for it once in a target duration."""


def _url(url: str, protocol: str) -> str:
    return f"{url}.m3u8?variant={protocol.rpartition('-')[2]}"


@frozen
class FFmpegHlsPlayer(FFmpegAdaptivePlayer):
    def argv(self, clip: Clip, url: str, work: Path) -> list[str]:
        words = super().argv(clip, _url(url, self.protocol), work)
        # From the first segment there is; the default is the third from the end.
        words[words.index("-i") : words.index("-i")] = ["-live_start_index", "0"]
        return words


@frozen
class FFmpegDirectoryPlayer(FFmpegHlsPlayer):
    """Of the list that `hls.directory` has, which asks for no variant."""

    def argv(self, clip: Clip, url: str, work: Path) -> list[str]:
        return ["/index.m3u8".join(w.split(_url("", self.protocol))) for w in super().argv(clip, url, work)]


@frozen
class GstHlsPlayer(GstAdaptivePlayer):
    def argv(self, clip: Clip, url: str, work: Path) -> list[str]:
        return super().argv(clip, _url(url, self.protocol), work)


@frozen
class VlcHlsPlayer(VlcPlayer):
    def argv(self, clip: Clip, url: str, work: Path) -> list[str]:
        return super().argv(clip, _url(url, self.protocol), work)


PLAYERS: tuple[Player, ...] = tuple(
    player
    for variant in VARIANTS
    for player in (
        *(
            FFmpegHlsPlayer(name, f"hls-{variant}", (binary,), CODECS[variant], Rules(tail=1), PATIENCE)
            for name, binary, _, _ in FFMPEGS
        ),
        GstHlsPlayer("gstreamer", f"hls-{variant}", GST_NEEDS, PLAIN, Rules(tail=4), PATIENCE),
        # Of sound beside the picture hlsdemux2 of 1.22 gives gst-launch nothing now and then, and never the last segment.
        *(
            GstHlsPlayer(
                "gstreamer demux2",
                "hls-ts",
                GST_NEEDS,
                PLAIN,
                Rules(tail=4),
                PATIENCE,
                source="uridecodebin3",
            )
            for _ in range(variant == "ts")
        ),
        VlcHlsPlayer("vlc", f"hls-{variant}", ("cvlc",), PLAIN, Rules(tail=80, times=False), PATIENCE),
    )
)


def player(name: str) -> Player:
    """The player of that name, such as ``ffmpeg new hls-ll``."""
    return next(p for p in PLAYERS if p.name == name)
