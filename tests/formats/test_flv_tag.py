from __future__ import annotations

import pytest

from penstock.errors import ProtocolViolation
from penstock_formats.flv import (
    AudioPacket,
    PacketType,
    VideoPacket,
    audio_header,
    build_video,
    parse_audio,
    parse_video,
    video_header,
)


def test_legacy() -> None:
    assert parse_video(b"\x17\x01\xff\xff\xfedata") == [
        VideoPacket(7, PacketType.CODED_FRAMES, b"data", 1, -2)
    ]
    assert parse_video(b"\x17\x00\0\0\0avcc")[0].type is PacketType.SEQUENCE_START
    assert parse_video(b"\x22data") == [VideoPacket(2, PacketType.CODED_FRAMES, b"data")]
    assert parse_audio(b"\xaf\x01data") == [AudioPacket(10, PacketType.CODED_FRAMES, b"data", 3, True, True)]
    mp3 = parse_audio(b"\x2adata")[0]
    assert (mp3.sample_rate, mp3.channels, mp3.wide) == (22050, 1, True)


def test_enhanced() -> None:
    assert parse_video(b"\x91hvc1\0\0\x28data") == [
        VideoPacket("hvc1", PacketType.CODED_FRAMES, b"data", 1, 40)
    ]
    assert parse_video(b"\xa3hvc1data") == [VideoPacket("hvc1", PacketType.CODED_FRAMES, b"data")]
    assert parse_video(b"\x91av01data") == [VideoPacket("av01", PacketType.CODED_FRAMES, b"data", 1)]
    assert parse_audio(b"\x91Opusdata") == [AudioPacket("Opus", PacketType.CODED_FRAMES, b"data")]
    assert parse_audio(b"\x90Opus")[0].type is PacketType.SEQUENCE_START
    assert parse_video(b"\xd1\0") == [VideoPacket("", PacketType.COMMAND, b"\0", 5)]


def test_modifiers() -> None:
    nano = b"\2\0\1\0"
    assert parse_video(b"\x97" + nano + b"\1av01data")[0].nanoseconds == 256
    assert parse_audio(b"\x97" + nano + b"\1Opusdata")[0].nanoseconds == 256
    long = b"\xff\x01\x00" + bytes(257)  # an unknown modifier of 257 bytes
    assert parse_audio(b"\x97" + long + b"\x11Opusdata") == [
        AudioPacket("Opus", PacketType.CODED_FRAMES, b"data")
    ]
    with pytest.raises(ProtocolViolation, match="modifiers"):
        parse_video(b"\x97" + (nano + b"\x07") * 100)


def test_multitrack() -> None:
    one = parse_video(b"\x96\x01hvc1\x05\0\0\0data")
    assert one == [VideoPacket("hvc1", PacketType.CODED_FRAMES, b"data", 1, 0, 5)]
    many = parse_audio(b"\x95\x11Opus\0\0\0\1a\1\0\0\2bc")
    assert [(p.track_id, p.data) for p in many] == [(0, b"a"), (1, b"bc")]
    codecs = parse_audio(b"\x95\x21Opus\0\0\0\1amp4a\1\0\0\2bc")
    assert [(p.codec, p.data) for p in codecs] == [("Opus", b"a"), ("mp4a", b"bc")]


@pytest.mark.parametrize(
    "body",
    [
        b"\x17",
        b"\x17\x01\0\0",
        b"\x17\x03\0\0\0",
        b"\x90hv",
        b"\x91hvc1\0\0",
        b"\x98av01",
        b"\x91\xff\xff\xff\xff",
        b"\x96",
        b"\x96\x16hvc1\0\0\0\1",
        b"\x96\x31hvc1\0",
        b"\x96\x11hvc1",
        b"\x96\x11hvc1\0\0\0\5abc",
        b"\x96\x10hvc1" + bytes(4) * 100,
        b"\x97\xff",
        b"\x97\xff\xff\xff",
    ],
)
def test_r16_broken_video(body: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        parse_video(body)


@pytest.mark.parametrize("body", [b"\xaf", b"\xaf\x02", b"\x9fOpus", b"\x93Opus", b"\x95\x15Opus", b"\x91Op"])
def test_r16_broken_audio(body: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        parse_audio(body)


def test_r16_empty_and_unknown_tags() -> None:
    assert parse_video(b"") == []
    assert parse_audio(b"") == []
    assert parse_video(b"\x1e")[0].codec == 14


def test_headers_of_the_muxer() -> None:
    assert video_header(7, PacketType.CODED_FRAMES, key=True, composition_time=40) == b"\x17\x01\0\0\x28"
    assert video_header("hvc1", PacketType.CODED_FRAMES, composition_time=0) == b"\xa3hvc1"
    assert video_header("av01", PacketType.SEQUENCE_START, key=True, track_id=1) == b"\x96\x00av01\x01"
    assert audio_header(10, PacketType.CODED_FRAMES) == b"\xaf\x01"
    assert audio_header(7, PacketType.CODED_FRAMES, stereo=False) == b"\x7e"
    assert audio_header("Opus", PacketType.CODED_FRAMES, track_id=2) == b"\x95\x01Opus\x02"
    assert build_video([]) == b""
