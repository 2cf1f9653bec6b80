"""VP9: RTP of real streams both ways, FLV, loss and truncated descriptors."""

from __future__ import annotations

import pytest

from penstock.errors import ProtocolViolation
from penstock.registry import VideoInfo
from penstock_codecs.vp9 import VP9, Vp9Config
from penstock_codecs.vp9.flv import Vp9Flv
from penstock_codecs.vp9.info import Vp9Info
from penstock_codecs.vp9.rtp import Vp9Rtp
from penstock_formats.rtp import RtpFormat

from . import captures

FMT = RtpFormat("VP9", 90000)
FRAMES = captures.flv_bodies("vp9", 5)[1]
CONFIG = Vp9Flv().implied_config(FRAMES[0], 0, 0)


@pytest.mark.parametrize("name", ["ffmpeg-vp9", "gst-vp9"])
def test_rtp_from_real_senders(name: str) -> None:
    units = captures.depacketize(Vp9Rtp().depacketizer(FMT), captures.rtp(name))
    assert [u.units[0] for u in units] == FRAMES
    assert [u.config for u in units if u.config] == [CONFIG]
    assert [n for n, u in enumerate(units) if u.key] == [0, 8]


@pytest.mark.parametrize("most", [20, 150, 1200])
def test_there_and_back(most: int) -> None:
    assert CONFIG is not None
    frames = [captures.frame(VP9, CONFIG, (data,), n in (0, 8)) for n, data in enumerate(FRAMES)]
    packetizer = Vp9Rtp().packetizer(frames[0].track, most)
    back = captures.through(packetizer, Vp9Rtp().depacketizer(FMT), frames, most)
    assert [(u.units, u.key) for u in back] == [(f.units, f.key) for f in frames]


def test_flv_tells_the_size_with_the_first_key_frame() -> None:
    binding = Vp9Flv()
    assert CONFIG is not None
    config = binding.parse_config(binding.config_record(CONFIG))
    assert Vp9Info().describe(config) is None
    unit = binding.decode(FRAMES[0], True, config)
    assert unit.key
    assert unit.config is not None
    assert Vp9Info().describe(unit.config) == VideoInfo(160, 120)
    assert not binding.decode(FRAMES[1], True, CONFIG).key
    assert binding.encode(captures.frame(VP9, CONFIG, unit.units)) == FRAMES[0]
    assert isinstance(unit.config, Vp9Config)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x0c",
        b"\x8c",
        b"\xdc\1\1\1\1\0",
        b"\x0e\xf8",
        b"\x0e\x08\xff",
        b"\x0c\0\0",
        b"\x0c\x82\0\0\0\0\0\0\0",
    ],
)
def test_p12_truncated_descriptors_and_frames(payload: bytes) -> None:
    depacketizer = Vp9Rtp().depacketizer(FMT)
    with pytest.raises(ProtocolViolation):
        depacketizer.push(payload, 0, True, False)


def test_a_loss_drops_its_frame_and_no_more() -> None:
    assert CONFIG is not None
    packetizer = Vp9Rtp().packetizer(captures.frame(VP9, CONFIG, ()).track, 100)
    depacketizer = Vp9Rtp().depacketizer(FMT)
    got: list[bytes] = []
    for n, data in enumerate(FRAMES[:3]):
        payloads = packetizer.packetize(captures.frame(VP9, CONFIG, (data,), n == 0))
        skip = 1 if n == 1 else len(payloads)
        for i, payload in enumerate(payloads):
            if i != skip:
                got += [
                    u.units[0] for u in depacketizer.push(payload, n, i == len(payloads) - 1, i == skip + 1)
                ]
    assert got == [FRAMES[0], FRAMES[2]]
