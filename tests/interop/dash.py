"""Players of DASH, which all get the description of low latency, whatever they make of it."""

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

PATIENCE = 6.0
"""Seconds that players get after the publisher's end: those that begin behind live are still playing."""
_CODECS = frozenset({"h264", "aac"})
_FRAGMENTED = frozenset({"h264", "hevc", "aac", "opus", "av1", "vp9"})


@frozen
class FFmpegDashPlayer(FFmpegPlayer):
    def argv(self, clip: Clip, url: str, work: Path) -> list[str]:
        return super().argv(clip, f"{url}.mpd", work)

    def frames(self, work: Path) -> FrameList:
        return read_dump(work / "ffmpeg")


@frozen
class GstDashPlayer(GstPlayer):
    """dashdemux: dashdemux2 gives what it has only to decoders that take whole collections of streams."""

    def argv(self, clip: Clip, url: str, work: Path) -> list[str]:
        caps = ";".join(GST_CAPS[codec] for codec in clip.codecs)
        words = ["uridecodebin", f"uri={url}.mpd", f"caps={caps}", "name=d"]
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
class VlcDashPlayer(VlcPlayer):
    def argv(self, clip: Clip, url: str, work: Path) -> list[str]:
        return super().argv(clip, f"{url}.mpd", work)


PLAYERS: tuple[Player, ...] = (
    *(
        # It never takes a presentation for ended: for the track that ends first it waits for ever, and reads no other.
        FFmpegDashPlayer(name, "dash", (binary,), _FRAGMENTED, Rules(tail=12), PATIENCE)
        for name, binary, _, _ in FFMPEGS
    ),
    GstDashPlayer("gstreamer", "dash", GST_NEEDS, _CODECS, Rules(tail=4), PATIENCE),
    VlcDashPlayer("vlc", "dash", ("cvlc",), _CODECS, Rules(tail=80, times=False), PATIENCE),
)


def player(name: str) -> Player:
    """The player of that name, such as ``ffmpeg new dash``."""
    return next(p for p in PLAYERS if p.name == name)
