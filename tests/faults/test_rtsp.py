"""Faults of RTSP messages beside a canary: rows T1 to T7, T10, T11, T14 and T16 of the list of bad inputs.

The rows about sessions and ports (T8, T9, T12, T15, T17, T18) are in test_rtsp_sessions.py, T13 in test_rtsp_auth.py.
"""

from __future__ import annotations

import re
import time

import pytest

from .refusal import refused
from .rig import Rig
from .rtsp import AAC, H264, TCP, client, interleaved, request, rtp, sdp
from .server import MIB

OPTIONS = request("OPTIONS", "*")
CANARY = "canary/rtsp"


def test_T1_endless_request_line_is_refused_while_it_is_read(faults: Rig) -> None:
    for data in (b"A" * MIB, b"OPTIONS rtsp://h/" + b"a" * MIB, b"OPTIONS " + b"\xff" * 3000):
        with faults.watched(), client(faults) as peer:
            peer.peer.send(data)
            peer.peer.closed_within(3)
        assert "RTSP request line above 2048 bytes" in faults.line(peer.peer)["reason"]


REFUSED_LINES = {
    "leading blank": b" OPTIONS * RTSP/1.0\r\n\r\n",
    "leading tab": b"\tOPTIONS * RTSP/1.0\r\n\r\n",
    "bare CR": b"OPTIONS * RTSP/1.0\rCSeq: 1\r\r\n\r\n",
    "NUL": b"OPTIONS * RTSP/1.0\r\nCSeq: 1\0\r\n\r\n",
    "folded": b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\nX: a\r\n b\r\n\r\n",
    "no colon": b"OPTIONS * RTSP/1.0\r\nCSeq 1\r\n\r\n",
    "no name": b"OPTIONS * RTSP/1.0\r\n: 1\r\n\r\n",
    "257 headers": b"OPTIONS * RTSP/1.0\r\n" + b"X: 1\r\n" * 257 + b"\r\n",
    "1 MiB header": b"OPTIONS * RTSP/1.0\r\nX: " + b"a" * MIB,
    "two versions": b"OPTIONS * RTSP/1.0 RTSP/1.0\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
    "RTMP": b"\x03" + bytes(1536),
    "SSH": b"SSH-2.0-OpenSSH_9.0\r\n",
    "HTTP": b"PUT / HTTP/1.1\r\nHost: h\r\n\r\n",
}


@pytest.mark.parametrize("name", REFUSED_LINES)
def test_T2_T3_lines_that_are_none_end_the_connection(faults: Rig, name: str) -> None:
    with faults.watched(), client(faults) as peer:
        peer.peer.send(REFUSED_LINES[name])
        refused(faults, peer.peer, "RTSP", "header", "message")
        assert peer.peer.received.startswith(b"RTSP/1.0 400 Bad Request\r\n")


def test_T2_line_ends_before_a_request_and_bare_lf_are_tolerated(faults: Rig) -> None:
    """RFC 2326 4.1 has empty lines ignored; a bare LF ends a line for many servers, so that clients rely on it."""
    with faults.watched(), client(faults) as peer:
        peer.peer.send(b"\r\n\r\n\n" + OPTIONS)
        assert peer.reply().status == 200
        peer.peer.send(b"OPTIONS * RTSP/1.0\nCSeq: 2\n\n")
        assert peer.reply().header("CSeq") == "2"
        peer.peer.send(b"\r\n" * 100_000 + OPTIONS)
        assert peer.reply().status == 200


@pytest.mark.parametrize("name", ["CSeq", "Session", "Authorization"])
def test_T3_header_given_often_counts_once_or_is_refused(faults: Rig, name: str) -> None:
    value = {"CSeq": "7", "Session": "abc", "Authorization": "Basic YTpi"}[name]
    lines = [] if name == "CSeq" else ["CSeq: 7"]
    same, different = [f"{name}: {value}"] * 50, [f"{name}: {value}{n}" for n in range(50)]
    with faults.watched():
        for repeated, status in ((same, 454 if name == "Session" else 200), (different, 400)):
            with client(faults) as peer:
                text = "\r\n".join(["DESCRIBE rtsp://h/canary/rtsp RTSP/1.0", *lines, *repeated, "", ""])
                peer.peer.send(text.encode())
                assert peer.reply().status == status


LENGTHS = [
    "-1",
    "+5",
    "1e3",
    "0x10",
    "2147483648",
    "9223372036854775808",
    "99999999999999999999",
    "",
    "5 5",
    "131073",
]


@pytest.mark.parametrize("length", LENGTHS)
def test_T4_content_length_that_is_none_ends_the_connection(faults: Rig, length: str) -> None:
    with faults.watched(), client(faults) as peer:
        peer.peer.send(f"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\nContent-Length: {length}\r\n\r\n".encode())
        refused(faults, peer.peer, "Content-Length")


def test_T4_two_content_lengths_and_a_body_that_never_comes(faults: Rig) -> None:
    with faults.watched(), client(faults) as peer, client(faults) as waiting:
        waiting.peer.send(b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\nContent-Length: 100\r\n\r\nabc")
        peer.peer.send(b"OPTIONS * RTSP/1.0\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\na")
        refused(faults, peer.peer, "several different Content-Length")
        waiting.peer.closed_within(8)
    assert "within 1 s" in faults.line(waiting.peer)["reason"]


def test_T5_cseq(faults: Rig) -> None:
    """Missing or no number: 400, and no such text comes back. Repeated or decreasing: answered, as a number is a label."""
    with faults.watched(), client(faults) as peer:
        for value, status in (
            ("x", 400),
            ("-1", 400),
            ("4294967296", 400),
            ("9" * 500, 400),
            ("5", 200),
            ("5", 200),
            ("4", 200),
        ):
            peer.peer.send(request("OPTIONS", "*", cseq=value))
            reply = peer.reply()
            assert reply.status == status
            assert len(reply.header("CSeq")) <= 10
        peer.peer.send(b"OPTIONS * RTSP/1.0\r\n\r\n")
        assert peer.reply().status == 400


def test_T6_frames_on_channels_that_nobody_set_up(faults: Rig) -> None:
    with faults.watched(), client(faults) as peer:
        for data in (interleaved(9, b"x" * 100), interleaved(0, b""), interleaved(255, b"\r\n\r\n" * 1000)):
            peer.peer.send(data)
        assert peer.ask("OPTIONS").status == 200, "text after frames is found"
        peer.peer.send(interleaved(3, request("TEARDOWN", "*")))
        assert peer.ask("OPTIONS").status == 200, "text within a frame is no request"


def test_T6_frame_that_never_ends(faults: Rig) -> None:
    with faults.watched(), client(faults) as peer:
        peer.peer.send(b"$\x00\xff\xff" + b"x" * 100)
        peer.peer.closed_within(8)
    assert "within 1 s" in faults.line(peer.peer)["reason"]


def test_T6_length_that_crosses_into_a_request(faults: Rig) -> None:
    """The rest of the request that a wrong length swallowed is no message: the connection ends."""
    with faults.watched(), client(faults) as peer:
        peer.peer.send(b"$\x00\x00\x10" + b"12345678" + OPTIONS)
        refused(faults, peer.peer, "RTSP", "message")


def test_T7_player_that_floods_with_media_is_only_read(faults: Rig) -> None:
    """Frames before SETUP, and some 60 MiB of them while it plays: dropped, nothing is kept, others do not notice."""
    block = interleaved(0, rtp(1, 1, bytes(1400))) * 700
    with faults.watched(), client(faults, CANARY) as peer:
        peer.peer.send(block)
        peer.play()
        began = faults.server.cpu
        for _ in range(60):
            assert peer.peer.send(block)
            time.sleep(0.005)
        assert faults.server.cpu - began < 10
        assert peer.ask("OPTIONS").status == 200


TRANSPORTS = {
    ",".join([TCP] * 1000): 400,
    ",".join(["RTP/AVP/TCP;interleaved=0-1"] * 33): 400,
    "RAW/RAW/UDP;unicast;client_port=5000-5001": 461,
    "RTP/SAVP/TCP;interleaved=0-1": 461,
    "RTP/AVP/SCTP;unicast": 461,
    "RTP/AVP/TCP;interleaved=300-301": 400,
    "RTP/AVP/TCP;interleaved=255-256": 400,
    "RTP/AVP/TCP;interleaved=3-1": 400,
    "RTP/AVP/TCP;interleaved=0-5": 461,
    "RTP/AVP/TCP;interleaved=a-b": 400,
    "RTP/AVP/TCP;" + "x=1;" * 40: 400,
    'RTP/AVP/TCP;x="': 400,
    "": 461,
    "RTP/AVP": 461,
    "RTP/AVP/TCP;mode=record": 461,
    "RTP/AVP/TCP;mode=steal": 400,
}


def test_T10_transports(faults: Rig) -> None:
    with faults.watched():
        for transport, status in TRANSPORTS.items():
            with client(faults, CANARY) as peer:
                reply = peer.ask("SETUP", "/trackID=1", "Transport: " + transport)
                # A header of 1000 alternatives is too long for a line, which is the end.
                assert reply.status == status, (transport[:80], reply.head)
        with client(faults, CANARY) as peer:
            assert peer.ask("SETUP", "/trackID=1").status == 400, "no Transport"


@pytest.mark.parametrize(
    "value",
    [
        "npt=-1",
        "npt=1e308-",
        "npt=5-2",
        "clock=" + "9" * 4096 + "Z-",
        "smpte=1:2",
        "npt=",
        "x",
        "npt=nan-inf",
    ],
)
def test_T11_ranges_mean_nothing_to_what_is_live(faults: Rig, value: str) -> None:
    """A live stream has one place to play from: PLAY ignores its Range, however it is written."""
    with faults.watched(), client(faults, CANARY) as peer:
        peer.play()
        assert peer.ask("PAUSE").status == 200
        assert peer.ask("PLAY", "", "Range: " + value).status == 200
        assert peer.frame()


CANONICAL = {
    "rtsp://127.0.0.1/{}": 200,
    "rtsp://127.0.0.1/{}/": 200,
    "rtsp://127.0.0.1/{}?": 200,
    "rtsp://127.0.0.1/{}?a=b&c": 200,
    "rtsp://other.example:1/{}": 200,
    "RTSP://user:password@127.0.0.1/{}": 200,
    "rtspu://127.0.0.1/{}/trackID=1": 200,
    "rtsp://127.0.0.1/c%61nary/rtsp": 200,
    "rtsp://127.0.0.1/canary%2Frtsp": 200,
    "rtsp://127.0.0.1//{}": 400,
    "rtsp://127.0.0.1/./{}": 400,
    "rtsp://127.0.0.1/x/../{}": 400,
    "rtsp://127.0.0.1/%2e%2e/{}": 400,
    "rtsp://127.0.0.1/%2F{}": 400,
    "rtsp://127.0.0.1/{}//": 400,
    "rtsp://127.0.0.1/canary//rtsp": 400,
    "rtsp://127.0.0.1/{}%00": 400,
    "rtsp://127.0.0.1/{}%0d%0aX:": 400,
    "rtsp://127.0.0.1/%ff": 400,
    "http://127.0.0.1/{}": 400,
    "rtsp://127.0.0.1/CANARY/RTSP": 404,
    "rtsp://127.0.0.1/c%2561nary/rtsp": 404,
    "rtsp://127.0.0.1/": 404,
    "*": 404,
}


def test_T14_every_spelling_is_the_canonical_path_or_none(faults: Rig) -> None:
    """Decoded once: what is not the one canonical form of the stream's name is refused or another name."""
    with faults.watched():
        for url, status in CANONICAL.items():
            with client(faults, CANARY) as peer:
                assert peer.ask("DESCRIBE", url.format(CANARY)).status == status, url
        with client(faults) as peer:
            peer.peer.send(request("DESCRIBE", "/" + CANARY))
            assert peer.reply().status == 200, "a relative URL"


def test_T14_base_that_is_told_leads_back(faults: Rig) -> None:
    with faults.watched(), client(faults, CANARY) as peer:
        base = peer.ask("DESCRIBE", "?token=x%2F").header("Content-Base")
        assert peer.ask("SETUP", base + "trackID=1", "Transport: " + TCP).status == 200
        assert re.search(r"token=x%2F/trackID=1", peer.ask("PLAY", base).header("RTP-Info"))


def test_T16_payload_types_that_the_description_does_not_have(faults: Rig) -> None:
    """They are dropped: nobody is served what he was not told of, and the publisher is closed for its silence."""
    with faults.watched(), client(faults) as peer:
        peer.record(H264)
        for number in range(30):
            peer.picture(number, kind=97 + number % 20)
            time.sleep(0.02)
        peer.peer.closed_within(10)
    assert "sent nothing" in faults.line(peer.peer)["reason"]


DESCRIPTIONS = {
    b"": 400,
    sdp(): 415,
    sdp("m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/0\r\n"): 400,
    sdp("m=video 0 RTP/AVP 96\r\n"): 415,
    sdp("m=video 0 RTP/AVP 96\r\na=rtpmap:96 NONSUCH/90000\r\n"): 415,
    sdp(*[AAC] * 33): 415,
}


def test_T16_descriptions_of_nothing(faults: Rig) -> None:
    with faults.watched():
        for body, status in DESCRIPTIONS.items():
            with client(faults) as peer:
                reply = peer.ask("ANNOUNCE", "", "Content-Type: application/sdp", body=body)
                assert reply.status == status, (body[:100], reply.head)
                assert peer.ask("RECORD").status == 455
        with client(faults) as peer:
            assert peer.ask("ANNOUNCE", "", "Content-Type: text/plain", body=sdp(H264)).status == 415
