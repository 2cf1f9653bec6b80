"""Files that FFmpeg and GStreamer wrote, through our demuxer and muxer, as FFmpeg, MediaInfo and we ourselves see them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

from penstock.media import NS, Frame, Track, to_ticks
from penstock_codecs.h264 import H264
from penstock_formats.isobmff import Demuxer, FragmentMuxer, Sample
from tests.formats.isobmff.captures import (
    REGISTRY,
    STREAMABLE,
    by_key_frame,
    muxed,
    path,
    read,
    received,
)
from tests.formats.isobmff.tools import counted, warnings
from tests.interop.binaries import require
from tests.interop.frames import FrameTrack, read_frames

SHIFTED_BY_FFMPEG = "ffmpeg9-cmaf"
"""Its pictures FFmpeg shows 40 ms too late: docs/adr/0012."""

HALF_A_TICK_US = 6
"""Of 90 kHz: FFmpeg moved the pictures of one file by what is no whole number of ticks."""


@cache
def remuxed(name: str) -> tuple[list[Track], list[Frame], bytes]:
    """Tracks and frames of a capture, and the file that we make of them."""
    tracks, frames = received(read(name))
    return tracks, frames, muxed(tracks, by_key_frame(frames))


def offsets(before: FrameTrack, after: FrameTrack) -> set[int]:
    """By how much presentation and decode times of the same frames differ, in us (FFmpeg's listings round)."""
    pairs = zip(before.frames, after.frames, strict=True)
    times = [(b.pts, a.pts) for b, a in pairs] + [
        (b.dts, a.dts) for b, a in zip(before.frames, after.frames, strict=True)
    ]
    return {round((a - b) / 1000) for b, a in times if a is not None and b is not None}


@pytest.mark.parametrize("name", STREAMABLE)
def test_ffmpeg_finds_the_same_frames_in_what_we_make_of_them(name: str, tmp_path: Path) -> None:
    require("ffmpeg-new")
    file = tmp_path / "ours.mp4"
    file.write_bytes(remuxed(name)[2])
    before, after = read_frames(path(name), tmp_path), read_frames(file, tmp_path)
    assert [(t.kind, t.codec) for t in after.tracks] == [(t.kind, t.codec) for t in before.tracks]
    moved: set[int] = set()
    for theirs, ours in zip(before.tracks, after.tracks, strict=True):
        assert [(f.digest, f.size, f.key) for f in ours.frames] == [
            (f.digest, f.size, f.key) for f in theirs.frames
        ]
        if name != SHIFTED_BY_FFMPEG:
            moved |= offsets(theirs, ours)
    # Sound and picture alike, by what the stream's clock is ahead of the file's: whole seconds.
    assert len({round(us, -6) for us in moved}) == (name != SHIFTED_BY_FFMPEG)
    assert all(abs(us - round(us, -6)) <= HALF_A_TICK_US for us in moved)


@pytest.mark.parametrize("name", STREAMABLE)
def test_nothing_is_lost_there_and_back(name: str) -> None:
    tracks, frames, ours = remuxed(name)
    again_tracks, again = received(ours)
    # The second stream starts at a second of its own.
    moved = again[0].dts - frames[0].dts
    assert not moved % NS
    assert [(t.codec, t.clock_rate, t.config) for t in again_tracks] == [
        (t.codec, t.clock_rate, t.config) for t in tracks
    ]
    for track in tracks:
        assert _values(again, track, 0) == _values(frames, track, moved)


def _values(frames: Iterable[Frame], track: Track, moved: int) -> list[tuple[object, ...]]:
    """Times in ticks, which is what a file has."""
    rate = track.clock_rate
    return [
        (to_ticks(f.pts + moved, rate), to_ticks(f.dts + moved, rate), f.key, f.units)
        for f in frames
        if f.track.id == track.id
    ]


@pytest.mark.parametrize("name", STREAMABLE)
def test_no_tool_has_anything_against_it(name: str, tmp_path: Path) -> None:
    tracks, frames, ours = remuxed(name)
    file = tmp_path / "ours.mp4"
    file.write_bytes(ours)
    assert warnings(file) == ""
    assert counted(file) == [sum(f.track.id == track.id for f in frames) for track in tracks]


@pytest.mark.parametrize("name", ["ffmpeg5-h264-aac", "gst-hevc-opus", "ffmpeg9-av1-opus"])
def test_a_fragment_for_every_frame_has_the_same_times(name: str, tmp_path: Path) -> None:
    """The shortest parts that there can be: each duration is a guess, and yet each time is right."""
    require("ffmpeg-new")
    tracks, frames, whole = remuxed(name)
    file, parts = tmp_path / "whole.mp4", tmp_path / "parts.mp4"
    file.write_bytes(whole)
    parts.write_bytes(muxed(tracks, [[frame] for frame in frames]))
    assert warnings(parts) == ""
    assert read_frames(parts, tmp_path) == read_frames(file, tmp_path)


def test_parameter_sets_go_in_band_where_asked(tmp_path: Path) -> None:
    tracks, frames, _ = remuxed("gst-avc3")
    muxer = FragmentMuxer(REGISTRY, tracks, in_band=True)
    assert [codec[:5] for codec in muxer.codecs] == ["avc3."]
    file = tmp_path / "avc3.mp4"
    pieces = [muxer.init, *(piece for group in by_key_frame(frames) for piece in muxer.fragment(group))]
    file.write_bytes(b"".join(pieces))
    assert warnings(file) == ""
    again = received(file.read_bytes())[1]
    assert [frame.units for frame in again] == [frame.units for frame in frames]
    assert tracks[0].codec is H264


def test_one_fragment_follows_the_other_without_gaps() -> None:
    """Where the next frame is known, so is the last duration: decode times add up."""
    tracks, frames, _ = remuxed("ffmpeg5-h264-aac")
    file = muxed(tracks, by_key_frame(frames), ends=True)
    demuxer = Demuxer()
    demuxer.receive_data(file)
    times: dict[int, list[tuple[int, int]]] = {}
    while (event := demuxer.next_event()) is not None:
        if isinstance(event, Sample):
            times.setdefault(event.track.id, []).append((event.dts, event.duration))
    assert len(times) == 2
    for samples in times.values():
        assert all(dts + duration == following for (dts, duration), (following, _) in pairwise(samples))
