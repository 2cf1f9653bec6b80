"""MP3: headers, RTP against ffmpeg and GStreamer, and FLV."""

from __future__ import annotations

import pytest

from penstock.errors import ProtocolViolation
from penstock_codecs.mp3 import MP3, FrameHeader, Mp3Config
from penstock_codecs.mp3.flv import Mp3Flv
from penstock_codecs.mp3.info import Mp3Info
from penstock_codecs.mp3.rtp import Mp3Packetizer, Mp3Rtp
from penstock_formats.rtp import RtpFormat

from . import captures

CLIP = captures.flv_frames(Mp3Flv(), "mp3", 1, lambda data: Mp3Flv().implied_config(data, 44100, 2))
FMT = RtpFormat("MPA", 90000)


@pytest.mark.parametrize("name", ["ffmpeg-mp3", "gst-mp3"])
def test_rtp_from_real_senders(name: str) -> None:
    units = captures.depacketize(Mp3Rtp().depacketizer(FMT), captures.rtp(name))
    assert [u.units for u in units] == [f[0] for f in CLIP[1]]
    assert [u.config for u in units if u.config] == [Mp3Config(44100, 2)]


@pytest.mark.parametrize("most", [104, 300, 1400])
def test_there_and_back(most: int) -> None:
    frames = [captures.frame(MP3, CLIP[0], units) for units, _ in CLIP[1]]
    back = captures.through(Mp3Packetizer(most), Mp3Rtp().depacketizer(FMT), frames, most)
    assert [u.units for u in back] == [f.units for f in frames]


@pytest.mark.parametrize(
    ("header", "rate", "channels", "version", "size"),
    [("fffb9064", 44100, 2, 1.0, 417), ("fff384c4", 24000, 1, 2.0, 192), ("ffe318c4", 8000, 1, 2.5, 72)],
)
def test_headers(header: str, rate: int, channels: int, version: float, size: int) -> None:
    assert FrameHeader.parse(bytes.fromhex(header)) == FrameHeader(Mp3Config(rate, channels, version), size)


@pytest.mark.parametrize(
    "header", ["", "fffb90", "00000000", "fffd9064", "fffb0064", "fffbf064", "fffb9c64", "ffeb9064"]
)
def test_bad_headers(header: str) -> None:
    with pytest.raises(ProtocolViolation):
        FrameHeader.parse(bytes.fromhex(header))


def test_names_and_durations() -> None:
    assert Mp3Info().codecs_string(Mp3Config(44100, 2)) == "mp4a.6B"
    assert Mp3Info().codecs_string(Mp3Config(22050, 2, 2.0)) == "mp4a.69"
    assert Mp3Info().samples((b"",), Mp3Config(22050, 2, 2.0)) == 576


def test_what_metadata_foretells() -> None:
    flv = Mp3Flv()
    for rate, version in ((44100, 1.0), (24000, 2.0), (8000, 2.5)):
        assert flv.implied_config(b"", rate, 1) == Mp3Config(rate, 1, version)
    for rate, channels in ((44000, 2), (44100, 0), (44100, 3)):
        with pytest.raises(ProtocolViolation):
            flv.implied_config(b"", rate, channels)
