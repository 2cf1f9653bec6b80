from __future__ import annotations

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import ProtocolViolation
from penstock.media import Track
from penstock.registry import Registry
from penstock_codecs.h264 import H264, H264Config, normalize, plugin
from penstock_codecs.h264.unit import begins_picture, is_slice
from penstock_formats.nal import MAX_NALS
from penstock_formats.nal.depacketizer import MAX_ACCESS_UNIT, MAX_FRAGMENTS
from penstock_formats.rtp.binding import RTP, AccessUnit, Depacketizer, RtpFormat
from tests.codecs.h26x import access_units, frame, push_all, rtp_packets

REGISTRY = Registry()
plugin.register(registry=REGISTRY)
rtp = REGISTRY.get(H264, RTP)
assert rtp is not None

SPROP = "Z2QADKzZQUGfnwEQAAADABAAAAMDIPFCmWA=,aO+DnLA="
FORMAT = RtpFormat("H264", 90000, fmtp={"packetization-mode": "1", "sprop-parameter-sets": SPROP})
CONFIG = rtp.accept(FORMAT)[1]
TRACK = Track(0, H264, 90000, CONFIG)
BARE = RtpFormat("H264", 90000)

IDR = b"\x65\x88\x84"
FIRST = b"\x41\x9a\x01"
SECOND = b"\x41\x1a\x02"


def reader(fmt: RtpFormat = FORMAT) -> Depacketizer:
    assert rtp is not None
    return rtp.depacketizer(fmt)


def unit(timestamp: int, *units: bytes, key: bool = False) -> AccessUnit:
    return AccessUnit(timestamp, units, key)


def normal_units(name: str) -> tuple[Track, list[tuple[tuple[bytes, ...], bool]]]:
    config: H264Config | None = None
    out: list[tuple[tuple[bytes, ...], bool]] = []
    for nals in access_units(name, is_slice, begins_picture):
        units, key, changed = normalize(nals, config)
        config = changed or config
        out.append((units, key))
    return Track(0, H264, 90000, config), out


def test_sdp_reads_back() -> None:
    assert rtp is not None
    described = rtp.describe(TRACK)
    assert described.fmtp == {
        "packetization-mode": "1",
        "profile-level-id": "64000C",
        "sprop-parameter-sets": SPROP,
    }
    assert rtp.accept(described) == (H264, CONFIG)
    assert rtp.describe(Track(0, H264, 90000)).fmtp == {"packetization-mode": "1"}
    assert rtp.accept(BARE) == (H264, None)


@pytest.mark.parametrize(
    "fmtp",
    [
        {"packetization-mode": "2"},
        {"sprop-parameter-sets": "Z2Q*"},
        {"sprop-parameter-sets": "Zö=="},
        {"sprop-parameter-sets": "Z"},
        {"sprop-parameter-sets": "," * 100_000},
        {"sprop-parameter-sets": "Zw=="},
    ],
)
def test_bad_sdp_is_refused(fmtp: dict[str, str]) -> None:
    assert rtp is not None
    with pytest.raises(ProtocolViolation):
        rtp.accept(RtpFormat("H264", 90000, fmtp=fmtp))


def test_sdp_of_careless_cameras() -> None:
    assert rtp is not None
    sps, pps = SPROP.split(",")
    for value in (f"{sps.rstrip('=')}, {pps},", f"{sps},,{pps}", f"{sps},{pps},aGk="[:-5], f"Bg==,{SPROP}"):
        assert rtp.accept(RtpFormat("H264", 90000, fmtp={"sprop-parameter-sets": value}))[1] == CONFIG


@pytest.mark.parametrize("name", ["x264.h264", "interlaced.h264", "open-gop.h264"])
@pytest.mark.parametrize("limit", [64, 600, 1200, 65000])
def test_real_streams_read_back(name: str, limit: int) -> None:
    assert rtp is not None
    track, units = normal_units(name)
    packetizer, depacketizer = rtp.packetizer(track, limit), rtp.depacketizer(BARE)
    for index, (nals, key) in enumerate(units):
        payloads = packetizer.packetize(frame(track, nals, key))
        assert max(map(len, payloads)) <= limit
        got: list[AccessUnit] = []
        for number, payload in enumerate(payloads):
            got += depacketizer.push(payload, index, number == len(payloads) - 1, False)
        assert got == [AccessUnit(index, nals, key, track.config if index == 0 else None)]


@given(st.lists(st.integers(2, 400), min_size=1, max_size=5), st.integers(64, 200), st.booleans())
def test_payload_sizes(sizes: list[int], limit: int, key: bool) -> None:
    assert rtp is not None
    nals = tuple(IDR[:1] + b"\x88" * (size - 1) for size in sizes)
    payloads = rtp.packetizer(TRACK, limit).packetize(frame(TRACK, nals, key))
    run: list[bytes] = []
    for payload in payloads:
        assert len(payload) <= limit
        if payload[0] & 31 == 28:
            run.append(payload)
            if payload[1] & 0x40:
                assert all(len(p) == limit for p in run[:-1])
                assert len(run) > 1
                run = []
    assert not run
    packets = [(payload, 0, False) for payload in payloads]
    assert push_all(reader(), packets) == [unit(0, *nals, key=True)]


def test_small_units_share_a_packet() -> None:
    assert rtp is not None
    payloads = rtp.packetizer(TRACK, 1200).packetize(frame(TRACK, (b"\x06\x05\x00\x80", IDR), True))
    assert [payload[0] & 31 for payload in payloads] == [24, 5]
    assert payloads[0][0] == 0x78
    payloads = rtp.packetizer(TRACK, 1200).packetize(
        frame(TRACK, (b"\x06" + bytes(3000), FIRST, SECOND), False)
    )
    assert [payload[0] & 31 for payload in payloads] == [28, 28, 28, 1, 1]
    with pytest.raises(ValueError, match="too small"):
        rtp.packetizer(TRACK, 10)


def test_what_ffmpeg_sends() -> None:
    _, units = normal_units("x264.h264")
    got = push_all(reader(), rtp_packets("ffmpeg-h264.rtp"))
    assert [(u.units, u.key) for u in got] == units
    assert got[0].config is None


def test_without_markers_a_unit_ends_at_the_next_timestamp() -> None:
    packets = [(FIRST, 1, False), (SECOND, 1, False), (FIRST, 2, False)]
    assert push_all(reader(), packets) == [unit(1, FIRST, SECOND), unit(2, FIRST)]


def test_markers_before_the_picture_end_nothing() -> None:
    sets = [nal for config in [CONFIG] if isinstance(config, H264Config) for nal in config.sps + config.pps]
    packets = [(nal, 1, True) for nal in [*sets, b"\x06\x05\x00\x80", IDR]]
    got = push_all(reader(BARE), packets)
    assert got == [AccessUnit(1, (b"\x06\x05\x00\x80", IDR), True, CONFIG)]


def test_markers_on_every_slice_are_seen_through() -> None:
    packets = [(nal, t, True) for t in (1, 2, 3) for nal in (FIRST, SECOND, SECOND)]
    got = push_all(reader(), packets)
    # The first picture is already out when its second slice shows what the markers are worth.
    assert got == [unit(1, FIRST), unit(2, FIRST, SECOND, SECOND), unit(3, FIRST, SECOND, SECOND)]


def test_pictures_of_one_timestamp_stay_apart() -> None:
    packets = [(FIRST, 1, False), (SECOND, 1, True), (FIRST, 1, False), (SECOND, 1, True)]
    assert push_all(reader(), packets) == [unit(1, FIRST, SECOND)] * 2


def test_a_loss_drops_the_rest_of_its_unit() -> None:
    r = reader()
    assert r.push(FIRST, 1, False, False) == []
    assert r.push(SECOND, 1, True, True) == []
    assert r.push(FIRST, 2, True, False) == [unit(2, FIRST)]
    # Lost between two units, and the second is not seen to begin.
    assert r.push(SECOND, 3, False, True) == []
    assert r.push(SECOND, 3, True, False) == []
    # Lost before what is seen to begin.
    assert r.push(FIRST, 4, False, True) == []
    assert r.push(SECOND, 4, True, False) == [unit(4, FIRST, SECOND)]
    assert r.push(b"\x7c\x85\x88", 5, False, True) == []
    assert r.push(b"\x7c\x45\x84", 5, True, False) == [unit(5, b"\x65\x88\x84", key=True)]
    # The end of one and the start of the next.
    assert r.push(b"\x5c\x81\x9a", 6, False, False) == []
    assert r.push(b"\x5c\x41\x01", 7, True, True) == []
    assert r.push(FIRST, 8, True, False) == [unit(8, FIRST)]


def test_an_unfinished_fragment_falls_with_its_unit() -> None:
    r = reader()
    assert r.push(b"\x5c\x81\x9a", 1, True, False) == []
    assert r.push(FIRST, 2, True, False) == [unit(2, FIRST)]
    assert r.push(b"\x5c\x81\x9a", 3, False, False) == []
    assert r.flush() == []


@pytest.mark.parametrize(
    "payloads",
    [
        ["5c019a"],
        ["5c419a"],
        ["5c819a", "5c819a"],
        ["5c819a", "5c059a"],
        ["5c819a", "419a"],
        ["5c81"],
        ["5cc19a"],
        [""],
        ["7800"],
        ["78"],
        ["780000"],
        ["78000567"],
        ["790000000167"],
        ["1a00"],
        ["1d00"],
        ["1e00"],
        ["0000"],
        ["00000001"],
    ],
)
def test_bad_payloads_are_refused_and_the_next_unit_is_good(payloads: list[str]) -> None:
    r = reader()
    *good, bad = payloads
    for payload in good:
        r.push(bytes.fromhex(payload), 1, False, False)
    with pytest.raises(ProtocolViolation):
        r.push(bytes.fromhex(bad), 1, False, False)
    assert r.push(SECOND, 1, True, False) == []
    assert r.push(FIRST, 2, True, False) == [unit(2, FIRST)]


def test_a_bad_parameter_set_costs_its_unit_only() -> None:
    r = reader()
    r.push(b"\x67\x42", 1, False, False)
    r.push(IDR, 1, False, False)
    with pytest.raises(ProtocolViolation):
        r.push(FIRST, 2, False, False)
    assert r.push(SECOND, 2, True, False) == []
    assert r.push(FIRST, 3, True, False) == [unit(3, FIRST)]


def test_byte_streams_in_payloads() -> None:
    assert push_all(reader(), [(b"\x00\x00\x00\x01" + FIRST + b"\x00\x00\x01" + SECOND, 1, True)]) == [
        unit(1, FIRST, SECOND)
    ]


@pytest.mark.parametrize(
    ("payload", "count", "limit"),
    [
        (b"\x5c\x01" + bytes(1 << 20), 8, MAX_ACCESS_UNIT),
        (b"\x5c\x01\x00", MAX_FRAGMENTS, MAX_FRAGMENTS),
        (SECOND, MAX_NALS + 1, MAX_NALS),
    ],
)
def test_units_without_end_are_refused(payload: bytes, count: int, limit: int) -> None:
    r = reader()
    if payload != SECOND:
        r.push(b"\x5c\x81\x9a", 1, False, False)
    for _ in range(count - 1):
        r.push(payload, 1, False, False)
    with pytest.raises(ProtocolViolation, match=str(limit)):
        r.push(payload, 1, False, False)


def test_a_resolution_change_in_band() -> None:
    r = reader()
    sps = bytes.fromhex("6742c00cda05067e7c0440000003004000000c83c50aa8")
    r.push(sps, 1, False, False)
    (got,) = r.push(IDR, 1, True, False)
    assert isinstance(CONFIG, H264Config)
    assert got.config == H264Config((sps,), CONFIG.pps)
    (again,) = r.push(IDR, 2, True, False)
    assert again.config is None


def test_parameter_sets_that_change_at_no_key_frame_are_sent_there() -> None:
    assert rtp is not None
    changed = evolve(H264Config.of(CONFIG), pps=(b"\x68\xce\x38\x80",))
    packetizer, depacketizer = rtp.packetizer(TRACK, 1200), reader()
    got: list[AccessUnit] = []
    for number, (config, nal) in enumerate(
        [(CONFIG, IDR), (CONFIG, FIRST), (changed, FIRST), (changed, FIRST), (CONFIG, FIRST)]
    ):
        sent = packetizer.packetize(frame(Track(0, H264, 90000, config), (nal,), nal is IDR))
        assert len(sent) == (1 if number in (1, 3) else 2)
        got += [
            u for i, p in enumerate(sent) for u in depacketizer.push(p, number, i + 1 == len(sent), False)
        ]
    assert [u.config for u in got] == [None, None, changed, None, CONFIG]
    assert [u.units for u in got] == [(IDR,), (FIRST,), (FIRST,), (FIRST,), (FIRST,)]
