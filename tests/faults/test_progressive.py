"""Long responses and bodies over HTTP beside a canary: rows A9, M1, M2, X1 and X4, as far as they are HTTP's."""

from __future__ import annotations

import random
import time

import pytest

from . import rtmp
from .log import ENDS
from .peer import Peer, own_address
from .refusal import CLOSE
from .rig import Rig
from .server import MIB
from .test_streams import start

HEAD = b"FLV\x01\x05\0\0\0\x09\0\0\0\0"
METADATA = rtmp.amf0.encode("onMetaData", {"videocodecid": 7.0})


def tag(kind: int, body: bytes, timestamp: int = 0, size: int | None = None) -> bytes:
    length = len(body) if size is None else size
    time = (timestamp & 0xFFFFFF).to_bytes(3, "big") + bytes((timestamp >> 24,))
    return (
        bytes((kind,)) + length.to_bytes(3, "big") + time + bytes(3) + body + (11 + length).to_bytes(4, "big")
    )


CONFIG = HEAD + tag(18, METADATA) + tag(9, rtmp.CONFIG_TAG)


def post(peer: Peer, path: str, *pieces: bytes, end: bool = True) -> None:
    """A request whose body comes in chunks."""
    peer.send(f"POST /{path} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
    for piece in pieces:
        peer.send(b"%x\r\n%s\r\n" % (len(piece), piece))
    if end:
        peer.send(b"0\r\n\r\n")


def get(peer: Peer, path: str) -> None:
    peer.send(f"GET /{path} HTTP/1.1\r\nHost: h\r\n\r\n".encode())


@pytest.mark.parametrize(
    ("container", "body", "reason"),
    [
        ("flv", random.Random(1).randbytes(5000), "not an FLV file"),
        ("flv", HEAD[:5] + b"\xff\xff\xff\xff" + HEAD[9:], "a header of 4294967295 bytes"),
        ("flv", HEAD + tag(8, b"\xaf\1", size=0xFFFFFF), "a tag of 16777215 bytes"),
        ("flv", CONFIG + tag(9, b"\x17\x05\0\0\0"), "AVC packet type 5"),
        ("flv", HEAD + tag(0x29, b"abc"), "encrypted"),
        ("flv", HEAD + tag(18, METADATA) * 50, "no frame"),
        ("ts", bytes(66_000), "MPEG-TS"),
        ("ts", (b"\x47\x40\0\x10" + b"\xff" * 184) * 400, "no frame"),
        ("mp4", b"\0\0\0\x08free\0\0\0\x10mdat" + bytes(8), "not made for streaming"),
        ("mp4", b"\xff\xff\xff\xffmoov", "a moov box of 4294967295 bytes"),
    ],
)
def test_A9_M1_M2_bodies_that_cannot_be_read(container: str, body: bytes, reason: str, faults: Rig) -> None:
    """Each is answered by 400 and the reason, and leaves no stream behind."""
    with faults.watched(), faults.peer("http") as peer:
        post(peer, f"live/bad.{container}", body)
        peer.until(b"HTTP/1.1 400 ")
        peer.until(reason.encode())
    line = faults.line(peer)
    assert (line["event"], line["protocol"]) == ("protocol violation", f"http-{container}")
    assert reason in line["reason"]


def test_X1_body_at_a_name_that_is_taken(faults: Rig) -> None:
    with faults.watched():
        for path in ("canary/rtmp", "canary/rtsp"):
            with faults.peer("http") as peer:
                post(peer, f"{path}.flv", CONFIG, end=False)
                peer.until(b"HTTP/1.1 409 ")
                peer.closed_within(CLOSE)
            assert "is being published already" in faults.line(peer)["reason"]


def test_X1_body_that_stops_coming(faults: Rig) -> None:
    """A publisher that says nothing for ``publisher_timeout`` (2 s) gives its name back, as over RTMP."""
    with faults.watched(), faults.peer("http") as peer, faults.peer("http") as player:
        post(peer, "live/silent.flv", CONFIG + tag(9, b"\x17\1\0\0\0\0\0\0\x04\x65\x88\x84\0"), end=False)
        get(player, "live/silent.flv")
        player.until(b"FLV\x01")
        peer.closed_within(10)
        player.closed_within(10)
    assert "sent nothing for 2 s" in faults.line(peer)["reason"]


@pytest.mark.parametrize("cut", [4, 12, 40, len(CONFIG) - 1, len(CONFIG) + 8])
def test_X1_body_that_is_cut_off_frees_its_name(cut: int, faults: Rig) -> None:
    picture = tag(9, b"\x17\1\0\0\0\0\0\0\x04\x65\x88\x84\0")
    with faults.watched():
        with faults.peer("http") as peer:
            post(peer, "live/cut.flv", (CONFIG + picture)[:cut], end=False)
            peer.reset()
        deadline = time.monotonic() + CLOSE
        while True:
            with faults.peer("http") as again:
                post(again, "live/cut.flv", CONFIG + picture)
                again.until(b"\r\n\r\n")
                if again.received.startswith(b"HTTP/1.1 200 "):
                    break
            assert time.monotonic() < deadline, again.received


@pytest.mark.parametrize("url", ["live/xh.mp4", "websocket"])
def test_X4_viewers_that_never_read(url: str, faults: Rig) -> None:
    """Thirty of them, at a stream of 2 MB/s: each is closed for it, and memory stays that of one ring."""
    with faults.watched(rss=24 * MIB), faults.peer() as publisher:
        start(publisher, "xh")
        viewers: list[Peer] = []
        try:
            with rtmp.feeding(publisher):
                source = own_address()
                idle = faults.server.descriptors
                for _ in range(30):
                    viewer = faults.peer("http", receive_buffer=4096, source=source)
                    if url == "websocket":
                        viewer.send(
                            b"GET /live/xh.flv HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
                        )
                    else:
                        get(viewer, url)
                    viewers.append(viewer)
                deadline = time.monotonic() + 15
                while faults.server.descriptors < idle + 30:
                    assert time.monotonic() < deadline, "they were not let in"
                    time.sleep(0.01)
                while faults.server.descriptors > idle:
                    assert time.monotonic() < deadline, "viewers that never read stay"
                    time.sleep(0.1)
        finally:
            for viewer in viewers:
                viewer.sock.close()
    # Of one address the log takes only some lines.
    reasons = [
        line["reason"]
        for line in faults.server.log()
        if str(line.get("peer", "")).startswith(source + ":") and line["event"] in ENDS
    ]
    assert any("took no data for 1.5 s" in reason for reason in reasons), reasons
