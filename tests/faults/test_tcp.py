"""Faults of any TCP peer beside a canary: rows G1 to G10 of the list of bad inputs, but for G7, which is in test_crowd.py."""

from __future__ import annotations

import re
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from . import rtmp
from .peer import Peer, own_address
from .refusal import CLOSE
from .rig import Rig, rig
from .server import MIB

PROTOCOLS = pytest.mark.parametrize("protocol", ["rtmp", "rtsp"])

CLIENT_HELLO = bytes.fromhex("160301002f0100002b0303") + bytes(32) + bytes.fromhex("000004130113020100")
HTTP = b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n"
SSH = b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"


def options(number: int, path: str = "canary/rtsp") -> bytes:
    return f"OPTIONS rtsp://localhost/{path} RTSP/1.0\r\nCSeq: {number}\r\n\r\n".encode()


def describe(number: int, path: str = "canary/rtsp") -> bytes:
    return f"DESCRIBE rtsp://localhost/{path} RTSP/1.0\r\nCSeq: {number}\r\nAccept: application/sdp\r\n\r\n".encode()


def session(protocol: str, name: str) -> bytes:
    """What a client sends, without waiting for answers, to publish (RTMP) or to ask for everything (RTSP)."""
    if protocol == "rtsp":
        return options(1) + describe(2) + options(3)
    return (
        rtmp.HELLO + rtmp.C1 + rtmp.CONNECT + rtmp.CREATE_STREAM + rtmp.publish(name)
        + rtmp.script("onMetaData", {"videocodecid": 7.0}) + rtmp.video(rtmp.CONFIG_TAG)
        + rtmp.video(rtmp.key_frame(name.encode()))
        + rtmp.user_control(6, 42)
    )  # fmt: skip


LAST = {"rtmp": struct.pack(">HI", 7, 42), "rtsp": b"CSeq: 3\r\n"}
"""What the server answers to the last message of `session`."""


def test_G1_silence_ends_at_the_handshake_timeout(faults: Rig) -> None:
    late = "TLS handshake timed out"
    expected = {"rtmp": "1 s", "rtsp": "1 s", "rtmps": late, "rtsps": late}
    with faults.watched(), ExitStack() as stack:
        start = time.monotonic()
        peers = {protocol: stack.enter_context(faults.peer(protocol)) for protocol in expected}
        for peer in peers.values():
            peer.closed_within(10)
            assert time.monotonic() - start > 0.5
        for protocol, peer in peers.items():
            assert expected[protocol] in faults.line(peer)["reason"], protocol


def test_G2_one_byte_at_a_time_for_ever_ends_at_the_handshake_timeout(faults: Rig) -> None:
    """The time from connecting counts, and not that since the last byte."""
    with faults.watched(), faults.peer("rtmp") as first, faults.peer("rtsp") as second:
        start = time.monotonic()
        waiting = {first: session("rtmp", "g2"), second: session("rtsp", "g2")}
        for at in range(200):
            waiting = {peer: data for peer, data in waiting.items() if peer.send(data[at : at + 1])}
            if not waiting:
                break
            time.sleep(0.1)
            assert time.monotonic() - start < 10, "a slow peer holds its connection"
        for peer in (first, second):
            assert "1 s" in faults.line(peer)["reason"]


@PROTOCOLS
def test_G3_session_in_segments_of_one_byte_has_the_same_result(faults: Rig, protocol: str) -> None:
    answers: list[bytes] = []
    with faults.watched():
        for split in (False, True):
            with faults.peer(protocol) as peer:
                data = session(protocol, f"g3-{split:d}")
                for piece in [bytes([b]) for b in data] if split else [data]:
                    assert peer.send(piece)
                answers.append(peer.until(LAST[protocol]))
                if protocol == "rtmp":
                    with faults.peer() as player:
                        rtmp.playing(player, f"g3-{split:d}")
                        player.until(b"g3-%d" % split + b"x" * 90)
    # Numbers differ: dates and sessions, and the random bytes of RTMP's handshake, which come before the rest.
    first, second = (re.sub(rb"\d+", b"0", a[3073 if protocol == "rtmp" else 0 :]) for a in answers)
    assert first == second


@PROTOCOLS
def test_G4_pipelined_messages_and_one_that_ends_later(faults: Rig, protocol: str) -> None:
    data = session(protocol, "g4")
    cut = len(data) - 5
    with faults.watched(), faults.peer(protocol) as peer:
        peer.send(data[:cut])
        peer.until(b"NetStream.Publish.Start" if protocol == "rtmp" else b"CSeq: 2\r\n")
        assert LAST[protocol] not in peer.received
        peer.send(data[cut:])
        peer.until(LAST[protocol])


@pytest.mark.parametrize(
    ("protocol", "data", "names"),
    [
        ("rtmp", CLIENT_HELLO, "TLS"),
        ("rtmp", HTTP, "HTTP"),
        ("rtmp", SSH, "SSH"),
        ("rtmp", options(1), "RTSP"),
        ("rtsp", CLIENT_HELLO, "TLS"),
        ("rtsp", HTTP, "HTTP"),
        ("rtsp", SSH, "SSH"),
        ("rtsp", rtmp.HELLO, "RTMP"),
        ("rtmps", rtmp.HELLO, "TLS"),
        ("rtmps", HTTP, "HTTP"),
        ("rtsps", options(1), "TLS"),
        ("rtsps", SSH, "TLS"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_G5_another_protocol_is_refused_by_its_name(
    faults: Rig, protocol: str, data: bytes, names: str
) -> None:
    with faults.watched(), faults.peer(protocol) as peer:
        peer.send(data)
        peer.closed_within(CLOSE)
    line = faults.line(peer)
    assert names.lower() in line["reason"].lower(), line


@PROTOCOLS
@pytest.mark.parametrize("how", ["reset", "end"])
def test_G6_cut_at_every_offset_frees_everything(faults: Rig, protocol: str, how: str) -> None:
    """Each offset of the messages, and some of the random bytes of RTMP's handshake."""
    data = session(protocol, "g6")
    start = len(rtmp.HELLO + rtmp.C1) if protocol == "rtmp" else 0
    offsets = [*range(0, start, 401), *range(start, len(data) + 1)]
    with faults.watched():
        for offset in offsets:
            with faults.peer(protocol) as peer:
                peer.send(data[:offset])
                if how == "reset":
                    peer.reset()
                else:
                    peer.end()
                    peer.closed_within(CLOSE)
    with faults.peer(protocol) as peer:
        peer.send(data)
        peer.until(LAST[protocol])


@pytest.fixture
def capped(tmp_path: Path) -> Iterator[Rig]:
    # The canary has seven connections of its own, from 127.0.0.1, a peer of WebRTC among them.
    with rig(tmp_path, "server.max_connections=21", "server.max_connections_per_address=8") as running:
        yield running


def test_G8_connections_beyond_the_caps_are_refused_at_once(capped: Rig) -> None:
    mine, other = own_address(), own_address()
    with capped.watched():
        first = [_publisher(capped, mine, f"g8-{n}") for n in range(8)]
        with capped.peer(source=mine) as refused:
            refused.closed_within(CLOSE)
        assert capped.line(refused)["reason"] == "server.max_connections_per_address (8) reached"
        second = [_publisher(capped, other, f"g8b-{n}") for n in range(6)]
        with capped.peer() as refused:
            refused.closed_within(CLOSE)
        assert capped.line(refused)["reason"] == "server.max_connections (21) reached"
        for peer in (*first, *second):
            peer.send(rtmp.user_control(6, 8))
            peer.until(struct.pack(">HI", 7, 8))
            peer.sock.close()


def _publisher(faults: Rig, source: str, name: str) -> Peer:
    peer = faults.peer(source=source)
    rtmp.publishing(peer, name)
    return peer


def test_G9_peer_that_does_not_read_the_handshake_reply(faults: Rig) -> None:
    """The reply of 3 KiB fits any socket, so it is the handshake timeout that ends it."""
    with faults.watched(), faults.peer(receive_buffer=1) as peer:
        peer.send(rtmp.HELLO)
        assert faults.line(peer)["reason"].startswith("the peer asked for nothing within 1 s")


@pytest.mark.parametrize("message", [options(1), describe(2)], ids=["OPTIONS", "DESCRIBE"])
def test_G9_peer_that_asks_and_does_not_read(faults: Rig, message: bytes) -> None:
    with faults.watched(rss=4 * MIB), faults.peer("rtsp", receive_buffer=4096) as peer:
        start = time.monotonic()
        while peer.send(message * 200):
            assert time.monotonic() - start < 20, "it answers for ever"
    assert faults.line(peer)["reason"]


PROXY_2 = b"\r\n\r\n\x00\r\nQUIT\n"


@PROTOCOLS
@pytest.mark.parametrize(
    "header",
    [
        b"PROXY TCP4 203.0.113.7 127.0.0.1 4711 1935\r\n",
        b"PROXY TCP4 999.0.113.7 127.0.0.1 99999 1935\r\n",
        b"PROXY UNKNOWN\r\n",
        PROXY_2 + b"\x21\x11\x00\x0c" + bytes([203, 0, 113, 7, 127, 0, 0, 1, 18, 103, 7, 143]),
        PROXY_2 + b"\x21\x11\xff\xff",
    ],
    ids=["v1", "v1-malformed", "v1-unknown", "v2", "v2-malformed"],
)
def test_G10_proxy_header_is_refused_and_its_address_not_taken_over(
    faults: Rig, protocol: str, header: bytes
) -> None:
    """The PROXY protocol is not supported: such a header is a violation, logged with the real address."""
    with faults.watched(), faults.peer(protocol) as peer:
        peer.send(header)
        peer.closed_within(CLOSE)
    line = faults.line(peer)
    assert line["peer"] == peer.address
    assert b"203.0.113.7" not in b"".join(faults.server.raw_log())
