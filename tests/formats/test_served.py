"""Segments as players get them, each alone behind its init segment, as tools that nobody here wrote see them: ``styp`` and
``prft`` in front, parts one after the other, times far from zero.
"""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path

import pytest

from penstock.media import to_ticks
from penstock_formats.isobmff import Demuxer, Sample
from tests.codecs import transport
from tests.codecs.test_mpegts_tools import complaints, experts, media_info
from tests.formats.isobmff.test_npm import found
from tests.formats.isobmff.tools import boxes, counted, warnings
from tests.formats.served import FRAGMENTED, TRANSPORT, Served, served_as_mp4, served_as_ts

SECOND = 1
"""Which segment of a rendition is looked at: one that another went before."""
FRAGMENT = ["moof", "mfhd", "traf", "tfhd", "tfdt", "trun", "mdat"]


@cache
def fragmented(name: str) -> list[Served]:
    return served_as_mp4(name)


def samples(one: Served) -> list[Sample]:
    demuxer = Demuxer()
    demuxer.receive_data(one.whole)
    return [event for event in iter(demuxer.next_event, None) if isinstance(event, Sample)]


def put(one: Served, folder: Path, ending: str) -> Path:
    path = folder / f"{one.name}.{ending}"
    path.write_bytes(one.whole)
    return path


@pytest.mark.parametrize("name", FRAGMENTED)
def test_ffmpeg_and_mediainfo_have_nothing_against_a_segment_of_cmaf(name: str, tmp_path: Path) -> None:
    for one in fragmented(name):
        if one.number == SECOND:
            path = put(one, tmp_path, "mp4")
            assert warnings(path) == ""
            assert counted(path) == [len(samples(one))]


@pytest.mark.parametrize("name", FRAGMENTED[:2])
def test_tshark_finds_the_boxes_of_a_segment_of_cmaf(name: str, tmp_path: Path) -> None:
    for one in fragmented(name):
        if one.number == SECOND:
            seen = boxes(put(one, tmp_path, "mp4"))
            types = [kind for kind, _ in seen]
            assert types[types.index("styp") :] == ["styp", "prft", *FRAGMENT * one.parts]
            top = {"ftyp", "moov", "styp", "prft", "moof", "mdat"}
            assert sum(size for kind, size in seen if kind in top) == len(one.whole)


@pytest.mark.parametrize("name", TRANSPORT)
def test_nobody_has_anything_against_a_segment_of_mpeg_ts(name: str, tmp_path: Path) -> None:
    served = served_as_ts(name)
    path = put(served[SECOND], tmp_path, "ts")
    assert complaints(path) == ""
    assert warnings(path) == ""
    assert experts(path) == []
    # Of less than so many packets MediaInfo says nothing at all.
    path.write_bytes(b"".join(one.data for one in served))
    general, *tracks = media_info(path)
    assert general["format"] == "MPEG-TS"
    assert not [key for track in (general, *tracks) for key in track if "conformance" in key]


def test_they_would_notice(tmp_path: Path) -> None:
    """A segment that lacks its end, and one whose fragment is said to be larger than it is."""
    one = fragmented("ffmpeg5-h264-aac")[SECOND]
    cut, wrong = tmp_path / "cut.mp4", tmp_path / "wrong.mp4"
    cut.write_bytes(one.whole[:-30])
    assert warnings(cut)
    at = one.whole.index(b"moof") - 4
    size = int.from_bytes(one.whole[at : at + 4], "big")
    wrong.write_bytes(one.whole[:at] + (size + 8).to_bytes(4, "big") + one.whole[at + 4 :])
    assert boxes(wrong) != boxes(put(one, tmp_path, "mp4"))
    with pytest.raises(ValueError, match="MediaInfo"):
        counted(wrong)


@pytest.mark.full
@pytest.mark.skipif(shutil.which("npm") is None, reason="not installed: node and npm")
def test_mp4box_and_mediabunny_read_segments_without_a_word(tmp_path: Path) -> None:
    """MPEG-TS only mediabunny does, which knows no Opus there."""
    cmaf = [one for name in FRAGMENTED for one in fragmented(name)]
    ts = [one for name in TRANSPORT for one in served_as_ts(name)]
    files = [*(put(one, tmp_path, "mp4") for one in cmaf), *(put(one, tmp_path, "ts") for one in ts)]
    told = found(*files)
    assert len(told) == len(cmaf) + len(ts)
    for one, both in zip(cmaf, told, strict=False):
        assert both["mp4box"]["said"] == [], one.name
        own = samples(one)
        (theirs,) = both["mp4box"]["tracks"].values()
        assert [(dts, cts, size, key) for dts, cts, _, size, key in theirs["samples"]] == [
            (s.dts, s.pts, len(s.data), s.key) for s in own
        ], one.name
        (packets,) = (track["packets"] for track in both["mediabunny"]["tracks"].values())
        assert [(round(at * own[0].track.timescale), size) for at, size, _ in packets] == [
            (s.pts, len(s.data)) for s in own
        ], one.name
    for one, both in zip(ts, told[len(cmaf) :], strict=True):
        frames = [f for f in transport.frames(transport.demux(one.data)) if f.track.codec.name != "opus"]
        tracks = both["mediabunny"]["tracks"]
        assert {int(number) for number in tracks} == {f.track.id for f in frames}, one.name
        for number, track in tracks.items():
            mine = [f for f in frames if f.track.id == int(number)]
            assert [kind for _, _, kind in track["packets"]] == [f.key for f in mine], one.name
            for (at, _, _), frame in zip(track["packets"], mine, strict=True):
                # Of sound that shares a PES packet it adds durations up.
                assert abs(at * 90_000 - to_ticks(frame.pts, 90_000)) <= 1.5, one.name
