"""What we write as MPEG-TS, judged by tools that nobody here wrote: FFmpeg, GStreamer, Wireshark, MediaInfo."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from pymediainfo import MediaInfo

from penstock.media import NS, Frame, Kind
from tests.codecs import transport
from tests.codecs.test_mpegts import av1_frames
from tests.codecs.transport import Coded, capture, demux
from tests.interop.binaries import path_of, require

SOURCES = {
    "h264": (capture("ffmpeg5-h264"), "h264.flv", ["AVC", "AAC"]),
    "hevc": (capture("ffmpeg9-hevc"), "hevc.flv", ["HEVC", "Opus"]),
    "mp3": (capture("ffmpeg5-mp3"), "../codecs/mp3.flv", ["MPEG Audio"]),
    "sound": (capture("ffmpeg5-latm"), None, ["AAC"]),
    "picture": (capture("ffmpeg9-m2ts"), None, ["AVC"]),
    "wrap": (capture("ffmpeg5-wrap"), "h264.flv", ["AVC", "AAC"]),
}
"""A capture that is read, the FLV file with the same frames, and what MediaInfo calls the codecs."""


def written(name: str) -> bytes:
    return transport.mux(transport.frames(demux(SOURCES[name][0])))


@pytest.fixture(params=SOURCES)
def clip(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """One of the clips as we write it."""
    path = tmp_path / f"{request.param}.ts"
    path.write_bytes(written(request.param))
    return path


def run(*command: str | Path) -> tuple[str, str]:
    """Standard output and error of a tool, which must end well."""
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout, done.stderr


def complaints(path: Path) -> str:
    """What ffprobe, at its strictest, says of every packet of a file."""
    require("ffprobe")
    command = (path_of("ffprobe"), "-v", "warning", "-err_detect", "explode+bitstream+buffer+compliant")
    return run(*command, "-show_packets", "-show_frames", path)[1]


def experts(path: Path) -> list[str]:
    """What tshark finds amiss: lost packets, wrong lengths and checks, malformed tables."""
    require("tshark")
    wanted = "mp2t.cc.drop || _ws.expert || _ws.malformed"
    command = (path_of("tshark"), "-o", "mpeg_sect.verify_crc:TRUE", "-Y", wanted, "-r", path)
    return run(*command)[0].splitlines()


def test_ffprobe_has_nothing_to_warn_of(clip: Path) -> None:
    assert complaints(clip) == ""


def test_tshark_finds_nothing_amiss(clip: Path) -> None:
    assert experts(clip) == []


def test_they_would_notice(tmp_path: Path) -> None:
    """A packet that is missing, and a table with a wrong bit."""
    data = written("h264")
    path = tmp_path / "lost.ts"
    at = next(n for n in range(188 * 8, len(data), 188) if data[n + 3] & 0x30 == 0x10)
    path.write_bytes(data[:at] + data[at + 188 :])
    assert complaints(path)
    assert experts(path)
    path.write_bytes(data[: 188 + 20] + b"\x55" + data[188 + 21 :])
    assert experts(path)


@pytest.mark.parametrize("name", [name for name, (_, made_of, _) in SOURCES.items() if made_of])
def test_ffmpeg_reads_the_frames_that_were_written(name: str, tmp_path: Path) -> None:
    """Copied to FLV: the same units, keys and times as in the FLV file that all was made of."""
    require("ffmpeg-new")
    ts, flv = tmp_path / "a.ts", tmp_path / "a.flv"
    ts.write_bytes(written(name))
    command = (path_of("ffmpeg-new"), "-v", "warning", "-xerror", "-err_detect", "explode", "-i", ts)
    _, said = run(*command, "-c", "copy", "-f", "flv", flv)
    assert said == ""
    made_of = SOURCES[name][1]
    assert made_of is not None
    published, received = transport.source(made_of), transport.source(str(flv))
    compare(published, received)


def compare(published: dict[Kind, list[Coded]], received: dict[Kind, list[Coded]]) -> None:
    offsets: list[int] = []
    assert received.keys() == published.keys()
    for kind, expected in published.items():
        found = received[kind]
        assert [(f.units, f.key) for f in found] == [(f.units, f.key) for f in expected]
        offset = found[0].pts - expected[0].pts
        offsets.append(offset)
        for theirs, ours in zip(found, expected, strict=True):
            assert theirs.dts is not None
            assert ours.dts is not None
            assert abs(theirs.pts - ours.pts - offset) <= 1_000_000
            assert abs(theirs.dts - ours.dts - offset) <= 1_000_000
    assert max(offsets) - min(offsets) <= 1_000_000


def test_gstreamer_reads_the_frames_that_were_written(tmp_path: Path) -> None:
    require("gst-launch-1.0")
    ts, flv = tmp_path / "a.ts", tmp_path / "a.flv"
    ts.write_bytes(written("h264"))
    pipeline = f"filesrc location={ts} ! tsdemux name=d flvmux name=m ! filesink location={flv} "
    pipeline += "d. ! queue ! h264parse ! m. d. ! queue ! aacparse ! m."
    run(path_of("gst-launch-1.0"), "-q", *pipeline.split())
    published, received = transport.source("h264.flv"), transport.source(str(flv))
    for kind, expected in published.items():
        units = [frame.units for frame in received[kind]]
        # tsdemux begins the sound with the first picture.
        assert len(units) > len(expected) // 2
        assert units == [frame.units for frame in expected][-len(units) :]


def media_info(path: Path) -> list[dict[str, Any]]:
    """What MediaInfo says of each track of a file, the file itself being the first."""
    module: Any = MediaInfo
    found: dict[str, list[dict[str, Any]]] = module.parse(path).to_data()
    return found["tracks"]


def test_mediainfo_names_what_is_there(clip: Path) -> None:
    general, *tracks = media_info(clip)
    assert general["format"] == "MPEG-TS"
    formats = [track["format"] for track in tracks if track["track_type"] in ("Video", "Audio")]
    assert formats == SOURCES[clip.stem][2]
    assert not [key for track in (general, *tracks) for key in track if "conformance" in key]


def test_mediainfo_knows_the_language(tmp_path: Path) -> None:
    path = tmp_path / "a.ts"
    path.write_bytes(written("h264"))
    (sound,) = [track for track in media_info(path) if track["track_type"] == "Audio"]
    assert sound["language"] == "de"


def test_av1_disturbs_nobody(tmp_path: Path) -> None:
    """None of these knows AV1 in MPEG-TS yet (nor does FFmpeg 9); they pass it over."""
    path = tmp_path / "a.ts"
    _, frames = av1_frames("av1")
    path.write_bytes(transport.mux(frames))
    assert complaints(path) in ("", "Unsupported codec with id 98314 for input stream 0\n")
    assert experts(path) == []


def test_a_long_gap_is_announced(tmp_path: Path) -> None:
    """A stream that stood still: FFmpeg takes the step of the clock without a word."""
    frames = transport.frames(demux(SOURCES["h264"][0]))
    half = frames[len(frames) // 2].dts
    moved = [shift(frame, 20 * NS if frame.dts >= half else 0) for frame in frames]
    path = tmp_path / "a.ts"
    path.write_bytes(transport.mux(moved))
    assert complaints(path) == ""
    assert experts(path) == []


def shift(frame: Frame, by: int) -> Frame:
    return frame._replace(pts=frame.pts + by, dts=frame.dts + by)
