"""Small real files under ``tests/data/isobmff``, as FFmpeg 5.1 and 9 and GStreamer 1.22 wrote them.

All are of 0.8 s: ``testsrc2=s=64x64:r=25`` (GStreamer: ``videotestsrc pattern=ball``) with a key frame every ten pictures
and two B-frames, noise for sound.

    ffmpeg5-h264-aac   -movflags frag_keyframe+empty_moov+default_base_moof
    ffmpeg5-edits      the same with delay_moov: edit lists
    ffmpeg5-tables     -movflags frag_keyframe: tables for the first fragment, then fragments with base offsets
    ffmpeg5-faststart  -movflags faststart: tables alone, in front of the data, and edit lists
    ffmpeg9-cmaf       -movflags cmaf+frag_keyframe: negative composition offsets
    ffmpeg9-hevc-opus, ffmpeg9-av1-opus, ffmpeg9-vp9, ffmpeg5-mp3
    ffmpeg9-alaw       a QuickTime file
    gst-h264-aac, gst-hevc-opus, gst-avc3
                       mp4mux fragment-duration=400 streamable=true
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from pathlib import Path

from penstock.media import Frame, Kind, Track
from penstock.path import StreamPath
from penstock.registry import Registry
from penstock.stream import Stream, StreamOptions
from penstock_formats.isobmff import FragmentMuxer
from penstock_formats.isobmff.ingest import Ingest
from tests.kernel import stage

DATA = Path(__file__).parents[2] / "data" / "isobmff"
FRAGMENTED = (
    "ffmpeg5-h264-aac",
    "ffmpeg5-edits",
    "ffmpeg5-tables",
    "ffmpeg9-cmaf",
    "ffmpeg9-hevc-opus",
    "ffmpeg9-av1-opus",
    "ffmpeg9-vp9",
    "ffmpeg5-mp3",
    "gst-h264-aac",
    "gst-hevc-opus",
    "gst-avc3",
)
STREAMABLE = (*FRAGMENTED, "ffmpeg5-faststart")


def codecs() -> Registry:
    """All codecs of the project."""
    registry = Registry()
    for name in ("h264", "h265", "av1", "vp8", "vp9", "aac", "opus", "g711", "mp3"):
        import_module(f"penstock_codecs.{name}").plugin.register(registry)
    return registry


REGISTRY = codecs()


def path(name: str) -> Path:
    return next(DATA.glob(f"{name}.*"))


def read(name: str) -> bytes:
    return path(name).read_bytes()


def received(*pieces: bytes, whole: bool = True) -> tuple[list[Track], list[Frame]]:
    """Tracks and frames of a stream to which the pieces of a file were published."""
    stream = Stream(StreamPath.parse("live/one"), REGISTRY, StreamOptions(), stage.Host())
    publisher = stage.publish(stream)
    queue = stage.with_queue(stream)
    ingest = Ingest(publisher, REGISTRY, whole=whole)
    for piece in pieces:
        ingest.receive(piece)
    return list(stream.tracks), stage.frames(stage.events(queue))


def by_key_frame(frames: Iterable[Frame]) -> list[list[Frame]]:
    """Frames in groups that begin with a key frame of video, where there is any."""
    groups: list[list[Frame]] = []
    for frame in frames:
        if not groups or (frame.key and frame.track.kind is Kind.VIDEO):
            groups.append([])
        groups[-1].append(frame)
    return groups


def muxed(tracks: Iterable[Track], groups: list[list[Frame]], *, ends: bool = False) -> bytes:
    """A file of one fragment for each group; with `ends` the muxer is told when the next frame of each track comes."""
    muxer = FragmentMuxer(REGISTRY, tracks)
    pieces = [muxer.init]
    following: dict[int, int] = {}
    fragments: list[tuple[list[Frame], dict[int, int]]] = []
    for group in reversed(groups):
        fragments.insert(0, (group, dict(following)))
        for frame in reversed(group):
            following[frame.track.id] = frame.dts
    for group, known in fragments:
        pieces += muxer.fragment(group, known if ends else None)
    return b"".join(pieces)
