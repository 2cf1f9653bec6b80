from __future__ import annotations

import pytest

from penstock.errors import ProtocolViolation
from penstock.media import Track
from penstock.registry import Registry
from penstock_codecs.h265 import H265, H265Config, normalize, plugin
from penstock_codecs.h265.unit import begins_picture, is_slice
from penstock_formats.rtp.binding import RTP, AccessUnit, RtpFormat
from tests.codecs.h26x import access_units, frame, push_all, rtp_packets

REGISTRY = Registry()
plugin.register(registry=REGISTRY)
rtp = REGISTRY.get(H265, RTP)
assert rtp is not None

FORMAT = RtpFormat(
    "H265",
    90000,
    fmtp={
        "sprop-vps": "QAEMAf//AWAAAAMAkAAAAwAAAwA8lZgJ",
        "sprop-sps": "QgEBAWAAAAMAkAAAAwAAAwA8oAoIC595ZWaSTK8BaAgAAAMACAAAAwDIQA==",
        "sprop-pps": "RAHBcrRiQA==",
    },
)
CONFIG = rtp.accept(FORMAT)[1]
TRACK = Track(0, H265, 90000, CONFIG)
BARE = RtpFormat("H265", 90000)
FIRST = b"\x02\x01\xd0\x10"
SECOND = b"\x02\x01\x50\x10"


def normal_units() -> list[tuple[tuple[bytes, ...], bool]]:
    config: H265Config | None = None
    out: list[tuple[tuple[bytes, ...], bool]] = []
    for nals in access_units("x265.h265", is_slice, begins_picture):
        units, key, changed = normalize(nals, config)
        config = changed or config
        out.append((units, key))
    return out


def test_sdp_reads_back() -> None:
    assert rtp is not None
    assert rtp.describe(TRACK) == FORMAT
    assert rtp.describe(Track(0, H265, 90000)) == BARE
    assert rtp.accept(BARE) == (H265, None)
    assert rtp.accept(RtpFormat("H265", 90000, fmtp={"sprop-max-don-diff": "0"})) == (H265, None)
    with pytest.raises(ProtocolViolation):
        rtp.accept(RtpFormat("H265", 90000, fmtp={"sprop-max-don-diff": "2"}))


@pytest.mark.parametrize("limit", [64, 600, 1200, 65000])
def test_real_streams_read_back(limit: int) -> None:
    assert rtp is not None
    packetizer, depacketizer = rtp.packetizer(TRACK, limit), rtp.depacketizer(BARE)
    for index, (nals, key) in enumerate(normal_units()):
        payloads = packetizer.packetize(frame(TRACK, nals, key))
        assert max(map(len, payloads)) <= limit
        packets = [(payload, index, number == len(payloads) - 1) for number, payload in enumerate(payloads)]
        assert push_all(depacketizer, packets) == [
            AccessUnit(index, nals, key, CONFIG if index == 0 else None)
        ]


def test_what_ffmpeg_sends() -> None:
    assert rtp is not None
    got = push_all(rtp.depacketizer(FORMAT), rtp_packets("ffmpeg-h265.rtp"))
    assert [(u.units, u.key) for u in got] == normal_units()


def test_aggregates_take_the_lowest_layer_and_temporal_id() -> None:
    assert rtp is not None
    units = (b"\x4e\x03\x80", b"\x4e\x02\x80", FIRST)
    payloads = rtp.packetizer(TRACK, 1200).packetize(frame(TRACK, units, False))
    assert payloads == [bytes.fromhex("6002 0003 4e0380 0003 4e0280"), FIRST]


def test_fragments_carry_the_header() -> None:
    assert rtp is not None
    nal = b"\x02\x03" + b"\x81" * 124
    payloads = rtp.packetizer(TRACK, 64).packetize(frame(TRACK, (nal,), False))
    assert [payload[:3].hex() for payload in payloads] == ["620381", "620301", "620341"]
    assert [len(payload) for payload in payloads] == [64, 64, 5]
    packets = [(payload, 7, False) for payload in payloads]
    assert push_all(rtp.depacketizer(FORMAT), packets) == [AccessUnit(7, (nal,), False)]


@pytest.mark.parametrize(
    "payloads",
    [
        ["620101d0"],
        ["620181d0", "620181d0"],
        ["620181d0", "620102d0"],
        ["620181d0", "0201d010"],
        ["6201c1d0"],
        ["620181"],
        ["6201"],
        [""],
        ["60010000"],
        ["6001000540"],
        ["6001000140"],
        ["600100"],
        ["640100"],
        ["7e0100"],
        ["000001"],
    ],
)
def test_bad_payloads_are_refused_and_the_next_unit_is_good(payloads: list[str]) -> None:
    assert rtp is not None
    r = rtp.depacketizer(FORMAT)
    *good, bad = payloads
    for payload in good:
        r.push(bytes.fromhex(payload), 1, False, False)
    with pytest.raises(ProtocolViolation):
        r.push(bytes.fromhex(bad), 1, False, False)
    assert r.push(SECOND, 1, True, False) == []
    assert r.push(FIRST, 2, True, False) == [AccessUnit(2, (FIRST,), False)]


def test_a_loss_drops_the_rest_of_its_unit() -> None:
    assert rtp is not None
    r = rtp.depacketizer(FORMAT)
    assert r.push(SECOND, 1, True, True) == []
    assert r.push(b"\x62\x01\x81\xd0", 2, False, True) == []
    assert r.push(b"\x62\x01\x41\x10", 2, True, False) == [AccessUnit(2, (FIRST,), False)]


def test_byte_streams_in_payloads() -> None:
    assert rtp is not None
    packets = [(b"\x00\x00\x00\x01" + FIRST + b"\x00\x00\x01" + SECOND, 1, True)]
    assert push_all(rtp.depacketizer(FORMAT), packets) == [AccessUnit(1, (FIRST, SECOND), False)]
