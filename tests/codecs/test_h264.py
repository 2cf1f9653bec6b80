from __future__ import annotations

from base64 import b64decode

import pytest
from attrs import evolve

from penstock.errors import ProtocolViolation
from penstock.media import Track
from penstock.registry import INFO, Registry, VideoInfo
from penstock_codecs.h264 import H264, H264Config, normalize, plugin
from penstock_codecs.h264.config import merge
from penstock_codecs.h264.level import max_dpb_frames
from penstock_codecs.h264.unit import begins_picture, is_slice
from penstock_formats.flv.binding import FLV
from penstock_formats.nal import join_lengths
from penstock_formats.nal.sei import has_recovery_point
from tests.codecs.h26x import H264_FULL_SPS, H264_LEVEL_1B_SPS, access_units, bits, frame, golomb

REGISTRY = Registry()
plugin.register(registry=REGISTRY)
info = REGISTRY.get(H264, INFO)
flv = REGISTRY.get(H264, FLV)

PPS = b"\x68\xef\x83\x9c\xb0"

# Of x264 with the profile and size named, and what ffprobe says of the stream: size, rate, has_b_frames.
STREAMS = {
    "baseline": ("Z0LADNoFBn58BEAAAAMAQAAADIPFCqg=", VideoInfo(320, 180, 25.0), 0, "avc1.42c00c"),
    "1080p": ("Z0LAKNoB4AiflwEQAAADABAAAAMDwPGDKg==", VideoInfo(1920, 1080, 30.0), 0, "avc1.42c028"),
    "interlaced": ("Z2QAFazZQUM/JgIgAAADACAAAAZD4oUywA==", VideoInfo(320, 180, 25.0), 2, "avc1.640015"),
    "4:2:2": ("Z3oADLbNlBQZ+NwEQAAAAwBAAAAMg8UKZYA=", VideoInfo(320, 180, 25.0), 2, "avc1.7a000c"),
    "4:4:4, HRD": (
        "Z/QADJGbKCgz8bgIgAAAAwCAAAAZMBAAkngAJJ9JBgDxQplg",
        VideoInfo(320, 180, 25.0),
        2,
        "avc1.f4000c",
    ),
}


@pytest.mark.parametrize("name", STREAMS)
def test_info_agrees_with_ffprobe(name: str) -> None:
    assert info is not None
    sps, video, reorder, codecs = STREAMS[name]
    config = H264Config((b64decode(sps),), (PPS,))
    assert info.describe(config) == video
    assert info.reorder(config) == reorder
    assert info.codecs_string(config) == codecs
    assert info.samples((), config) is None


@pytest.mark.parametrize("name", STREAMS)
def test_records_read_back(name: str) -> None:
    assert flv is not None
    config = H264Config((b64decode(STREAMS[name][0]),), (PPS, b"\x68\x40\x80"))
    record = flv.config_record(config)
    assert record is not None
    assert flv.parse_config(record) == config


def test_a_record_is_what_ffmpeg_writes() -> None:
    assert flv is not None
    record = bytes.fromhex(
        "0164000cffe1001a6764000cacd941419f9f011000000300100000030320f142996001000568ef839cb0fdf8f800"
    )
    config = flv.parse_config(record)
    assert flv.config_record(config) == record


@pytest.mark.parametrize("length", [1, 2, 4])
def test_samples_have_the_lengths_that_the_record_names(length: int) -> None:
    assert flv is not None
    record = bytearray(flv.config_record(H264Config((b64decode(STREAMS["1080p"][0]),), (PPS,))) or b"")
    record[4] = 0xFC | length - 1
    config = flv.parse_config(bytes(record))
    assert config == flv.parse_config(flv.config_record(config) or b"")
    unit = flv.decode(join_lengths([b"\x09\xf0", b"\x65\x88"], length), True, config)
    assert unit.units == (b"\x65\x88",)


def test_bad_records_are_refused() -> None:
    assert flv is not None
    good = flv.config_record(H264Config((b64decode(STREAMS["1080p"][0]),), (PPS,))) or b""
    bad = [good[:n] for n in range(len(good) - 3)]
    bad += [b"\x02" + good[1:], good[:4] + b"\xfe" + good[5:]]
    bad += [
        good[:5] + b"\xff" + good[6:],
        good[:5] + b"\xe0" + b"\x00" * 9,
        good[:6] + b"\xff\xff" + good[8:],
    ]
    for record in bad:
        with pytest.raises(ProtocolViolation):
            flv.parse_config(record)


def test_reorder_without_bitstream_restriction() -> None:
    # 4.0, 1920x1088: 32768 / 8160 macroblocks; 1b by constraint_set3; a level that nobody defined.
    assert max_dpb_frames(100, 0, 40, 8160) == 4
    assert max_dpb_frames(66, 0x10, 11, 99) == 4
    assert max_dpb_frames(100, 0, 99, 8160) == 16
    assert max_dpb_frames(100, 0, 62, 99) == 16


def test_a_broken_vui_is_ignored() -> None:
    assert info is not None
    sps = b64decode(STREAMS["interlaced"][0])
    config = H264Config((sps[:-6],), (PPS,))
    video = info.describe(config)
    assert isinstance(video, VideoInfo)
    assert (video.width, video.height) == (320, 180)
    # 2.1: 4752 / (20 * 12) macroblocks, more than 16; but four reference frames.
    assert info.reorder(config) == 4


@pytest.mark.parametrize(
    ("name", "keys"),
    [("x264.h264", [0, 15]), ("interlaced.h264", [0, 15]), ("open-gop.h264", [0, 9, 24])],
)
def test_real_streams_normalize(name: str, keys: list[int]) -> None:
    units = access_units(name, is_slice, begins_picture)
    config: H264Config | None = None
    found: list[int] = []
    for index, nals in enumerate(units):
        normal, key, changed = normalize(nals, config)
        assert (changed is not None) == (index == 0)
        config = changed or config
        assert [nal for nal in nals if nal[0] & 31 in (1, 5, 6)] == list(normal)
        if key:
            found.append(index)
    assert len(units) == 30
    assert found == keys


def test_what_is_stripped_makes_no_frame() -> None:
    sps = b64decode(STREAMS["1080p"][0])
    units, key, config = normalize([b"\x09\xf0", sps, PPS, b"\x0c\xff\x80", b"\x0a", b"\x0b", b""], None)
    assert (units, key) == ((), False)
    assert config == H264Config((sps,), (PPS,))
    assert normalize([b"\x06\x05\x00\x80"], config) == ((), False, None)
    assert normalize([sps, PPS, b"\x65\x88\x00\x00", b"\x00"], config) == ((b"\x65\x88",), True, None)


def test_parameter_sets_merge_by_id() -> None:
    one, two = b64decode(STREAMS["1080p"][0]), b64decode(STREAMS["baseline"][0])
    config = merge(None, [one, PPS, b"\x68\x40\x80"])
    assert config == H264Config((one,), (PPS, b"\x68\x40\x80"))
    assert merge(config, [b"\x68\x40\x80", one + b"\x00\x00"]) is None
    assert merge(config, [two]) == H264Config((two,), (PPS, b"\x68\x40\x80"))
    assert merge(config, [b"\x68\xef"]) == H264Config((one,), (b"\x68\xef", b"\x68\x40\x80"))
    assert merge(None, [PPS]) is None
    assert merge(evolve(config, nal_length=2), [two]).nal_length == 2  # type: ignore[union-attr]
    with pytest.raises(ProtocolViolation):
        merge(config, [b"\x67"])


@pytest.mark.parametrize(
    ("sei", "found"),
    [
        ("06 06 01 c0 80", True),
        ("06 05 02 ffff 06 01 84 80", True),
        ("06 05 ff01" + "00" * 256 + "06 01 84 80", True),
        ("06 06 01 44 80", True),
        ("06 06 00 80", False),
        ("06 05 ff", False),
        ("06 ff", False),
        ("06", False),
        ("06" + "0000" * 200 + "06 01 84 80", False),
    ],
)
def test_recovery_points(sei: str, found: bool) -> None:
    """Also those of gradual refreshes, after which it takes some frames to a whole picture."""
    nal = bytes.fromhex(sei)
    assert has_recovery_point(nal, 1) is found
    assert normalize([nal, b"\x41\x9a"], None)[1] is found


def test_flv_frames_read_back_and_change_config_in_band() -> None:
    assert flv is not None
    one, two = b64decode(STREAMS["1080p"][0]), b64decode(STREAMS["baseline"][0])
    config = H264Config((one,), (PPS,))
    coded = flv.encode(frame(Track(0, H264, 90000, config), (b"\x06\x05\x00\x80", b"\x65\x88"), True))
    unit = flv.decode(coded, True, config)
    assert (unit.units, unit.key, unit.config) == ((b"\x06\x05\x00\x80", b"\x65\x88"), True, None)
    unit = flv.decode(join_lengths([two, PPS, b"\x41\x9a"]), True, config)
    assert (unit.units, unit.key, unit.config) == ((b"\x41\x9a",), False, H264Config((two,), (PPS,)))


def test_an_sps_with_everything() -> None:
    assert info is not None
    config = H264Config((H264_FULL_SPS,), (PPS,))
    assert info.describe(config) == VideoInfo(320, 182, transfer=0)
    assert info.reorder(config) == 4, "as many as reference frames"


def test_level_1b() -> None:
    assert info is not None
    config = H264Config((H264_LEVEL_1B_SPS,), (PPS,))
    assert info.describe(config) == VideoInfo(176, 144)
    assert info.reorder(config) == 4


@pytest.mark.parametrize(
    ("profile", "order_type", "references", "reorder"),
    [(77, 0, 0, 0), (77, 0, 1, 0), (77, 0, 2, 2), (77, 0, 16, 16), (77, 2, 16, 0), (66, 0, 16, 0)],
)
def test_reorder_without_vui(profile: int, order_type: int, references: int, reorder: int) -> None:
    """What the level allows, 16 frames of 176x144 at 3.0, is the most and not what an encoder without VUI does."""
    assert info is not None
    counter = golomb(0) if order_type == 0 else ""
    sps = bits(
        f"01100111 {profile:08b} 00000000 {30:08b}"
        + (golomb(0) * 2 + golomb(order_type) + counter + golomb(references) + "0")
        + (golomb(10) + golomb(8) + "1" + "1" + "0" + "0" + "1")
    )
    assert info.reorder(H264Config((sps,), (PPS,))) == reorder


def test_a_config_without_sps_is_refused() -> None:
    assert info is not None
    with pytest.raises(ProtocolViolation):
        info.describe(H264Config((), ()))
    with pytest.raises(TypeError):
        info.describe(object())  # type: ignore[arg-type]
