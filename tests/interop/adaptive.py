"""What FFmpeg and GStreamer as players of HLS and DASH have in common."""

from __future__ import annotations

from pathlib import Path

from attrs import frozen

from .binaries import path_of
from .clients import GST_CAPS, GST_PARSE, GST_QUEUE, GST_RECORD, FFmpegPlayer, GstPlayer
from .clips import Clip
from .frames import SAMPLED, FrameList, read_dump

PLAIN = frozenset({"h264", "aac"})
FRAGMENTED = frozenset({"h264", "hevc", "aac", "opus", "av1", "vp9", "mp3", *SAMPLED})


@frozen
class FFmpegAdaptivePlayer(FFmpegPlayer):
    """Containers carry decode times: what FFmpeg shows is what was sent."""

    def frames(self, work: Path) -> FrameList:
        return read_dump(work / "ffmpeg")


@frozen
class GstAdaptivePlayer(GstPlayer):
    """hlsdemux and dashdemux; hlsdemux2 behind `uridecodebin3`, for it gives what it has only to decoders that take whole
    collections of streams.
    """

    source: str = "uridecodebin"

    def argv(self, clip: Clip, url: str, work: Path) -> list[str]:
        caps = ";".join(GST_CAPS[codec] for codec in clip.codecs)
        words = [self.source, f"uri={url}", f"caps={caps}", "name=d"]
        kinds = [kind for kind, options in (("video", clip.video), ("audio", clip.audio)) if options]
        for kind, codec in zip(kinds, clip.codecs, strict=True):
            # uridecodebin3 has its pads before their caps are known.
            words += [f"d.{kind}_0" if self.source == "uridecodebin3" else "d.", "!"]
            words += [*GST_PARSE.get(codec, "identity").split(), "!"]
            if codec == "h264":
                # qtdemux guesses a rate anew from each fragment, and Matroska cannot change it.
                words += ["capssetter", f"caps=video/x-h264,framerate={clip.fps}/1", "!"]
            words += [*GST_QUEUE, "!", "m."]
        return [
            path_of("gst-launch-1.0"), "-q", "-e", *words, *GST_RECORD.format(path=work / "gst.mkv").split(),
        ]  # fmt: skip
