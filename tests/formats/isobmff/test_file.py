"""Whole files: those that are not fragmented, with the movie behind the data, and recordings that were cut short."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.media import to_ns
from penstock_formats.isobmff import MovieFile, Sample
from tests.formats.isobmff.captures import STREAMABLE, path, read
from tests.formats.isobmff.test_muxer import samples
from tests.interop.binaries import require
from tests.interop.frames import read_frames


def times(found: list[Sample]) -> list[tuple[int, int, int, bytes]]:
    return [(sample.track.id, sample.dts, sample.pts, sample.data) for sample in found]


@pytest.mark.parametrize("name", STREAMABLE)
def test_a_file_that_streams_is_the_same_in_memory(name: str) -> None:
    assert times(list(MovieFile(read(name)).samples())) == times(samples(read(name)))


@pytest.mark.parametrize("name", ["ffmpeg9-progressive", "ffmpeg5-faststart"])
def test_tables_are_read_as_ffmpeg_reads_them(name: str, tmp_path: Path) -> None:
    require("ffmpeg-new")
    theirs = read_frames(path(name), tmp_path)
    file = MovieFile(read(name))
    for one in theirs.tracks:
        handler = {"video": "vide", "audio": "soun"}[one.kind]
        own = [sample for sample in file.samples() if sample.track.handler == handler]
        rate = own[0].track.timescale
        assert [(to_ns(s.pts, rate) // 1000, to_ns(s.dts, rate) // 1000, s.key) for s in own] == [
            (f.pts // 1000, f.dts // 1000, f.key)
            for f in one.frames
            if f.pts is not None and f.dts is not None
        ]


def test_pcm_is_taken_in_blocks() -> None:
    """Each byte is a sample of QuickTime's; FFmpeg wrote half a second of them."""
    found = list(MovieFile(read("ffmpeg9-alaw")).samples())
    assert sum(len(sample.data) for sample in found) == 4000
    assert [sample.dts for sample in found] == [sum(s.duration for s in found[:n]) for n in range(len(found))]
    assert max(len(sample.data) for sample in found) == 1024


def test_a_recording_that_was_cut_short_is_read_to_its_end() -> None:
    """Row 120 (F1): what was killed while it wrote has all its fragments but the last."""
    data = read("ffmpeg5-h264-aac")
    whole = list(MovieFile(data).samples())
    for size in range(1300, len(data), 97):
        found = list(MovieFile(data[:size]).samples())
        assert times(found) == times(whole[: len(found)])
    assert len(list(MovieFile(data[:-200]).samples())) > len(whole) // 2
