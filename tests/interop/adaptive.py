"""What FFmpeg and GStreamer as players of HLS and DASH have in common."""

from __future__ import annotations

from pathlib import Path

from attrs import frozen

from .binaries import path_of
from .clients import GST_CAPS, GST_PARSE, GST_QUEUE, GST_RECORD, FFmpegPlayer, GstPlayer
from .clips import Clip
from .frames import FrameList, read_dump

PLAIN = frozenset({"h264", "aac"})
FRAGMENTED = frozenset({"h264", "hevc", "aac", "opus", "av1", "vp9"})
GST_SOURCES = (("gstreamer", "uridecodebin", 4), ("gstreamer demux2", "uridecodebin3", 48))
"""Names of players, by which element they read, and how many frames may be missing at the end.

hlsdemux2 does not read the last segment of sound that is a rendition of its own.
"""


@frozen
class FFmpegAdaptivePlayer(FFmpegPlayer):
    """Containers carry decode times: what FFmpeg shows is what was sent."""

    def frames(self, work: Path) -> FrameList:
        return read_dump(work / "ffmpeg")


@frozen
class GstAdaptivePlayer(GstPlayer):
    """hlsdemux and dashdemux behind `uridecodebin`; hlsdemux2 and dashdemux2, which give what they have only to decoders
    that take whole collections of streams, behind `uridecodebin3`.
    """

    source: str = "uridecodebin"

    def argv(self, clip: Clip, url: str, work: Path) -> list[str]:
        caps = ";".join(GST_CAPS[codec] for codec in clip.codecs)
        words = [self.source, f"uri={url}", f"caps={caps}", "name=d"]
        for kind, codec in zip(("video", "audio"), clip.codecs, strict=True):
            # uridecodebin3 has pads before their caps are known.
            words += [f"d.{kind}_0" if self.source == "uridecodebin3" else "d.", "!"]
            words += [*GST_PARSE.get(codec, "identity").split(), "!"]
            if codec == "h264":
                # qtdemux guesses a rate anew from each fragment, and Matroska cannot change it.
                words += ["capssetter", f"caps=video/x-h264,framerate={clip.fps}/1", "!"]
            words += [*GST_QUEUE, "!", "m."]
        return [
            path_of("gst-launch-1.0"), "-q", "-e", *words, *GST_RECORD.format(path=work / "gst.mkv").split(),
        ]  # fmt: skip
