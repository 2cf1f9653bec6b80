"""Clients of the long responses: players over HTTP and WebSocket, and publishers that POST or PUT."""

from __future__ import annotations

import sys
from pathlib import Path

from attrs import evolve, frozen

from .binaries import path_of
from .clients import (
    FFMPEGS,
    GST_NEEDS,
    GST_PARSE,
    GST_QUEUE,
    GST_RECORD,
    RTMP_ENHANCED,
    RTMP_GST,
    FFmpegPlayer,
    FFmpegPublisher,
    GstPlayer,
    Player,
    VlcPlayer,
)
from .clips import Clip
from .compare import Rules
from .frames import FrameList, read_dump, read_frames

CONTAINERS = ("flv", "ts", "mp4")
RECORDER = Path(__file__).with_name("websocket_record.py")
FORMATS = {
    "flv": ("-f", "flv"),
    "ts": ("-f", "mpegts"),
    "mp4": ("-f", "mp4", "-movflags", "frag_keyframe+empty_moov"),
}


def _container(protocol: str) -> str:
    return protocol.rpartition("-")[2]


@frozen
class FFmpegHttpPlayer(FFmpegPlayer):
    def argv(self, clip: Clip, url: str, work: Path) -> list[str]:
        return super().argv(clip, f"{url}.{_container(self.protocol)}", work)

    def frames(self, work: Path) -> FrameList:
        return read_dump(work / "ffmpeg")


@frozen
class GstHttpPlayer(GstPlayer):
    def argv(self, clip: Clip, url: str, work: Path) -> list[str]:
        container = _container(self.protocol)
        demuxer = {"flv": "flvdemux", "ts": "tsdemux", "mp4": "qtdemux"}[container]
        words = ["souphttpsrc", f"location={url}.{container}", "!", demuxer, "name=d"]
        for codec in clip.codecs:
            words += ["d.", "!", *GST_PARSE.get(codec, "identity").split(), "!", *GST_QUEUE, "!", "m."]
        return [
            path_of("gst-launch-1.0"), "-q", "-e", *words, *GST_RECORD.format(path=work / "gst.mkv").split(),
        ]  # fmt: skip


@frozen
class VlcHttpPlayer(VlcPlayer):
    def argv(self, clip: Clip, url: str, work: Path) -> list[str]:
        return super().argv(clip, f"{url}.{_container(self.protocol)}", work)


@frozen
class WebSocketPlayer(Player):
    """The `websockets` package, which writes each message to a file."""

    def argv(self, clip: Clip, url: str, work: Path) -> list[str]:
        container = _container(self.protocol)
        return [sys.executable, str(RECORDER), f"{url}.{container}", str(work / f"messages.{container}")]

    def frames(self, work: Path) -> FrameList:
        return read_frames(next(work.glob("messages.*")), work)


@frozen
class FFmpegHttpPublisher(FFmpegPublisher):
    """FFmpeg with ``-method POST`` or ``PUT``, as its words for the URL say."""

    def argv(self, clip: Clip, url: str, work: Path) -> list[str]:
        container = _container(self.protocol)
        return [
            path_of(self.needs[0]), "-nostdin", "-v", "warning", "-re", "-i", str(clip.file(self.container(clip))),
            "-c", "copy", *FORMATS[container], *self.options, f"{url}.{container}",
        ]  # fmt: skip

    def container(self, clip: Clip) -> str:
        # Of a file whose edit list lets sound begin before zero, it writes the first sound at another time into fragments.
        return "plain.mp4" if _container(self.protocol) == "mp4" else super().container(clip)


TAIL = 2
TS_CODECS = frozenset({"h264", "hevc", "aac", "opus", "mp3"})
"""FFmpeg does not read AV1 in MPEG-TS."""
_VLC = frozenset({"h264", "aac"})

PLAYERS: tuple[Player, ...] = (
    *(
        FFmpegHttpPlayer(name, f"http-{container}", (binary,), codecs, Rules(tail=TAIL))
        for name, binary, rtmp, _ in FFMPEGS
        for container, codecs in (("flv", rtmp), ("ts", TS_CODECS), ("mp4", RTMP_ENHANCED))
    ),
    *(
        GstHttpPlayer("gstreamer", f"http-{container}", GST_NEEDS, RTMP_GST, Rules(tail=TAIL + 2))
        for container in CONTAINERS
    ),
    *(
        VlcHttpPlayer("vlc", f"http-{container}", ("cvlc",), _VLC, Rules(tail=60, times=False))
        for container in CONTAINERS
    ),
    *(
        WebSocketPlayer("websockets", f"{scheme}-{container}", (), codecs, Rules(tail=TAIL))
        for scheme in ("ws", "wss")
        for container, codecs in (("flv", RTMP_ENHANCED), ("ts", TS_CODECS), ("mp4", RTMP_ENHANCED))
    ),
)


def player(name: str, *options: str) -> Player:
    """The player of that name, with words for its URL."""
    return evolve(next(p for p in PLAYERS if p.name == name), options=options)


def publisher(program: str, container: str, method: str) -> FFmpegHttpPublisher:
    binary, codecs = next((b, rtmp) for name, b, rtmp, _ in FFMPEGS if name == program)
    return FFmpegHttpPublisher(program, f"http-{container}", (binary,), codecs, options=("-method", method))
