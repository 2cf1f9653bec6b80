"""The real clients: how each publishes a clip, and how each plays a URL into a list of coded frames."""

from __future__ import annotations

import os
from abc import abstractmethod
from pathlib import Path

from attrs import evolve, field, frozen

from .binaries import path_of
from .clips import Clip
from .compare import Rules
from .frames import SAMPLED, FrameList, dump_options, read_dump, read_frames

RTMP_OLD = frozenset({"h264", "aac", "pcm_alaw", "pcm_mulaw", "mp3"})
RTMP_ENHANCED = RTMP_OLD | {"hevc", "av1", "vp9", "opus"}
RTSP_FFMPEG5 = frozenset({"h264", "hevc", "aac", "opus", "pcm_alaw", "pcm_mulaw", "mp3", "vp9"})
RTSP_FFMPEG9 = RTSP_FFMPEG5 | {"av1"}
# GStreamer's FLV elements take G.711 only at Flash's own rates, not at 8 kHz.
RTMP_GST = frozenset({"h264", "aac"})
RTSP_GST = frozenset({"h264", "hevc", "aac", "opus", "pcm_alaw", "pcm_mulaw"})

RTSP_TRANSPORTS = {"rtsp-tcp": "tcp", "rtsp-udp": "udp", "rtsp-http": "http"}
MULTICAST = "rtsp-multicast"
FFMPEG_TRANSPORTS = {**RTSP_TRANSPORTS, MULTICAST: "udp_multicast"}
GST_TRANSPORTS = {**RTSP_TRANSPORTS, MULTICAST: "udp-mcast"}

GST_PARSE = {"h264": "h264parse", "hevc": "h265parse", "aac": "aacparse", "opus": "opusparse"}
GST_CAPS = {
    "h264": "video/x-h264",
    "hevc": "video/x-h265",
    "aac": "audio/mpeg",
    "opus": "audio/x-opus",
    "pcm_alaw": "audio/x-alaw",
    "pcm_mulaw": "audio/x-mulaw",
}
# No bounds: a muxer waits for the picture of a stream with gaps while its sound goes on.
GST_QUEUE = ("queue", "max-size-time=0", "max-size-bytes=0", "max-size-buffers=0")
GST_DEPAY = {
    "h264": "rtph264depay ! h264parse",
    "hevc": "rtph265depay ! h265parse",
    "aac": "rtpmp4gdepay ! aacparse",
    "opus": "rtpopusdepay ! opusparse",
    "pcm_alaw": "rtppcmadepay",
    "pcm_mulaw": "rtppcmudepay",
}
# Times of a tenth of a millisecond; a cluster's 16 bit offset then reaches 3 s, so clusters must be shorter.
GST_RECORD = (
    "matroskamux name=m timecodescale=100000 max-cluster-duration=1000000000 ! filesink location={path}"
)


DEFAULT_RULES = Rules()
UNSENT = 12
"""Frames that FFmpeg gathers in a packet of 1.4 KB at most, at the bit rates of the clips."""


@frozen
class Client:
    """A program over one protocol: ``rtmp``, ``rtsp-tcp``, ``rtsp-udp``, ``rtsp-http`` or `MULTICAST`; `needs` are
    names for `binaries`, `options` words that belong to the URL.
    """

    program: str
    protocol: str
    needs: tuple[str, ...]
    codecs: frozenset[str]
    options: tuple[str, ...] = field(default=(), kw_only=True)

    @property
    def name(self) -> str:
        return f"{self.program} {self.protocol}"

    @property
    def scheme(self) -> str:
        return self.protocol.partition("-")[0]

    def can(self, clip: Clip) -> bool:
        """Whether this program has all codecs of the clip over this protocol."""
        return set(clip.codecs) <= self.codecs


@frozen
class Publisher(Client):
    """Sends a clip in real time without coding it anew."""

    def unsent_sound(self, clip: Clip) -> int:
        """Sound frames at the clip's end that it never sends."""
        return 0

    @abstractmethod
    def container(self, clip: Clip) -> str:
        """Which file of the clip it reads, so that the frames published are known."""

    @abstractmethod
    def argv(self, clip: Clip, url: str, work: Path) -> list[str]: ...

    def sent(self, clip: Clip, work: Path) -> FrameList:
        """What it has sent, once it has ended."""
        return clip.frames(self.container(clip))


@frozen
class Player(Client):
    """Plays a URL until it ends or is stopped; `rules` says what its way of recording lets us compare."""

    rules: Rules = DEFAULT_RULES
    patience: float = 1.5
    """Seconds that it gets after the publisher's end to take what is under way."""

    @abstractmethod
    def argv(self, clip: Clip, url: str, work: Path) -> list[str]: ...

    @abstractmethod
    def frames(self, work: Path) -> FrameList: ...

    @property
    def user(self) -> str | None:
        """The user to run as, None for our own."""
        return None


@frozen
class FFmpegPublisher(Publisher):
    def unsent_sound(self, clip: Clip) -> int:
        # Its RTP muxer gathers AAC and MP3 frames into packets and never sends the last, unfilled one: what it puts on the
        # wire is counted in test_harness.
        return UNSENT if self.scheme == "rtsp" and {"aac", "mp3"} & set(clip.codecs) else 0

    def container(self, clip: Clip) -> str:
        return "ts" if clip.second_size else clip.base

    def argv(self, clip: Clip, url: str, work: Path) -> list[str]:
        out = (
            ["-f", "flv"]
            if self.protocol == "rtmp"
            else ["-rtsp_transport", RTSP_TRANSPORTS[self.protocol], "-f", "rtsp"]
        )
        source = ["-re", "-i", str(clip.file(self.container(clip)))]
        # strict -2: FFmpeg calls its own VP9 and AV1 payload formats experimental.
        return [
            path_of(self.needs[0]),
            "-nostdin",
            "-v",
            "warning",
            *source,
            "-c",
            "copy",
            "-strict",
            "-2",
            *out,
            *self.options,
            url,
        ]


@frozen
class GstPublisher(Publisher):
    def container(self, clip: Clip) -> str:
        # flvdemux gives the decode times that flvmux needs. Otherwise MP4 without edit list: GStreamer's
        # Matroska demuxer
        # moves the first two frames, its MPEG-TS demuxer lets sound and picture start 700 ms apart.
        if self.protocol == "rtmp":
            return "flv"
        return clip.base if SAMPLED & set(clip.codecs) else "plain.mp4"

    def argv(self, clip: Clip, url: str, work: Path) -> list[str]:
        container = self.container(clip)
        demuxer = "flvdemux" if container == "flv" else "qtdemux"
        words = ["filesrc", f"location={clip.file(container)}", "!", demuxer, "name=d"]
        for codec in clip.codecs:
            words += [
                "d.",
                "!",
                GST_CAPS[codec],
                "!",
                *GST_QUEUE,
                "!",
                *GST_PARSE.get(codec, "identity").split(),
                "!",
                "clocksync",
            ]
            words += ["!", "out."]
        if self.protocol == "rtmp":
            # Its flvmux writes times of its own for the first frames: what it sends is kept to compare with.
            sink = ["flvmux", "name=out", "streamable=true", "!", "tee", "name=t", "!", "queue", "!"]
            sink += ["rtmp2sink", f"location={url}", *self.options, "t.", "!", "queue", "!"]
            sink += ["filesink", f"location={work / 'sent.flv'}"]
        else:
            sink = ["rtspclientsink", "name=out", *_gst_rtsp(self.protocol, url), *self.options]
        return [path_of("gst-launch-1.0"), "-q", *sink, *words]

    def sent(self, clip: Clip, work: Path) -> FrameList:
        if self.protocol != "rtmp":
            return clip.frames(self.container(clip))
        return read_frames(work / "sent.flv", work)


def _gst_rtsp(protocol: str, url: str) -> list[str]:
    """Location and transport: rtsph and rtspsh are GStreamer's spellings of RTSP over HTTP and over HTTPS."""
    if protocol == "rtsp-http":
        scheme, _, rest = url.partition("://")
        return [f"location={scheme}h://{rest}"]
    return [f"location={url}", f"protocols={GST_TRANSPORTS[protocol]}"]


@frozen
class FFmpegPlayer(Player):
    """Hashes what the demuxer gives, with no container in between, so that times are the wire's own."""

    def argv(self, clip: Clip, url: str, work: Path) -> list[str]:
        video = clip.codecs[0] if clip.video else None
        audio = clip.codecs[-1] if clip.audio else None
        transport = ["-rtsp_transport", FFMPEG_TRANSPORTS[self.protocol]] if self.scheme == "rtsp" else []
        # Without it FFmpeg looks 5 s for the picture that an RTMP stream of sound alone does not have.
        probe = ["-analyzeduration", "1500000"]
        head = [
            path_of(self.needs[0]),
            "-nostdin",
            "-y",
            "-v",
            "warning",
            "-copyts",
            *probe,
            *transport,
            *self.options,
            "-i",
            url,
        ]
        return [*head, *dump_options(video, audio, work / "ffmpeg")]

    def frames(self, work: Path) -> FrameList:
        frames = read_dump(work / "ffmpeg")
        # RTP carries no decode times: those that FFmpeg shows there are its own guess. Its RTSP packets have no place
        # in a file (pos is -1), so where it parses (pictures, MP3) it has no pts for the first, and its muxer writes 0.
        return frames if self.scheme == "rtmp" else frames.without_dts().without_first_pts("mp3")


@frozen
class GstPlayer(Player):
    def argv(self, clip: Clip, url: str, work: Path) -> list[str]:
        words: list[str] = []
        if self.scheme == "rtmp":
            words += ["rtmp2src", f"location={url}", *self.options, "!", "flvdemux", "name=d"]
        else:
            # buffer-mode=none: times from RTP alone, not smoothed by their arrival. It counts the latency, in which it puts
            # sound and picture in step, from its own start on: more than PLAY waits for a publisher's first frames.
            words += ["rtspsrc", "name=d", *_gst_rtsp(self.protocol, url), *self.options]
            words += ["buffer-mode=none", "latency=3500"]
        for kind, codec in (("video", clip.codecs[0]), ("audio", clip.codecs[-1])):
            if (kind == "video" and not clip.video) or (kind == "audio" and not clip.audio):
                continue
            if self.scheme == "rtmp":
                parse = GST_PARSE.get(codec)
                words += [f"d.{kind}", "!", *GST_QUEUE, "!", *((parse, "!") if parse else ()), "m."]
            else:
                # No caps and no queue in front: where both pads come at once, from two threads, gst-launch links and unlinks
                # its capsfilters across each other, and one track then stops with not-linked.
                words += ["d.", "!", *GST_DEPAY[codec].split(), "!", *GST_QUEUE, "!", "m."]
        return self.recording(words, work)

    @staticmethod
    def recording(words: list[str], work: Path) -> list[str]:
        """What records what the elements of `words` give to ``m``, for `frames` to read."""
        record = GST_RECORD.format(path=work / "gst.mkv").split()
        return [path_of("gst-launch-1.0"), "-q", "-e", *words, *record]

    def frames(self, work: Path) -> FrameList:
        return read_frames(work / "gst.mkv", work, dts=False)


@frozen
class RtmpdumpPlayer(Player):
    def argv(self, clip: Clip, url: str, work: Path) -> list[str]:
        return [path_of("rtmpdump"), "-q", "--live", "-r", url, "-o", str(work / "rtmpdump.flv")]

    def frames(self, work: Path) -> FrameList:
        return read_frames(work / "rtmpdump.flv", work)


@frozen
class VlcPlayer(Player):
    """Only bytes and order are compared: VLC writes times of its own clock. Debian's has no RTSP client."""

    def can(self, clip: Clip) -> bool:
        # It looks 5 s for a picture before it plays sound alone, which is nearly the whole clip.
        return bool(clip.video) and set(clip.codecs) <= self.codecs

    def argv(self, clip: Clip, url: str, work: Path) -> list[str]:
        record = f"#std{{access=file,mux=ts,dst={work / 'vlc.ts'}}}"
        return [
            path_of("cvlc"),
            "--play-and-exit",
            "--network-caching=300",
            "--sout-mux-caching=300",
            url,
            "--sout",
            record,
        ]

    @property
    def user(self) -> str | None:
        # VLC refuses to run as root.
        return None if os.geteuid() else "nobody"

    def frames(self, work: Path) -> FrameList:
        # Stopped, its MPEG-TS muxer cuts the last packet of each track short.
        return read_frames(work / "vlc.ts", work).without_last()


FFMPEGS = (
    ("ffmpeg 5.1", "ffmpeg", RTMP_OLD, RTSP_FFMPEG5),
    ("ffmpeg new", "ffmpeg-new", RTMP_ENHANCED, RTSP_FFMPEG9),
)
GST_NEEDS = ("gst-launch-1.0",)

PUBLISHERS: tuple[Publisher, ...] = (
    *(
        FFmpegPublisher(name, protocol, (binary,), rtmp if protocol == "rtmp" else rtsp)
        for name, binary, rtmp, rtsp in FFMPEGS
        for protocol in ("rtmp", "rtsp-tcp", "rtsp-udp")
    ),
    GstPublisher("gstreamer", "rtmp", GST_NEEDS, RTMP_GST),
    GstPublisher("gstreamer", "rtsp-tcp", ("gst-rtspclientsink",), RTSP_GST),
    GstPublisher("gstreamer", "rtsp-udp", ("gst-rtspclientsink",), RTSP_GST),
)

# An RTP receiver holds what it has until it sees the next; a stopped player loses that much.
RTSP_RULES = Rules(tail=3, same_dts=False)

PLAYERS: tuple[Player, ...] = (
    *(
        FFmpegPlayer(
            name,
            protocol,
            (binary,),
            rtmp if protocol == "rtmp" else rtsp,
            Rules(tail=1) if protocol == "rtmp" else RTSP_RULES,
        )
        for name, binary, rtmp, rtsp in FFMPEGS
        for protocol in ("rtmp", *RTSP_TRANSPORTS)
    ),
    *(GstPlayer("gstreamer", protocol, GST_NEEDS, RTSP_GST, RTSP_RULES) for protocol in RTSP_TRANSPORTS),
    GstPlayer("gstreamer", "rtmp", GST_NEEDS, RTMP_GST, Rules(tail=3)),
    RtmpdumpPlayer("rtmpdump", "rtmp", ("rtmpdump",), RTMP_OLD, Rules(tail=5)),
    VlcPlayer("vlc", "rtmp", ("cvlc",), frozenset({"h264", "aac", "mp3"}), Rules(tail=60, times=False)),
)


def publisher(name: str, *options: str) -> Publisher:
    """The publisher of that name, with words for its URL."""
    return evolve(next(p for p in PUBLISHERS if p.name == name), options=options)


def player(name: str, *options: str) -> Player:
    """The player of that name, with words for its URL."""
    return evolve(next(p for p in PLAYERS if p.name == name), options=options)
