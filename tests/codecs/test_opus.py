"""Opus: durations, OpusHead, RTP against ffmpeg, and FLV."""

from __future__ import annotations

import pytest

from penstock.errors import ProtocolViolation
from penstock_codecs.opus import OPUS, OpusConfig, duration
from penstock_codecs.opus.config import parse_head, write_head
from penstock_codecs.opus.flv import OpusFlv
from penstock_codecs.opus.rtp import OpusRtp
from penstock_formats.rtp import RtpFormat

from . import captures

CLIP = captures.flv_frames(OpusFlv(), "opus", 5)
FMT = RtpFormat("OPUS", 48000, 2)


@pytest.mark.parametrize(
    ("packet", "samples"),
    [
        (b"\0", 480),
        (b"\x18", 2880),
        (b"\x68", 960),
        (b"\x80", 120),
        (b"\xf9", 1920),
        (b"\xfb\6", 5760),
        (b"\xfb\x82", 1920),
    ],
)
def test_durations(packet: bytes, samples: int) -> None:
    assert duration(packet) == samples


@pytest.mark.parametrize("packet", [b"", b"\3", b"\3\0", b"\xfb\7", b"\x03\x3f"])
def test_p11_packets_without_frames_or_too_long(packet: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        OpusRtp().depacketizer(FMT).push(packet, 0, False, False)


@pytest.mark.parametrize("channels", range(1, 9))
def test_heads_and_descriptions_come_back(channels: int) -> None:
    config = OpusConfig.simple(channels)
    assert parse_head(write_head(config)) == config
    track = captures.frame(OPUS, config, ()).track
    assert OpusRtp().accept(OpusRtp().describe(track)) == (OPUS, config)


def test_rtp_from_ffmpeg() -> None:
    units = captures.depacketize(OpusRtp().depacketizer(FMT), captures.rtp("ffmpeg-opus"))
    assert [u.units for u in units] == [f[0] for f in CLIP[1]]


def test_flv_round_trip() -> None:
    record, bodies = captures.flv_bodies("opus", 5)
    assert OpusFlv().config_record(CLIP[0]) == record
    assert [OpusFlv().encode(captures.frame(OPUS, CLIP[0], units)) for units, _ in CLIP[1]] == bodies
