"""G.711: RTP against ffmpeg, FLV, and what neither can say."""

from __future__ import annotations

import pytest

from penstock.errors import ProtocolViolation
from penstock_codecs.g711 import PCMA, PCMU, G711Config
from penstock_codecs.g711.flv import G711Flv
from penstock_codecs.g711.rtp import G711Packetizer, G711Rtp
from penstock_formats.rtp import RtpFormat

from . import captures

BINDING = G711Rtp(PCMA, 8)


def test_rtp_and_flv_from_ffmpeg_are_the_same() -> None:
    _, bodies = captures.flv_bodies("pcma", 1)
    units = captures.depacketize(BINDING.depacketizer(RtpFormat("PCMA", 8000)), captures.rtp("ffmpeg-pcma"))
    assert [u.units[0] for u in units] == bodies


def test_static_payload_types_are_for_8000_hz_mono() -> None:
    assert BINDING.describe(captures.frame(PCMA, G711Config(), ()).track).payload_type == 8
    assert G711Rtp(PCMU, 0).describe(captures.frame(PCMU, G711Config(), ()).track).payload_type == 0
    assert BINDING.describe(captures.frame(PCMA, G711Config(2), ()).track).payload_type is None


def test_a_long_frame_is_cut_between_samples() -> None:
    packetizer = G711Packetizer(2, 101)
    payloads = packetizer.packetize(captures.frame(PCMA, G711Config(2), (bytes(250),)))
    assert [(len(p), packetizer.ticks(p)) for p in payloads] == [(100, 50), (100, 50), (50, 25)]


@pytest.mark.parametrize(("rate", "channels"), [(0, 1), (-1, 1), (1 << 40, 1), (8000, 0), (8000, 255)])
def test_d3_impossible_rates_and_channels(rate: int, channels: int) -> None:
    with pytest.raises(ProtocolViolation):
        BINDING.accept(RtpFormat("PCMA", rate, channels))


def test_flv_has_only_8000_hz() -> None:
    assert G711Flv(7).config_record(G711Config()) is None
    with pytest.raises(ProtocolViolation):
        G711Flv(7).config_record(G711Config(1, 16000))
