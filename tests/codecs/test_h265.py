from __future__ import annotations

from base64 import b64decode

import pytest

from penstock.errors import ProtocolViolation
from penstock.media import Track
from penstock.registry import INFO, Registry, VideoInfo
from penstock_codecs.h265 import H265, H265Config, normalize, plugin
from penstock_codecs.h265.config import merge
from penstock_codecs.h265.profile import Profile
from penstock_codecs.h265.unit import begins_picture, is_slice
from penstock_formats.flv.binding import FLV
from penstock_formats.nal import join_lengths
from tests.codecs.h26x import H265_FULL_SPS, access_units, frame

REGISTRY = Registry()
plugin.register(registry=REGISTRY)
info = REGISTRY.get(H265, INFO)
flv = REGISTRY.get(H265, FLV)

# Of x265, 1920x1080 at 30000/1001 and 320x180 at 25; ffprobe says has_b_frames=2 of both.
VPS = b64decode("QAEMAf//AWAAAAMAkAAAAwAAAwB4lZQJ")
SPS = b64decode("QgEBAWAAAAMAkAAAAwAAAwB4oAPAgBEHy5ZWVKTC8BaAgAAB9IAAOpgE")
PPS = b64decode("RAHAc8GJ")
SMALL_SPS = b64decode("QgEBAWAAAAMAkAAAAwAAAwA8oAoIC595ZWaSTK8BaAgAAAMACAAAAwDIQA==")
CONFIG = H265Config((VPS,), (SPS,), (PPS,))

IDR = b"\x28\x01\xaf\x10"
TRAIL = b"\x02\x01\xd0\x10"


def test_info_agrees_with_ffprobe() -> None:
    assert info is not None
    assert info.describe(CONFIG) == VideoInfo(1920, 1080, 30000 / 1001)
    assert info.reorder(CONFIG) == 2
    assert info.codecs_string(CONFIG) == "hvc1.1.6.L120.90"
    assert info.samples((), CONFIG) is None
    small = H265Config((VPS,), (SMALL_SPS,), (PPS,))
    assert info.describe(small) == VideoInfo(320, 180, 25.0)
    assert info.codecs_string(small) == "hvc1.1.6.L60.90"


def test_codecs_of_other_profiles() -> None:
    assert Profile(1, 1, 4, 0x08000000, 0xB00000000000, 153).codecs == "A4.10.H153.B0"
    assert Profile(0, 0, 2, 0x20000000, 0, 93).codecs == "2.4.L93"


def test_a_cut_vui_is_ignored() -> None:
    assert info is not None
    assert info.describe(H265Config((VPS,), (SPS[:-9],), (PPS,))) == VideoInfo(1920, 1080, None)


def test_a_record_is_what_ffmpeg_writes() -> None:
    assert flv is not None
    record = bytes.fromhex(
        "0101600000009000000000003cf000fcfdf8f800000f03a00001001840010c01ffff0160000003009000000300"
        "0003003c959809a10001002b42010101600000030090000003000003003ca00a080b9f796566924caf01680800"
        "0003000800000300c840a2000100074401c172b46240"
    )
    config = flv.parse_config(record)
    assert flv.config_record(config) == record


@pytest.mark.parametrize("length", [1, 2, 4])
def test_samples_have_the_lengths_that_the_record_names(length: int) -> None:
    assert flv is not None
    record = bytearray(flv.config_record(CONFIG) or b"")
    record[21] = record[21] & 0xFC | length - 1
    config = flv.parse_config(bytes(record))
    assert config == CONFIG
    assert flv.decode(join_lengths([IDR], length), True, config).units == (IDR,)


def test_bad_records_are_refused() -> None:
    assert flv is not None
    good = flv.config_record(CONFIG) or b""
    bad = [good[:n] for n in range(len(good))]
    bad += [b"\x02" + good[1:], good[:21] + b"\x0e" + good[22:], good[:22] + b"\x00"]
    bad += [good[:24] + b"\xff\xff" + good[26:], good[:26] + b"\xff\xff" + good[28:]]
    for record in bad:
        with pytest.raises(ProtocolViolation):
            flv.parse_config(record)


def test_records_with_sei_and_version_0() -> None:
    assert flv is not None
    good = flv.config_record(CONFIG) or b""
    record = b"\x00" + good[1:22] + b"\x04" + good[23:] + b"\x27\x00\x01\x00\x03\x4e\x01\x80"
    assert flv.parse_config(record) == CONFIG


def test_real_streams_normalize() -> None:
    config: H265Config | None = None
    units = access_units("x265.h265", is_slice, begins_picture)
    found: list[int] = []
    for index, nals in enumerate(units):
        normal, key, changed = normalize(nals, config)
        assert (changed is not None) == (index == 0)
        config = changed or config
        assert [nal for nal in nals if nal[0] >> 1 not in (32, 33, 34, 35)] == list(normal)
        if key:
            found.append(index)
    assert len(units) == 30
    assert found == [0, 11]


def test_what_is_stripped_makes_no_frame() -> None:
    aud, filler, end = b"\x46\x01\x50", b"\x4c\x01\xff\x80", b"\x48\x01"
    assert normalize([aud, VPS, SPS, PPS, filler, end, b"", b"\x26"], None) == ((), False, CONFIG)
    assert normalize([b"\x4e\x01\x80"], CONFIG) == ((), False, None)
    other_layer = b"\x02\x09\xd0\x10"
    assert normalize([VPS, IDR, other_layer, b"\x50\x01\x80"], CONFIG) == ((IDR, b"\x50\x01\x80"), True, None)
    assert normalize([TRAIL], CONFIG) == ((TRAIL,), False, None)


@pytest.mark.parametrize(("kind", "key"), [(15, False), (16, True), (19, True), (21, True), (22, False)])
def test_irap_pictures_are_key(kind: int, key: bool) -> None:
    assert normalize([bytes((kind << 1, 1, 0x80))], CONFIG)[1] is key


def test_parameter_sets_merge_by_id() -> None:
    assert merge(None, [VPS, PPS]) is None
    assert merge(CONFIG, [PPS, SPS + b"\x00", VPS]) is None
    assert merge(CONFIG, [SMALL_SPS]) == H265Config((VPS,), (SMALL_SPS,), (PPS,))
    other = b"\x40\x01\x1c\x01"
    assert merge(CONFIG, [other]) == H265Config((VPS, other), (SPS,), (PPS,))
    for bad in (b"\x40\x01", b"\x42\x01", b"\x44\x01", b"\x44", b"\x02\x01\x80"):
        with pytest.raises(ProtocolViolation):
            merge(CONFIG, [bad])


def test_flv_frames_read_back_and_change_config_in_band() -> None:
    assert flv is not None
    coded = flv.encode(frame(Track(0, H265, 90000, CONFIG), (IDR,), True))
    unit = flv.decode(coded, True, CONFIG)
    assert (unit.units, unit.key, unit.config) == ((IDR,), True, None)
    unit = flv.decode(join_lengths([SMALL_SPS, TRAIL]), False, CONFIG)
    assert (unit.units, unit.key, unit.config) == ((TRAIL,), False, H265Config((VPS,), (SMALL_SPS,), (PPS,)))


def test_an_sps_with_everything() -> None:
    assert info is not None
    config = H265Config((VPS,), (H265_FULL_SPS,), (PPS,))
    assert info.describe(config) == VideoInfo(320, 180, 50.0, transfer=0)
    assert info.reorder(config) == 2


def test_a_config_without_sps_is_refused() -> None:
    assert info is not None
    with pytest.raises(ProtocolViolation):
        info.describe(H265Config((), (), ()))
    with pytest.raises(TypeError):
        info.describe(object())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("sei", "key"),
    [
        ("4e01 0601 d0 80", True),
        ("4e01 0502 ffff 0601 20 80", True),
        ("4e01 0501 ff 80", False),
        ("5001 0601 d0", False),
    ],
)
def test_recovery_points_are_places_to_start(sei: str, key: bool) -> None:
    """x265's gradual refresh (D.3.8) has no other key frame after the first; a suffix SEI is about something else."""
    assert normalize([bytes.fromhex(sei), TRAIL], CONFIG)[1] is key
