"""Transport, Session, Range and RTP-Info: rows T9 to T12."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from penstock.errors import ProtocolViolation
from penstock.media import NS
from penstock_rtsp.range import Range
from penstock_rtsp.rtp_info import RtpInfo, build_rtp_info, parse_rtp_info
from penstock_rtsp.session_header import SessionHeader
from penstock_rtsp.transport import Lower, Mode, Transport, parse_transports


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (
            "RTP/AVP/UDP;unicast;client_port=22438-22439;mode=record",
            (Transport(client_port=(22438, 22439), mode=Mode.RECORD),),
        ),
        ("RTP/AVP;unicast;client_port=5000", (Transport(client_port=(5000, 5001)),)),
        (
            'rtp/avp/tcp;unicast; interleaved=0-1;mode="RECEIVE";ssrc=0000000A',
            (Transport(Lower.TCP, interleaved=(0, 1), mode=Mode.RECORD, ssrc=10),),
        ),
        (
            'RTP/AVP/TCP;mode="PLAY,x",RTP/SAVP;multicast;destination=239.0.0.1;port=5000-5001;ttl=16',
            (
                Transport(Lower.TCP, mode=Mode.PLAY),
                Transport(profile="SAVP", multicast=True, destination="239.0.0.1", port=(5000, 5001), ttl=16),
            ),
        ),
        ("x-real-rdt/mcast;client_port=6970;mode=play,RTP/AVP/QUIC,RTP/AVP/TCP/1,", ()),
        ("RTP/AVP/TCP;ssrc= 12345678901;source=;append", (Transport(Lower.TCP),)),
    ],
)
def test_transports(value: str, found: tuple[Transport, ...]) -> None:
    assert parse_transports(value) == found
    assert parse_transports(",".join(t.build() for t in found)) == found


@pytest.mark.parametrize(
    "parameters",
    [
        "client_port=0-1",
        "client_port=53-54",
        "client_port=5001-5000",
        "client_port=70000",
        "client_port=65535",
        "client_port=-1",
        "client_port=",
        "interleaved=300-301",
        "interleaved=255",
        "interleaved=a",
        "mode=steal",
        "ttl=256",
        "destination=a b",
        'mode="play',
        ";" * 40,
    ],
)
def test_bad_transports_are_refused(parameters: str) -> None:
    with pytest.raises(ProtocolViolation):
        parse_transports(f"RTP/AVP;{parameters}")


def test_too_many_alternatives() -> None:
    assert len(parse_transports(",".join(["RTP/AVP"] * 32))) == 32
    with pytest.raises(ProtocolViolation):
        parse_transports(",".join(["RTP/AVP"] * 1000))


def test_session_header() -> None:
    assert SessionHeader.parse("abc ;x=1; Timeout = 30") == SessionHeader("abc", 30)
    assert SessionHeader.parse("abc").build() == "abc"
    assert SessionHeader("abc", 60).build() == "abc;timeout=60"
    for bad in ("", ";timeout=1", "a b", "a" * 129, "é", "a;timeout=", "a;timeout=-1", "a;timeout=100000"):
        with pytest.raises(ProtocolViolation):
            SessionHeader.parse(bad)


@pytest.mark.parametrize(
    ("value", "found", "built"),
    [
        ("npt=0.000-", Range(), "npt=0.000-"),
        ("npt=now-", Range(None), "npt=now-"),
        ("npt=-20", Range(None, 20 * NS), "npt=-20.000"),
        (
            "NPT = 1.5 - 1:02:03.000000001;time=x",
            Range(3 * NS // 2, 3723 * NS + 1),
            "npt=1.500-3723.000000001",
        ),
        (
            "clock=19700101T000001Z-99991231T235959.5Z",
            Range(NS, 253402300799 * NS + NS // 2, True),
            "clock=19700101T000001Z-99991231T235959.5Z",
        ),
    ],
)
def test_ranges(value: str, found: Range, built: str) -> None:
    assert Range.parse(value) == found
    assert found.build() == built


@pytest.mark.parametrize(
    "value",
    [
        "",
        "npt",
        "npt=1",
        "npt=-",
        "npt=1e308-",
        "npt=5-4",
        "npt=now-5",
        "npt=1:2-",
        "npt=1:61:00-",
        "npt=1:00:75-",
        "npt=99999999999-",
        "npt=٣-",
        "smpte=0:0:0-",
        "clock=19960108-",
        "clock=19960230T000000Z-",
        "clock=19960208T240000Z-",
        "clock=00010101T000000Z-",
        "clock=" + "1" * 4096,
    ],
)
def test_bad_ranges_are_refused(value: str) -> None:
    with pytest.raises(ProtocolViolation):
        Range.parse(value)


def test_rtp_info() -> None:
    entries = (RtpInfo("rtsp://h/a,b;c/trackID=0", 65535, 0xFFFFFFFF), RtpInfo("x"), RtpInfo("y", rtp_time=1))
    assert parse_rtp_info(build_rtp_info(entries)) == entries
    assert parse_rtp_info("url=a;rtptime=2;seq=1")[0] == RtpInfo("a", 1, 2)


@pytest.mark.parametrize(
    "value", ["", "seq=1", "url=", "url=a;seq=65536", "url=a;rtptime=-1", "url=a," * 65 + "url=a"]
)
def test_bad_rtp_info_is_refused(value: str) -> None:
    parse: Callable[[str], object] = parse_rtp_info
    with pytest.raises(ProtocolViolation):
        parse(value)
