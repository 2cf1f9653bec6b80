"""MPEG-TS in segments: each stands alone with tables and a key frame, and counters go on from one to the next."""

from __future__ import annotations

import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
from attrs import evolve

from penstock.errors import ProtocolViolation
from penstock.media import NS, Codec, Frame, Kind, Track
from penstock.segment import Init, Segment
from penstock_codecs.vp8 import VP8, Vp8Config
from penstock_formats.mpegts import TsFrame
from penstock_formats.mpegts.muxer import PID_MAP
from penstock_formats.mpegts.packet import PID_NULL
from penstock_formats.mpegts.segments import PES_FRAMES, TsFormat
from tests.codecs.transport import demux, registry
from tests.formats.test_mpegts_muxer import AUDIO, SOUND, VIDEO, parse, picture, sound
from tests.interop.binaries import path_of, require

SEGMENT = Segment(7, Init(1, b"", ()), time=NS, dts=NS, wall=0, discontinuity=False, independent=True)


def heard(n: int) -> Frame:
    return sound(n)._replace(duration=SOUND)


def silence(n: int) -> Frame:
    """What a decoder takes: of two channels."""
    return heard(n)._replace(units=(bytes.fromhex("210049900219002380"),))


def test_the_first_picture_and_the_first_sound_go_together() -> None:
    again, second = evolve(AUDIO, id=3), evolve(VIDEO, id=4)
    web = Track(5, VP8, 90_000, Vp8Config(64, 48))
    data = Track(6, Codec("klv", Kind.DATA), 1000)
    groups, left_out = TsFormat().group(registry(), [AUDIO, again, VIDEO, second, web, data])
    assert groups == {"main": [VIDEO, AUDIO], "a3": [again]}
    assert left_out == {
        4: "MPEG-TS segments have one picture",
        5: "MPEG-TS cannot carry vp8",
        6: "MPEG-TS cannot carry klv",
    }


def test_each_segment_begins_with_tables_and_a_key_frame_and_counters_go_on() -> None:
    writer = TsFormat().writer(registry(), [VIDEO, AUDIO])
    segments = [
        writer.start(SEGMENT)
        + writer.write([picture(n, key=n % 5 == 0) for n in range(first, first + 5)] + [heard(first)], {})
        for first in (0, 5)
    ]
    for data in segments:
        packets = parse(data)
        assert [p.pid for p in packets[:2]] == [0, PID_MAP]
        assert next(p for p in packets if p.pid == 0x100).random_access
    for pid in (0, PID_MAP, 0x100, 0x101):
        counters = [p.counter for p in parse(b"".join(segments)) if p.pid == pid and p.has_payload]
        assert all(b == (a + 1) & 15 for a, b in pairwise(counters))
    assert len([e for e in demux(segments[1]) if isinstance(e, TsFrame)]) >= 5


def test_a_segment_of_one_sound_is_long_enough_for_gstreamer() -> None:
    """hlsdemux2 took three packets for an error."""
    writer = TsFormat().writer(registry(), [AUDIO])
    data = writer.start(SEGMENT) + writer.write([heard(0)], {})
    assert [p.pid for p in parse(data)][:6] == [0, PID_MAP, *4 * [PID_NULL]]
    assert len([e for e in demux(data) if isinstance(e, TsFrame)]) == 1


def test_sound_that_follows_shares_packets_and_keeps_its_times() -> None:
    writer = TsFormat().writer(registry(), [AUDIO])
    count = 3 * PES_FRAMES + 1
    packed = writer.start(SEGMENT) + writer.write([heard(n) for n in range(count)], {})
    starts = [p for p in parse(packed) if p.pid == 0x100 and p.start]
    assert len(starts) == 4, "the first is alone"
    frames = [e for e in demux(packed) if isinstance(e, TsFrame)]
    assert len(frames) == count
    assert all(abs(f.pts - (NS + n * SOUND)) < 25_000 for n, f in enumerate(frames))


@pytest.mark.parametrize("program", ["ffprobe", "ffmpeg-new"])
def test_ffmpeg_has_the_first_sound_of_hls_at_its_time(program: str, tmp_path: Path) -> None:
    """Where more than one frame is in the first PES packet, it gives two the same time."""
    require(program)
    writer, names = TsFormat().writer(registry(), [AUDIO]), ["one.ts", "two.ts"]
    for first, name in zip((0, 20), names, strict=True):
        data = writer.start(SEGMENT) + writer.write([silence(n) for n in range(first, first + 20)], {})
        (tmp_path / name).write_bytes(data)
    listed = "".join(f"#EXTINF:1,\n{name}\n" for name in names)
    playlist = tmp_path / "list.m3u8"
    playlist.write_text(f"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n{listed}#EXT-X-ENDLIST\n")
    own: dict[str, list[str]] = {
        "ffprobe": ["-show_entries", "packet=pts", "-of", "csv=p=0"],
        "ffmpeg-new": ["-copyts", "-c", "copy", "-f", "framecrc", "-"],
    }
    command = [path_of(program), "-v", "error", "-i", str(playlist), *own[program]]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=True
    )
    lines = [line.split(",") for line in done.stdout.splitlines() if line and line[0] != "#"]
    times = [int(line[0 if program == "ffprobe" else 2]) for line in lines]
    assert len(times) == 40
    assert all(abs(time - (NS + n * SOUND) * 9 // 100_000) <= 2 for n, time in enumerate(times))


def test_sound_with_a_gap_or_of_unknown_length_has_packets_of_its_own() -> None:
    writer = TsFormat().writer(registry(), [AUDIO])
    apart = [heard(0), heard(1), heard(2), heard(9), sound(10), sound(11)]
    packets = parse(writer.write(apart, {}))
    # The first alone, then two together; after the gap two again, because the fourth says how long it lasts.
    assert len([p for p in packets if p.pid == 0x100 and p.start]) == 4


def test_a_config_that_changes_is_another_writers() -> None:
    writer = TsFormat().writer(registry(), [VIDEO, AUDIO])
    assert writer.fits(AUDIO)
    assert not writer.fits(evolve(AUDIO, config=None))
    assert writer.codecs[1] == "mp4a.40.2"
    assert writer.init == b""
    with pytest.raises(ProtocolViolation):
        TsFormat().writer(registry(), [Track(1, VP8, 90_000, Vp8Config(64, 48))])
