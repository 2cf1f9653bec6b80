"""VP8 and VP9: RTP of real streams both ways, FLV, loss and truncated descriptors."""

from __future__ import annotations

import pytest
from attrs import frozen

from penstock.errors import ProtocolViolation
from penstock.media import Codec, CodecConfig
from penstock.registry import CodecInfo, VideoInfo
from penstock_codecs.vp8 import VP8, Vp8Config
from penstock_codecs.vp8.flv import Vp8Flv
from penstock_codecs.vp8.info import Vp8Info
from penstock_codecs.vp8.rtp import Vp8Rtp
from penstock_codecs.vp9 import VP9, Vp9Config
from penstock_codecs.vp9.flv import Vp9Flv
from penstock_codecs.vp9.info import Vp9Info
from penstock_codecs.vp9.rtp import Vp9Rtp
from penstock_formats.flv import FlvBinding
from penstock_formats.rtp import Depacketizer, RtpBinding, RtpFormat

from . import captures


@frozen
class Clip:
    """One codec with its bindings, and the 160x120 clip of it, whose key frames are 0 and 8."""

    codec: Codec
    config_class: type[CodecConfig]
    rtp: RtpBinding
    flv: FlvBinding
    info: CodecInfo
    frames: list[bytes]

    @property
    def config(self) -> CodecConfig:
        config = self.flv.implied_config(self.frames[0], 0, 0)
        assert config is not None
        return config

    def depacketizer(self) -> Depacketizer:
        return self.rtp.depacketizer(RtpFormat(self.codec.name.upper(), 90000))


CLIPS = {
    "vp8": Clip(VP8, Vp8Config, Vp8Rtp(), Vp8Flv(), Vp8Info(), captures.ivf("vp8")),
    "vp9": Clip(VP9, Vp9Config, Vp9Rtp(), Vp9Flv(), Vp9Info(), captures.flv_bodies("vp9", 5)[1]),
}


@pytest.fixture(params=CLIPS)
def clip(request: pytest.FixtureRequest) -> Clip:
    return CLIPS[request.param]


@pytest.mark.parametrize("sender", ["ffmpeg", "gst"])
def test_rtp_from_real_senders(clip: Clip, sender: str) -> None:
    units = captures.depacketize(clip.depacketizer(), captures.rtp(f"{sender}-{clip.codec.name}"))
    assert [u.units[0] for u in units] == clip.frames
    assert [u.config for u in units if u.config] == [clip.config]
    assert [n for n, u in enumerate(units) if u.key] == [0, 8]


@pytest.mark.parametrize("most", [20, 150, 1200])
def test_there_and_back(clip: Clip, most: int) -> None:
    frames = [
        captures.frame(clip.codec, clip.config, (data,), n in (0, 8)) for n, data in enumerate(clip.frames)
    ]
    packetizer = clip.rtp.packetizer(frames[0].track, most)
    back = captures.through(packetizer, clip.depacketizer(), frames, most)
    assert [(u.units, u.key) for u in back] == [(f.units, f.key) for f in frames]


def test_vp9_has_no_references_in_its_packets() -> None:
    # FFmpeg's receiver does not pass over them: each packet of a picture became a byte longer.
    clip = CLIPS["vp9"]
    frames = [
        captures.frame(clip.codec, clip.config, (data,), n in (0, 8)) for n, data in enumerate(clip.frames)
    ]
    packetizer = clip.rtp.packetizer(frames[0].track, 100)
    for number, frame in enumerate(frames):
        payloads = packetizer.packetize(frame)
        head = [payload[0] & 0x70 for payload in payloads]
        assert head == [0x00 if frame.key else 0x40] * len(payloads), "P as it is; neither L nor F"
        # Behind the picture id: the scalability structure of a key frame, or the frame's own bytes.
        own = payloads[0][3:]
        if frame.key:
            # N_S 0, Y, G; 160 x 120; one picture in the group, which refers to the one before.
            assert own[:8] == bytes.fromhex("1800a00078010401")
            own = own[8:]
        assert b"".join([own, *(payload[3:] for payload in payloads[1:])]) == clip.frames[number]


def test_flv_tells_the_size_with_the_first_key_frame(clip: Clip) -> None:
    binding = clip.flv
    record = binding.config_record(clip.config)
    assert record is not None
    config = binding.parse_config(record)
    assert clip.info.describe(config) is None
    unit = binding.decode(clip.frames[0], True, config)
    assert unit.key
    assert unit.config is not None
    assert clip.info.describe(unit.config) == VideoInfo(160, 120)
    assert not binding.decode(clip.frames[1], True, clip.config).key
    assert binding.encode(captures.frame(clip.codec, clip.config, unit.units)) == clip.frames[0]
    assert isinstance(unit.config, clip.config_class)


BAD_PAYLOADS = {
    "vp8": [
        b"",
        b"\x10",
        b"\x90",
        b"\x90\x80",
        b"\x90\xf0\x80\1\2",
        b"\x10\0\0\0\0\0\0\0\0\0\0",
        b"\x10\1",
    ],
    "vp9": [
        b"",
        b"\x0c",
        b"\x8c",
        b"\xdc\1\1\1\1\0",
        b"\x0e\xf8",
        b"\x0e\x08\xff",
        b"\x0c\0\0",
        b"\x0c\x82\0\0\0\0\0\0\0",
    ],
}


@pytest.mark.parametrize(
    ("name", "payload"), [(name, payload) for name, payloads in BAD_PAYLOADS.items() for payload in payloads]
)
def test_p12_truncated_descriptors_and_frames(name: str, payload: bytes) -> None:
    depacketizer = CLIPS[name].depacketizer()
    with pytest.raises(ProtocolViolation):
        depacketizer.push(payload, 0, True, False)


def test_a_loss_drops_its_frame_and_no_more(clip: Clip) -> None:
    packetizer = clip.rtp.packetizer(captures.frame(clip.codec, clip.config, ()).track, 100)
    depacketizer = clip.depacketizer()
    got: list[bytes] = []
    for n, data in enumerate(clip.frames[:3]):
        payloads = packetizer.packetize(captures.frame(clip.codec, clip.config, (data,), n == 0))
        skip = 1 if n == 1 else len(payloads)
        for i, payload in enumerate(payloads):
            if i != skip:
                got += [
                    u.units[0] for u in depacketizer.push(payload, n, i == len(payloads) - 1, i == skip + 1)
                ]
    assert got == [clip.frames[0], clip.frames[2]]
