"""What real clients sent to a server of ours."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from penstock_formats.flv import PacketType, build_audio, build_video, parse_audio, parse_video
from penstock_rtmp.chunk import Message
from penstock_rtmp.event import Play, Publish
from tests.rtmp.drive import feed, server

DATA = Path(__file__).parents[1] / "data" / "rtmp"


def events(name: str, piece: int = 1 << 20) -> list[Any]:
    data = (DATA / f"{name}.bin").read_bytes()
    return feed(server(), [data[i : i + piece] for i in range(0, len(data), piece)])


@pytest.mark.parametrize("name", ["ffmpeg5", "ffmpeg9_hevc_two_audio", "gst_rtmp2sink"])
def test_publishers(name: str) -> None:
    found = events(name)
    assert any(isinstance(e, Publish) and e.name.split("?")[0] == "stream" for e in found)
    media = [e for e in found if isinstance(e, Message)]
    assert len(media) > 20
    for event in media:
        if event.type == 9:
            pictures = parse_video(event.payload)
            assert pictures
            assert build_video(pictures) == event.payload
        else:
            sounds = parse_audio(event.payload)
            assert sounds
            assert build_audio(sounds) == event.payload


@pytest.mark.parametrize("name", ["rtmpdump", "ffmpeg5_play"])
def test_players(name: str) -> None:
    assert [e.name for e in events(name) if isinstance(e, Play)] == ["stream"]


def test_enhanced_tags_of_ffmpeg() -> None:
    seen = Counter[tuple[int | str, PacketType, int]]()
    for event in events("ffmpeg9_hevc_two_audio"):
        if isinstance(event, Message):
            for packet in (parse_video if event.type == 9 else parse_audio)(event.payload):
                seen[packet.codec, packet.type, packet.track_id] += 1
    assert seen["hvc1", PacketType.SEQUENCE_START, 0] == 1
    assert seen["hvc1", PacketType.CODED_FRAMES, 0] == 10
    assert seen["hvc1", PacketType.METADATA, 0] == 1
    assert seen["Opus", PacketType.MULTICHANNEL_CONFIG, 1] == 1
    assert seen["Opus", PacketType.CODED_FRAMES, 1] > 40


@pytest.mark.parametrize("name", sorted(p.stem for p in DATA.glob("*.bin")))
def test_g3_pieces_make_no_difference(name: str) -> None:
    assert repr(events(name, 1)) == repr(events(name))
