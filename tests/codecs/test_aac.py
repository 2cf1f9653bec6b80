"""AAC: configs, both RTP payload formats against ffmpeg and GStreamer, and FLV."""

from __future__ import annotations

import pytest

from penstock.errors import ProtocolViolation
from penstock.registry import AudioInfo
from penstock_codecs.aac import AAC, AacConfig
from penstock_codecs.aac.flv import AacFlv
from penstock_codecs.aac.generic import MAX_SIZE_13, GenericDepacketizer, GenericFormat, GenericPacketizer
from penstock_codecs.aac.info import AacInfo
from penstock_codecs.aac.rtp import AacRtp
from penstock_formats.rtp import RtpFormat

from . import captures

HBR = {
    "mode": "AAC-hbr",
    "sizelength": "13",
    "indexlength": "3",
    "indexdeltalength": "3",
    "config": "121056E500",
}
GENERIC = RtpFormat("MPEG4-GENERIC", 44100, 2, HBR)
CLIP = captures.flv_frames(AacFlv(), "aac", 2)


@pytest.mark.parametrize(
    ("asc", "string", "info", "samples"),
    [
        ("1210", "mp4a.40.2", AudioInfo(44100, 2), 1024),
        ("1214", "mp4a.40.2", AudioInfo(44100, 2), 960),
        ("2b920800", "mp4a.40.5", AudioInfo(44100, 2), 2048),
        ("139056e5a0", "mp4a.40.5", AudioInfo(44100, 2), 2048),
        ("eb8a0800", "mp4a.40.29", AudioInfo(44100, 2), 2048),
        ("100004104107e66a0000000000000000000000", "mp4a.40.2", None, 1024),
    ],
)
def test_what_an_audio_specific_config_says(
    asc: str, string: str, info: AudioInfo | None, samples: int
) -> None:
    config = AacConfig.parse(bytes.fromhex(asc))
    assert AacInfo().codecs_string(config) == string
    assert AacInfo().samples((), config) == samples
    if info:
        assert AacInfo().describe(config) == info


@pytest.mark.parametrize("asc", ["", "12", "1680", "1708", "f950", "1250", "10000000000000000000"])
def test_bad_audio_specific_configs_are_refused(asc: str) -> None:
    with pytest.raises(ProtocolViolation):
        AacConfig.parse(bytes.fromhex(asc))


@pytest.mark.parametrize(("rate", "channels"), [(44100, 2), (48000, 8), (44101, 1)])
def test_a_config_of_rate_and_channels(rate: int, channels: int) -> None:
    config = AacConfig.lc(rate, channels)
    assert (config.sample_rate, config.channels) == (rate, channels)


@pytest.mark.parametrize("name", ["ffmpeg-aac", "gst-aac"])
def test_generic_from_real_senders(name: str) -> None:
    units = captures.depacketize(AacRtp().depacketizer(GENERIC), captures.rtp(name))
    # ffmpeg keeps the last packet for itself.
    assert len(units) >= 23
    assert [u.units for u in units] == [f[0] for f in CLIP[1]][: len(units)]


@pytest.mark.parametrize(
    ("name", "config"), [("ffmpeg-latm", "400024203fc0"), ("gst-latm", "40002420adca00")]
)
def test_latm_from_real_senders(name: str, config: str) -> None:
    fmt = RtpFormat("MP4A-LATM", 44100, 2, {"cpresent": "0", "config": config})
    units = captures.depacketize(AacRtp().depacketizer(fmt), captures.rtp(name))
    assert [u.units for u in units] == [f[0] for f in CLIP[1]]


@pytest.mark.parametrize("most", [24, 100, 1400])
def test_there_and_back_in_fragments(most: int) -> None:
    frames = [captures.frame(AAC, CLIP[0], units) for units, _ in CLIP[1]]
    back = captures.through(GenericPacketizer(most), AacRtp().depacketizer(GENERIC), frames, most)
    assert [u.units for u in back] == [f.units for f in frames]


def test_a_unit_of_more_than_13_bits_is_left_out() -> None:
    frame = captures.frame(AAC, CLIP[0], (bytes(MAX_SIZE_13 + 1),))
    assert GenericPacketizer(1400).packetize(frame) == []


def test_several_units_step_by_the_frame_length() -> None:
    depacketizer = AacRtp().depacketizer(GENERIC)
    units = depacketizer.push(b"\0\x20\0\x08\0\x10abc", 5000, True, False)
    assert [(u.timestamp, u.units) for u in units] == [(5000, (b"a",)), (6024, (b"bc",))]


def test_a_lost_fragment_drops_its_unit_and_no_more() -> None:
    frames = [captures.frame(AAC, CLIP[0], (bytes([n]) * 100,)) for n in range(3)]
    packetizer, depacketizer = GenericPacketizer(44), AacRtp().depacketizer(GENERIC)
    got: list[bytes] = []
    for n, frame in enumerate(frames):
        payloads = packetizer.packetize(frame)
        for i, payload in enumerate(payloads):
            if (n, i) != (1, 0):
                lost = (n, i) == (1, 1)
                got += [
                    u.units[0] for u in depacketizer.push(payload, n * 1024, i == len(payloads) - 1, lost)
                ]
    assert got == [frames[0].units[0], frames[2].units[0]]


@pytest.mark.parametrize(
    "payload", [b"", b"\0", b"\0\0\0", b"\0\x11a", b"\xff\xffabc", b"\0\x10\0\0", b"\0\x20\0\x08\0\x01ab"]
)
def test_p11_bad_au_headers(payload: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        AacRtp().depacketizer(GENERIC).push(payload, 0, True, False)


def test_headers_of_no_width_come_to_an_end() -> None:
    fmt = GenericFormat(0, 3, 0)
    depacketizer = GenericDepacketizer(fmt, 44100, 1024, 44100)
    assert depacketizer.push(b"\0\x20\0\0\0\0abc", 0, True, False)[0].units == (b"abc",)


def test_the_description_is_accepted_again() -> None:
    track = captures.frame(AAC, CLIP[0], ()).track
    assert AacRtp().accept(AacRtp().describe(track)) == (AAC, CLIP[0])


def test_flv_round_trip() -> None:
    record, bodies = captures.flv_bodies("aac", 2)
    assert AacFlv().config_record(CLIP[0]) == record
    assert [AacFlv().encode(captures.frame(AAC, CLIP[0], units)) for units, _ in CLIP[1]] == bodies
