"""Clients of SRT: libsrt in FFmpeg, in GStreamer and in its own srt-live-transmit; as callers and as listeners.

Each has its stream id in another spelling, and all encrypt where `PASSPHRASE` is among the words for the URL.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from urllib.parse import urlsplit

from attrs import evolve, frozen

from .binaries import path_of
from .clients import (
    GST_CAPS,
    GST_NEEDS,
    GST_PARSE,
    GST_QUEUE,
    UNSENT,
    FFmpegPlayer,
    FFmpegPublisher,
    GstPlayer,
    Player,
    Publisher,
)
from .clips import Clip
from .compare import Rules
from .frames import FrameList, read_dump, read_frames

CODECS = frozenset({"h264", "hevc", "aac", "opus", "mp3"})
GST_CODECS = frozenset({"h264", "hevc", "aac"})
SRT = "srt-live-transmit"
PASSPHRASE = "passphrase=0123456789abcdef"
LISTEN = "mode=listener"

RULES = Rules(tail=4)
"""FFmpeg is ended by Ctrl+C, with what it holds: a picture, and the sound that it was to be interleaved with."""


def smart(host: str, path: str, publish: bool) -> str:
    """smart_rtmpd's spelling."""
    return f"{host}/{path},role={'publisher' if publish else 'player'}"


def standard(host: str, path: str, publish: bool) -> str:
    return f"#!::r={path},m={'publish' if publish else 'request'}"


def plain(host: str, path: str, publish: bool) -> str:
    """MediaMTX's spelling."""
    return f"{'publish' if publish else 'read'}:{path}"


SPELLINGS = {"ffmpeg 5.1": smart, "ffmpeg new": standard, "gstreamer": plain, SRT: standard}


def with_stream_id(program: str, url: str, publish: bool, *words: str) -> str:
    """``srt://host:port/path`` as the program is told it: a listener has neither stream id nor path."""
    parts = urlsplit(url)
    path = parts.path.removeprefix("/")
    values = list(words)
    if path and LISTEN not in words:
        values.insert(0, f"streamid={SPELLINGS[program](parts.netloc, path, publish)}")
    return f"srt://{parts.netloc}?{'&'.join(values)}"


@frozen
class FFmpegSrtPublisher(FFmpegPublisher):
    def unsent_sound(self, clip: Clip) -> int:
        # libsrt forgets at its close what it has not sent yet: the last datagrams, with a PES packet of sound. What is on the
        # wire and what arrives is compared in test_srt_core.
        return UNSENT

    def argv(self, clip: Clip, url: str, work: Path) -> list[str]:
        to = with_stream_id(self.program, url, True, *self.options)
        return [
            path_of(self.needs[0]), "-nostdin", "-v", "warning", "-re", "-i", str(clip.file(self.container(clip))),
            "-c", "copy", "-f", "mpegts", "-pkt_size", "1316", to,
        ]  # fmt: skip


@frozen
class GstSrtPublisher(Publisher):
    """Its muxer rounds times to the 90 kHz that MPEG-TS has, and what it sends is kept to compare with."""

    def container(self, clip: Clip) -> str:
        return "plain.mp4"

    def argv(self, clip: Clip, url: str, work: Path) -> list[str]:
        words = ["filesrc", f"location={clip.file(self.container(clip))}", "!", "qtdemux", "name=d"]
        for codec in clip.codecs:
            words += [
                "d.",
                "!",
                GST_CAPS[codec],
                "!",
                *GST_QUEUE,
                "!",
                *GST_PARSE[codec].split(),
                "!",
                "clocksync",
            ]
            words += ["!", "out."]
        to = with_stream_id(self.program, url, True, *self.options)
        # Who joins later waits for a key frame, with the tables and the parameter sets in front of it.
        waits = str(LISTEN in self.options).lower()
        sink = ["mpegtsmux", "name=out", "alignment=7", "!", "tee", "name=t", "!", "queue", "!"]
        sink += ["srtsink", f"uri={to}", f"wait-for-connection={waits}", "t.", "!", "queue", "!"]
        sink += ["filesink", f"location={work / 'sent.ts'}"]
        return [path_of("gst-launch-1.0"), "-q", *sink, *words]

    def sent(self, clip: Clip, work: Path) -> FrameList:
        return read_frames(work / "sent.ts", work)


@frozen
class TransmitPublisher(FFmpegSrtPublisher):
    """srt-live-transmit sends what FFmpeg gives it."""

    def argv(self, clip: Clip, url: str, work: Path) -> list[str]:
        source = [
            path_of("ffmpeg-new"), "-nostdin", "-v", "warning", "-re", "-i", str(clip.file(self.container(clip))),
            "-c", "copy", "-f", "mpegts", "-flush_packets", "1", "-",
        ]  # fmt: skip
        to = with_stream_id(self.program, url, True, *self.options)
        sink = [path_of(SRT), "-q", "-chunk:1316", "-autoreconnect:no", "file://con", to]
        return ["sh", "-c", f"{shlex.join(source)} | {shlex.join(sink)}"]


@frozen
class FFmpegSrtPlayer(FFmpegPlayer):
    def argv(self, clip: Clip, url: str, work: Path) -> list[str]:
        made = evolve(self, options=()) if self.options else self
        return super(FFmpegSrtPlayer, made).argv(
            clip, with_stream_id(self.program, url, False, *self.options), work
        )

    def frames(self, work: Path) -> FrameList:
        return read_dump(work / "ffmpeg")


@frozen
class GstSrtPlayer(GstPlayer):
    def argv(self, clip: Clip, url: str, work: Path) -> list[str]:
        to = with_stream_id(self.program, url, False, *self.options)
        words = ["srtsrc", f"uri={to}", "!", "tsdemux", "ignore-pcr=true", "name=d"]
        for codec in clip.codecs:
            words += ["d.", "!", *GST_PARSE[codec].split(), "!", *GST_QUEUE, "!", "m."]
        return self.recording(words, work)


@frozen
class TransmitPlayer(Player):
    """srt-live-transmit writes what it gets to a file."""

    def argv(self, clip: Clip, url: str, work: Path) -> list[str]:
        to = with_stream_id(self.program, url, False, *self.options)
        record = [path_of(SRT), "-q", "-autoreconnect:no", to, "file://con"]
        return ["sh", "-c", f"exec {shlex.join(record)} >{shlex.quote(str(work / 'srt.ts'))}"]

    def frames(self, work: Path) -> FrameList:
        return read_frames(work / "srt.ts", work)


FFMPEGS = (("ffmpeg 5.1", "ffmpeg"), ("ffmpeg new", "ffmpeg-new"))

PUBLISHERS: tuple[Publisher, ...] = (
    *(FFmpegSrtPublisher(name, "srt", (binary,), CODECS) for name, binary in FFMPEGS),
    GstSrtPublisher("gstreamer", "srt", GST_NEEDS, GST_CODECS),
    TransmitPublisher(SRT, "srt", (SRT, "ffmpeg-new"), CODECS),
)

PLAYERS: tuple[Player, ...] = (
    *(FFmpegSrtPlayer(name, "srt", (binary,), CODECS, RULES) for name, binary in FFMPEGS),
    GstSrtPlayer("gstreamer", "srt", GST_NEEDS, GST_CODECS, Rules(tail=6)),
    # It writes all that it gets; the last picture may be among what a libsrt that publishes forgets at its close.
    TransmitPlayer(SRT, "srt", (SRT,), CODECS, Rules(tail=1)),
)


def publisher(program: str, *options: str) -> Publisher:
    """The publisher of that program, with words for its URL."""
    return evolve(next(p for p in PUBLISHERS if p.program == program), options=options)


def player(program: str, *options: str) -> Player:
    """The player of that program, with words for its URL."""
    return evolve(next(p for p in PLAYERS if p.program == program), options=options)
