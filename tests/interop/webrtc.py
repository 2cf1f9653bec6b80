"""Peers of WebRTC that nobody here wrote: GStreamer's webrtcbin, aiortc and FFmpeg publish, the first two play as well."""

from __future__ import annotations

import sys
from pathlib import Path

from attrs import frozen

from .binaries import SYSTEM_PYTHON, path_of
from .clients import Player, Publisher
from .clips import Clip
from .compare import Rules
from .frames import CodedFrame, FrameList, FrameTrack, read_frames

HERE = Path(__file__).parent
CODECS = frozenset({"h264", "opus"})
RULES = Rules(times=False, same_dts=False, tail=6, least=10, sound_within_ms=1500.0)
"""Times are those of the peer's own jitter buffer, which keeps some packets when it is stopped, and no sound is sent of
before a viewer came."""


@frozen
class GstWhip(Publisher):
    """webrtcbin."""

    def container(self, clip: Clip) -> str:
        return clip.base

    def argv(self, clip: Clip, url: str, work: Path) -> list[str]:
        file = str(clip.file(self.container(clip)))
        return [SYSTEM_PYTHON, str(HERE / "gst_webrtc.py"), "publish", url, file]


@frozen
class AiortcWhip(Publisher):
    """aiortc, which takes pictures with start codes alone."""

    def container(self, clip: Clip) -> str:
        return "ts"

    def argv(self, clip: Clip, url: str, work: Path) -> list[str]:
        file = str(clip.file(self.container(clip)))
        return [sys.executable, str(HERE / "aiortc_peer.py"), "publish", url, file]


@frozen
class FFmpegWhip(Publisher):
    """FFmpeg's own muxer."""

    def container(self, clip: Clip) -> str:
        return clip.base

    def argv(self, clip: Clip, url: str, work: Path) -> list[str]:
        source = ["-re", "-i", str(clip.file(self.container(clip)))]
        return [
            path_of("ffmpeg-new"),
            "-nostdin",
            "-v",
            "warning",
            *source,
            "-c",
            "copy",
            "-f",
            "whip",
            f"{url}/whip",
        ]


class Whep(Player):
    """A peer that writes down what it plays."""

    def frames(self, work: Path) -> FrameList:
        lines = [line.split() for line in (work / "audio.txt").read_text().splitlines()]
        sound = tuple(CodedFrame(None, None, int(size), digest) for size, digest in lines)
        return FrameList(read_frames(work / "video.h264", work).video, FrameTrack("audio", "opus", sound))


@frozen
class AiortcWhep(Whep):
    """aiortc."""

    def argv(self, clip: Clip, url: str, work: Path) -> list[str]:
        return [sys.executable, str(HERE / "aiortc_peer.py"), "play", url, str(work)]


@frozen
class GstWhep(Whep):
    """webrtcbin."""

    def argv(self, clip: Clip, url: str, work: Path) -> list[str]:
        return [SYSTEM_PYTHON, str(HERE / "gst_webrtc.py"), "play", url, str(work)]


PUBLISHERS = (
    GstWhip("webrtcbin", "whip", ("gst-webrtc",), CODECS),
    AiortcWhip("aiortc", "whip", ("aiortc",), CODECS),
    FFmpegWhip("ffmpeg new", "whip", ("ffmpeg-new",), CODECS),
)
PLAYERS = (
    AiortcWhep("aiortc", "whep", ("aiortc",), CODECS, RULES),
    GstWhep("webrtcbin", "whep", ("gst-webrtc",), CODECS, RULES),
)
