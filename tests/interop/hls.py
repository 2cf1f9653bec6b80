"""Players of HLS: with MPEG-TS, with fragmented MP4, and of Low-Latency HLS as clients that know nothing of parts."""

from __future__ import annotations

from pathlib import Path

from attrs import frozen

from .binaries import path_of
from .clients import (
    FFMPEGS,
    GST_CAPS,
    GST_NEEDS,
    GST_PARSE,
    GST_QUEUE,
    GST_RECORD,
    FFmpegPlayer,
    GstPlayer,
    Player,
    VlcPlayer,
)
from .clips import Clip
from .compare import Rules
from .frames import FrameList, read_dump

VARIANTS = ("ts", "fmp4", "ll")
PATIENCE = 8.0
"""Seconds that players get after the publisher's end: they look for it once in a target duration."""
_CODECS = frozenset({"h264", "aac"})
_FRAGMENTED = frozenset({"h264", "hevc", "aac", "opus", "av1", "vp9"})


def _url(url: str, protocol: str) -> str:
    return f"{url}.m3u8?variant={protocol.rpartition('-')[2]}"


@frozen
class FFmpegHlsPlayer(FFmpegPlayer):
    def argv(self, clip: Clip, url: str, work: Path) -> list[str]:
        words = super().argv(clip, _url(url, self.protocol), work)
        # From the first segment there is; the default is the third from the end.
        words[words.index("-i") : words.index("-i")] = ["-live_start_index", "0"]
        return words

    def frames(self, work: Path) -> FrameList:
        return read_dump(work / "ffmpeg")


@frozen
class GstHlsPlayer(GstPlayer):
    """hlsdemux: hlsdemux2 gives what it has only to decoders that take whole collections of streams."""

    def argv(self, clip: Clip, url: str, work: Path) -> list[str]:
        caps = ";".join(GST_CAPS[codec] for codec in clip.codecs)
        words = ["uridecodebin", f"uri={_url(url, self.protocol)}", f"caps={caps}", "name=d"]
        for codec in clip.codecs:
            words += ["d.", "!", *GST_PARSE.get(codec, "identity").split(), "!"]
            if codec == "h264":
                # qtdemux guesses a rate anew from each fragment, and Matroska cannot change it.
                words += ["capssetter", f"caps=video/x-h264,framerate={clip.fps}/1", "!"]
            words += [*GST_QUEUE, "!", "m."]
        return [
            path_of("gst-launch-1.0"), "-q", "-e", *words, *GST_RECORD.format(path=work / "gst.mkv").split(),
        ]  # fmt: skip


@frozen
class VlcHlsPlayer(VlcPlayer):
    def argv(self, clip: Clip, url: str, work: Path) -> list[str]:
        return super().argv(clip, _url(url, self.protocol), work)


PLAYERS: tuple[Player, ...] = tuple(
    player
    for variant in VARIANTS
    for player in (
        *(
            FFmpegHlsPlayer(name, f"hls-{variant}", (binary,), _FRAGMENTED, Rules(tail=1), PATIENCE)
            for name, binary, _, _ in FFMPEGS
        ),
        GstHlsPlayer("gstreamer", f"hls-{variant}", GST_NEEDS, _CODECS, Rules(tail=4), PATIENCE),
        VlcHlsPlayer("vlc", f"hls-{variant}", ("cvlc",), _CODECS, Rules(tail=80, times=False), PATIENCE),
    )
)


def player(name: str) -> Player:
    """The player of that name, such as ``ffmpeg new hls-ll``."""
    return next(p for p in PLAYERS if p.name == name)
