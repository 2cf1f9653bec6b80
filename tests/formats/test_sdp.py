"""Session descriptions: rows D1 to D5, and what real clients send."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from penstock.errors import ProtocolViolation
from penstock_formats.rtp.binding import RtpFormat
from penstock_formats.sdp import Direction, MediaDescription, SessionDescription, make_origin

DATA = Path(__file__).parents[1] / "data" / "rtsp"


def media(*lines: str) -> MediaDescription:
    return SessionDescription.parse("\n".join(("v=0", *lines)).encode()).media[0]


def test_ffmpeg_announce() -> None:
    video, audio = SessionDescription.parse((DATA / "ffmpeg7-push-tcp.sdp").read_bytes()).media
    assert (video.kind, video.control, video.attribute("framerate")) == ("video", "streamid=0", "15")
    assert video.rtp[0].encoding == "H264"
    assert video.rtp[0].fmtp["sprop-parameter-sets"] == "Z0LACtoKEflwEQAAAwABAAADAB4PEiag,aM4PyA=="
    assert audio.rtp[0] == RtpFormat(
        "MPEG4-GENERIC",
        44100,
        1,
        {
            "profile-level-id": "1",
            "mode": "AAC-hbr",
            "sizelength": "13",
            "indexlength": "3",
            "indexdeltalength": "3",
            "config": "120856E500",
        },
        97,
    )


@pytest.mark.parametrize("path", sorted(DATA.glob("*.sdp")), ids=lambda path: path.name)
def test_what_is_built_parses_back(path: Path) -> None:
    description = SessionDescription.parse(path.read_bytes())
    assert SessionDescription.parse(description.build()) == description


def test_build() -> None:
    opus = RtpFormat("OPUS", 48000, 2, {"sprop-stereo": "1", "0-15": ""}, 97)
    section = MediaDescription(
        "audio", 0, "RTP/AVP", (97,), rtp=(opus,), control="trackID=1", direction=Direction.SENDONLY
    )
    description = SessionDescription((section,), make_origin(1, 2, "::1"), name="live", control="*")
    assert description.build().decode().split("\r\n") == [
        "v=0",
        "o=- 1 2 IN IP6 ::1",
        "s=live",
        "t=0 0",
        "a=control:*",
        "m=audio 0 RTP/AVP 97",
        "a=rtpmap:97 OPUS/48000/2",
        "a=fmtp:97 sprop-stereo=1;0-15",
        "a=sendonly",
        "a=control:trackID=1",
        "",
    ]


@pytest.mark.parametrize("end", ["\r\n", "\n", "\r", "\r\n\r\n", " \n"])
def test_line_ends(end: str) -> None:
    text = end.join(("v=0", "s=x", "m=audio 0 RTP/AVP 0", "a=control:t"))
    assert SessionDescription.parse(text.encode()).media[0].control == "t"


def test_missing_and_misplaced_lines() -> None:
    description = SessionDescription.parse(
        b"m=audio 0 RTP/AVP 8 96\na=rtpmap:0 X/1\nt=1 2\nv=0\ns=\nz=unknown\n"
    )
    assert (description.name, description.time) == ("-", "1 2")
    assert description.media[0].rtp == (RtpFormat("PCMA", 8000, 1, {}, 8),)
    assert description.media[0].payload_types == (8, 96)


def test_static_types_and_repeated_payload_types() -> None:
    assert media("m=audio 5004/2 RTP/AVP 10 10 0").rtp == (
        RtpFormat("L16", 44100, 2, {}, 10),
        RtpFormat("PCMU", 8000, 1, {}, 0),
    )
    same = media("m=video 0 RTP/AVP 96", "a=rtpmap:96 h264/90000", "a=rtpmap:96 H264/90000/")
    assert same.rtp[0].encoding == "H264"


def test_parameters_of_any_shape() -> None:
    fmt = media("m=video 0 RTP/AVP 96", "a=rtpmap:96\tH264/90000", "a=fmtp:96 A=b=c;;=x; Flag ;e= ").rtp[0]
    assert dict(fmt.fmtp) == {"a": "b=c", "flag": "", "e": ""}


def test_media_that_is_not_rtp() -> None:
    section = media("m=application 9 UDP/DTLS/SCTP webrtc-datachannel", "a=sctp-port:5000", "a=rtpmap:x")
    assert section.formats == ("webrtc-datachannel",)
    assert section.attribute("sctp-port") == "5000"
    assert section.attribute("nothing") is None
    assert media("m=audio 9 UDP/TLS/RTP/SAVPF 0").rtp


def test_names_in_another_charset() -> None:
    assert SessionDescription.parse(b"v=0\ns=caf\xe9\n").name == "café"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"hello",
        b"s=x",
        b"v=1",
        b"v=0\nV=0",
        bytes(range(1, 256)),
        b"v=0\n" + b"a=x\n" * 40000,
        b"v=0\na=" + b"x" * (1 << 20),
        b"v=0\n" + b"m=audio 0 RTP/AVP 0\n" * 65,
        b"v=0\nm=audio",
        b"v=0\nm=audio 0 RTP/AVP",
        b"v=0\nm=audio 65536 RTP/AVP 0",
        b"v=0\nm=audio -1 RTP/AVP 0",
        b"v=0\nm=audio 0 RTP/AVP 300",
        *(
            b"v=0\nm=audio 0 RTP/AVP 96\na=rtpmap:" + rest
            for rest in (
                b"96",
                b"96 X",
                b"96 /90000",
                b"96 X/0",
                b"96 X/-1",
                b"96 X/1099511627776",
                b"96 X/" + b"9" * 5000,
                b"96 X/8000/0",
                b"96 X/8000/256",
                b"96 X/8000/1/1",
                b"300 X/8000",
                b"96 X/8000\na=rtpmap:96 Y/8000",
            )
        ),
        b"v=0\nm=audio 0 RTP/AVP 96\na=fmtp:x y",
    ],
)
def test_what_makes_no_sense_is_refused(data: bytes) -> None:
    start = time.perf_counter()
    with pytest.raises(ProtocolViolation):
        SessionDescription.parse(data)
    assert time.perf_counter() - start < 0.5


def test_bandwidth_and_direction() -> None:
    section = media("m=video 0 RTP/AVP 26", "b=AS:5000", "b=AS:-1", "b=", "a=recvonly", "c=IN IP4 1.2.3.4")
    assert section.bandwidth == (("AS", 5000),)
    assert section.direction is Direction.RECVONLY
    assert section.connection == "IN IP4 1.2.3.4"


def test_session_lines() -> None:
    text = "v=0\nc=IN IP4 0.0.0.0\nb=AS:9\nb=x\na=recvonly\na=control:*\na=tool:x\na=flag\nt=0 0\n"
    description = SessionDescription.parse(text.encode())
    assert description.connection == "IN IP4 0.0.0.0"
    assert description.bandwidth == (("AS", 9),)
    assert description.direction is Direction.RECVONLY
    assert description.attributes == (("tool", "x"), ("flag", None))
    assert SessionDescription.parse(description.build()) == description
