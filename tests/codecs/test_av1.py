"""AV1: FLV and RTP of real streams, loss, and inconsistent Z and Y."""

from __future__ import annotations

import pytest

from penstock.errors import ProtocolViolation
from penstock.registry import VideoInfo
from penstock_codecs.av1 import AV1, Av1Config
from penstock_codecs.av1.flv import Av1Flv
from penstock_codecs.av1.info import Av1Info
from penstock_codecs.av1.packetizer import Av1Packetizer
from penstock_codecs.av1.record import parse_record, write_record
from penstock_codecs.av1.rtp import Av1Rtp
from penstock_formats.rtp import RtpFormat

from . import captures

CLIP = captures.flv_frames(Av1Flv(), "av1", 5)
FMT = RtpFormat("AV1", 90000)
FRAME = b"\x30\x30" + bytes(range(60))


@pytest.mark.parametrize(("name", "string"), [("av1", "av01.0.00M.08"), ("av1aom", "av01.0.00M.10")])
def test_flv_round_trip(name: str, string: str) -> None:
    config, frames = captures.flv_frames(Av1Flv(), name, 5)
    assert Av1Info().describe(config) == VideoInfo(160, 120)
    assert Av1Info().codecs_string(config) == string
    encoded = [Av1Flv().encode(captures.frame(AV1, config, units, key)) for units, key in frames]
    assert encoded == captures.flv_bodies(name, 5)[1]
    assert parse_record(write_record(Av1Config.of(config))) == config


def test_rtp_from_ffmpeg() -> None:
    units = captures.depacketize(Av1Rtp().depacketizer(FMT), captures.rtp("ffmpeg-av1"))
    assert [(u.units, u.key) for u in units] == CLIP[1]
    assert [u.config for u in units if u.config] == [CLIP[0]]


@pytest.mark.parametrize("most", [20, 150, 1200])
def test_there_and_back(most: int) -> None:
    frames = [captures.frame(AV1, CLIP[0], *one) for one in CLIP[1]]
    back = captures.through(Av1Packetizer(most), Av1Rtp().depacketizer(FMT), frames, most)
    assert [(u.units, u.key) for u in back] == CLIP[1]


def test_a_key_frame_brings_its_sequence_header_first() -> None:
    payload = Av1Packetizer(9000).packetize(captures.frame(AV1, CLIP[0], *CLIP[1][0]))[0]
    header = Av1Config.of(CLIP[0]).sequence_header
    assert payload[0] & 0x88 == 0x08
    assert payload[2 : 2 + len(header)] == header


@pytest.mark.parametrize(
    "second",
    [b"\x10" + FRAME, b"\x98" + FRAME, b"\x90"],
    ids=["not continued", "new sequence inside", "nothing in it"],
)
def test_p12_an_obu_that_is_begun_goes_on(second: bytes) -> None:
    depacketizer = Av1Rtp().depacketizer(FMT)
    depacketizer.push(b"\x50" + FRAME, 0, False, False)
    with pytest.raises(ProtocolViolation):
        depacketizer.push(second, 0, True, False)
    assert depacketizer.push(b"\x10" + FRAME, 1, True, False)[0].units == (FRAME,)


@pytest.mark.parametrize("payload", [b"", b"\x10", b"\0" + b"\xff" * 10, b"\0\5a", b"\x30\1a", b"\x10\x80\0"])
def test_p12_bad_elements(payload: bytes) -> None:
    depacketizer = Av1Rtp().depacketizer(FMT)
    depacketizer.push(b"\x10" + FRAME, 0, True, False)
    with pytest.raises(ProtocolViolation):
        depacketizer.push(payload, 1, True, False)


def test_after_a_loss_the_rest_of_a_unit_is_skipped() -> None:
    depacketizer = Av1Rtp().depacketizer(FMT)
    assert depacketizer.push(b"\x50" + FRAME, 0, False, False) == []
    assert depacketizer.push(b"\x90" + FRAME, 0, True, True) == []
    assert [u.units for u in depacketizer.push(b"\x10" + FRAME, 1, True, False)] == [(FRAME,)]
