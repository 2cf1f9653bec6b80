"""Input clips, made by FFmpeg once and kept in a cache folder under a hash of their recipe."""

from __future__ import annotations

import hashlib
import os
import struct
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

from attrs import frozen

from .binaries import path_of
from .frames import SAMPLED, FrameList, read_frames

SECONDS = 6
X264_DEFAULTS = ("-c:v", "libx264")
"""Three B-frames, GOPs of up to 250 frames: what the seed's command encodes."""
X264_PLAIN = ("-c:v", "libx264", "-profile:v", "baseline", "-preset", "veryfast", "-g", "25", "-bf", "0")
X264_JOINABLE = ("-c:v", "libx264", "-preset", "veryfast", "-g", "30", "-bf", "3")
# info=0: GStreamer's h265parse moves x265's own SEI about, so that what its publisher sends would not be
# known.
X265_PARAMS = "keyint=25:bframes=2:info=0:log-level=error"
X265 = ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", X265_PARAMS, "-tag:v", "hvc1")
# Noise and a moving test picture, so that no two frames are equal and a frame's bytes name its place.
NOISE = "anoisesrc=seed={seed}:a=0.3:r={rate}:d={seconds}"
PICTURE = "testsrc2=s={size}:r={fps}:d={seconds}"


@frozen
class Clip:
    """One recipe. `video` and `audio` are encoder options, empty for none; `codecs` are FFmpeg's names of
    what comes out.
    """

    name: str
    codecs: tuple[str, ...]
    video: tuple[str, ...] = ()
    audio: tuple[str, ...] = ()
    size: str = "320x180"
    fps: str = "25"
    rate: int = 48000
    seconds: int = SECONDS
    vary: bool = False
    second_size: str = ""

    @property
    def base(self) -> str:
        """The container that the encoder writes."""
        return "mov" if SAMPLED & set(self.codecs) else "mp4"

    def file(self, container: str) -> Path:
        """The clip in a container (its `base`, ``flv``, ``ts``, ``plain.mp4`` without edit list), made at
        first use.
        """
        recipe = hashlib.sha256(f"{self!r} 6".encode()).hexdigest()[:12]
        path = cache_folder() / f"{self.name}-{recipe}.{container}"
        if path.exists():
            return path
        if self.second_size:
            return self._spliced(path)
        # MP4 takes no G.711, its older brother does.
        if container == self.base:
            return _make(path, [*self._inputs(), *self._encoders()])
        options = ["-i", str(self.file(self.base)), "-map", "0", "-c", "copy"]
        if container == "plain.mp4":
            options += ["-use_editlist", "0", "-avoid_negative_ts", "make_non_negative"]
        return _make(path, options, _lengthen if container == "plain.mp4" else None)

    def frames(self, container: str) -> FrameList:
        """The coded frames that a publisher which copies this file sends."""
        return _frames(self, container)

    def _inputs(self) -> list[str]:
        options: list[str] = []
        if self.video:
            options += [
                "-f",
                "lavfi",
                "-i",
                PICTURE.format(size=self.size, fps=self.fps, seconds=self.seconds),
            ]
        if self.audio:
            options += ["-f", "lavfi", "-i", NOISE.format(seed=7, rate=self.rate, seconds=self.seconds)]
        return options

    def _encoders(self) -> list[str]:
        # Every seventh picture left out, and one gap of a second: what a phone sends.
        vary = (
            ["-vf", "select='mod(n,7)*not(between(t,3,4))'", "-fps_mode", "vfr"]
            if self.vary and self.video
            else []
        )
        pixels = ["-pix_fmt", "yuv420p"] if self.video else []
        return [*vary, *pixels, *self.video, *self.audio, "-threads", "2"]

    def _spliced(self, path: Path) -> Path:
        """Two pictures sizes one after the other in one MPEG-TS, so that the second SPS comes in mid-
        stream.
        """
        if path.suffix != ".ts":
            # FLV is the one other container that carries a second sequence header.
            return _make(path, ["-i", str(self.file("ts")), "-map", "0", "-c", "copy"])
        half = self.seconds // 2
        sizes = (self.size, self.second_size)
        parts = [path.with_name(f"{path.stem}-{size}.h264") for size in sizes]
        for number, part in enumerate(parts):
            source = ["-f", "lavfi", "-i", PICTURE.format(size=sizes[number], fps=self.fps, seconds=half)]
            _make(part, [*source, "-pix_fmt", "yuv420p", *self.video])
        joined = path.with_name(f".{os.getpid()}-{path.stem}-joined.h264")
        joined.write_bytes(b"".join(part.read_bytes() for part in parts))
        noise = ["-f", "lavfi", "-i", NOISE.format(seed=7, rate=self.rate, seconds=2 * half)]
        sound = noise if self.audio else []
        # Without B-frames every raw frame's time is its number, which -r in front of a raw input gives.
        return _make(
            path, ["-r", self.fps, "-f", "h264", "-i", str(joined), *sound, "-c:v", "copy", *self.audio]
        )


AAC = ("-c:a", "aac", "-ac", "2", "-b:a", "64k")
OPUS = ("-c:a", "libopus", "-b:a", "48k", "-ac", "2")

CLIPS = {
    clip.name: clip
    for clip in (
        Clip("h264-aac", ("h264", "aac"), X264_PLAIN, AAC),
        Clip("h264b-aac44", ("h264", "aac"), X264_JOINABLE, AAC, fps="30000/1001", rate=44100),
        Clip(
            "defaults", ("h264", "aac"), X264_DEFAULTS, ("-c:a", "aac"), size="640x360", fps="30", rate=44100
        ),
        Clip("hevc-aac", ("hevc", "aac"), X265, AAC),
        Clip("hevc-opus", ("hevc", "opus"), X265, OPUS),
        Clip("h264-opus", ("h264", "opus"), X264_JOINABLE, OPUS),
        Clip("h264-pcma", ("h264", "pcm_alaw"), X264_PLAIN, ("-c:a", "pcm_alaw", "-ac", "1", "-ar", "8000")),
        Clip(
            "h264-pcmu", ("h264", "pcm_mulaw"), X264_PLAIN, ("-c:a", "pcm_mulaw", "-ac", "1", "-ar", "8000")
        ),
        Clip("h264-mp3", ("h264", "mp3"), X264_PLAIN, ("-c:a", "libmp3lame", "-b:a", "64k")),
        Clip("av1-opus", ("av1", "opus"), ("-c:v", "libsvtav1", "-preset", "12", "-g", "25"), OPUS),
        Clip(
            "vp9-opus",
            ("vp9", "opus"),
            ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-g", "25"),
            OPUS,
        ),
        Clip("webrtc", ("h264", "opus"), X264_PLAIN, OPUS),
        Clip("short", ("h264", "aac"), X264_JOINABLE, AAC, seconds=4),
        Clip("short-large", ("h264", "aac"), X264_PLAIN, AAC, size="480x272", seconds=4),
        Clip("audio-only", ("aac",), (), AAC),
        Clip("video-only", ("h264",), X264_JOINABLE),
        Clip("vfr", ("h264", "aac"), X264_JOINABLE, AAC, vary=True),
        Clip("sps-change", ("h264", "aac"), X264_PLAIN, AAC, second_size="480x272", seconds=8),
        Clip("sps-video", ("h264",), X264_PLAIN, second_size="480x272", seconds=8),
    )
}


def cache_folder() -> Path:
    """``PENSTOCK_CLIPS`` or a folder of the user's own under the system's temporary one."""
    folder = Path(
        os.environ.get("PENSTOCK_CLIPS") or Path(tempfile.gettempdir()) / f"penstock-clips-{os.getuid()}"
    )
    folder.mkdir(parents=True, exist_ok=True, mode=0o755)
    return folder


@cache
def _frames(clip: Clip, container: str) -> FrameList:
    with tempfile.TemporaryDirectory(prefix="penstock-frames-") as work:
        return read_frames(clip.file(container), Path(work))


def _make(path: Path, options: list[str], finish: Callable[[Path], None] | None = None) -> Path:
    # Written aside and renamed: two test processes may want the same clip at once.
    aside = path.with_name(f".{os.getpid()}-{path.name}")
    command = [path_of("ffmpeg-new"), "-v", "error", "-nostdin", "-y", *options, str(aside)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    if done.returncode:
        raise RuntimeError(f"no clip: {' '.join(command)}: {done.stderr[-800:]}")
    if finish is not None:
        finish(aside)
    aside.replace(path)
    return path


def _lengthen(path: Path) -> None:
    """Let a movie and its tracks last a second longer than their frames: GStreamer sends none that are shown after the
    nominal end, which the last of reordered pictures are where no edit list makes up for it.
    """
    data = bytearray(path.read_bytes())
    # ISO/IEC 14496-12 8.2.2, 8.3.2, 8.4.2, version 0: where the duration is, from the box's type on.
    movie = data.index(b"mvhd")
    (timescale,) = struct.unpack_from("!I", data, movie + 16)
    places = [(movie + 20, timescale)]
    for box, offset in ((b"tkhd", 24), (b"mdhd", 20)):
        at = data.find(box)
        while at >= 0:
            places.append(
                (at + offset, timescale if box == b"tkhd" else struct.unpack_from("!I", data, at + 16)[0])
            )
            at = data.find(box, at + 4)
    for place, second in places:
        (duration,) = struct.unpack_from("!I", data, place)
        struct.pack_into("!I", data, place, duration + second)
    path.write_bytes(data)
