"""Faults at the HTTP port beside a canary: rows G1 to G10 as they are there, and of group H what is no playlist's."""

from __future__ import annotations

import base64
import json
import re
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from html import escape
from urllib.parse import quote, urljoin
from xml.etree import ElementTree

import pytest

from penstock_page.summary import FRESH_SECONDS

from . import rtmp
from .hls import GOP, frames, segmented
from .peer import Peer
from .refusal import CLOSE, refused
from .rig import Rig
from .rtsp import request
from .server import MIB
from .test_tcp import CLIENT_HELLO, PROXY_2, SSH

HOST = b"Host: media.example\r\n"
GET = b"GET /nothing/here.flv HTTP/1.1\r\n" + HOST + b"\r\n"
"""Of a stream that nobody publishes: answered with 404 after `server.wait_for_stream`."""
ASSETS = b"GET /index/assets/0/nothing.js HTTP/1.1\r\n" + HOST
"""Answered with 404 at once."""
UPGRADE = (
    b"GET /live/nobody.flv HTTP/1.1\r\n" + HOST + b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + base64.b64encode(bytes(16)) + b"\r\n\r\n"
)
PORTS = pytest.mark.parametrize("protocol", ["http", "https"])


def status(peer: Peer) -> int:
    """Of the first response that came whole with its head."""
    peer.until(b"\r\n\r\n")
    return int(peer.received.split(b" ", 2)[1])


def fetch(faults: Rig, path: bytes, *lines: bytes, method: bytes = b"GET") -> tuple[int, bytes, Peer]:
    """Status and all that was answered to one request."""
    with faults.peer("http") as peer:
        head = [method + b" " + path + b" HTTP/1.1", b"Connection: close", *(lines or [HOST[:-2]]), b"", b""]
        assert peer.send(b"\r\n".join(head))
        peer.closed_within(CLOSE)
        return int(peer.received.split(b" ", 2)[1]), peer.received, peer


@PORTS
def test_G1_silence_at_the_http_port_ends_at_the_handshake_timeout(faults: Rig, protocol: str) -> None:
    with faults.watched(), faults.peer(protocol) as peer:
        assert peer.closed_within(10) > 0.5
    assert re.search("within 1 s|handshake", faults.line(peer)["reason"])


@pytest.mark.parametrize(
    "start", [b"GET / HTTP/1.1\r\nX: ", GET[:-2] + b"X-Slow: ", ASSETS + b"\r\n" + b"GET / HTTP/1.1\r\nX: "]
)
def test_G2_a_head_that_comes_byte_by_byte_is_not_waited_for(faults: Rig, start: bytes) -> None:
    with faults.watched(), faults.peer("http") as peer:
        assert peer.send(start)
        began = time.monotonic()
        while peer.send(b"a"):
            time.sleep(0.1)
            assert time.monotonic() - began < 10, "a slow peer holds its connection"
    assert faults.line(peer)["reason"] == "no request within 1 s"


def test_G3_G4_requests_in_segments_of_one_byte_and_pipelined(faults: Rig) -> None:
    answers: list[bytes] = []
    data = (
        ASSETS
        + b"\r\n"
        + b"HEAD /x/../y HTTP/1.1\r\n"
        + HOST
        + b"\r\n"
        + ASSETS
        + b"Connection: close\r\n\r\n"
    )
    with faults.watched():
        for pieces in ([data], [bytes([byte]) for byte in data]):
            with faults.peer("http") as peer:
                for piece in pieces:
                    assert peer.send(piece)
                peer.closed_within(CLOSE)
                answers.append(re.sub(rb"date: [^\r]*", b"", peer.received))
    assert answers[0] == answers[1]
    assert re.findall(rb"HTTP/1.1 (\d+)", answers[0]) == [b"404", b"400", b"404"]


@pytest.mark.parametrize(
    ("protocol", "data", "names"),
    [
        ("http", CLIENT_HELLO, "TLS"),
        ("http", SSH, "SSH"),
        ("http", rtmp.HELLO, "RTMP"),
        ("http", request("OPTIONS", "rtsp://a/b"), "RTSP"),
        ("http", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/2"),
        ("https", GET, "HTTP"),
        ("https", SSH, "TLS"),
        ("https", rtmp.HELLO, "TLS"),
    ],
)
def test_G5_another_protocol_at_the_http_port_is_refused_by_its_name(
    faults: Rig, protocol: str, data: bytes, names: str
) -> None:
    with faults.watched(), faults.peer(protocol) as peer:
        peer.send(data)
        peer.closed_within(CLOSE)
    assert names in faults.line(peer)["reason"]


@pytest.mark.parametrize("how", ["reset", "end"])
@pytest.mark.parametrize("data", [GET, UPGRADE], ids=["GET", "websocket"])
def test_G6_requests_cut_at_every_offset_free_everything(faults: Rig, data: bytes, how: str) -> None:
    with faults.watched():
        for offset in [*range(0, len(data), 3), len(data)]:
            with faults.peer("http") as peer:
                peer.send(data[:offset])
                if how == "reset":
                    peer.reset()
                else:
                    peer.end()
                    peer.closed_within(CLOSE)


@pytest.mark.parametrize("number", [1, 200])
def test_G9_peer_that_asks_for_pages_and_does_not_read(faults: Rig, number: int) -> None:
    with faults.watched(rss=4 * MIB), faults.peer("http", receive_buffer=4096) as peer:
        start = time.monotonic()
        while peer.send((ASSETS + b"\r\n") * number):
            time.sleep(0.0005)
            assert time.monotonic() - start < 20, "it answers for ever"


@pytest.mark.parametrize(
    "header",
    [
        b"PROXY TCP4 203.0.113.9 127.0.0.1 4711 80\r\n",
        PROXY_2 + b"\x21\x11\x00\x0c" + bytes([203, 0, 113, 9]) * 3,
    ],
)
def test_G10_proxy_headers_at_the_http_port_are_refused(faults: Rig, header: bytes) -> None:
    with faults.watched(), faults.peer("http") as peer:
        peer.send(header + GET)
        refused(faults, peer, "PROXY")
    assert faults.line(peer)["peer"] == peer.address
    assert b"203.0.113.9" not in b"".join(faults.server.raw_log())


PATHS = [
    b"/../../etc/passwd.flv",
    b"/live/%2e%2e/%2e%2e%2fetc/passwd.m3u8",
    b"/%252e%252e%252fetc/passwd.flv",
    b"/live/..%5c..%5cetc.flv",
    b"/live//etc/passwd.flv",
    b"//evil.example/live.flv",
    b"/live/%00.flv",
    b"/C:%5cwindows.flv",
    b"/" + b"a" * 300 + b".flv",
    b"/" + "\U0001f3a5".encode().hex(" ").upper().replace(" ", "%").join(["%", ""]).encode() + b".flv",
    b"/live/a.m3u8.m3u8.flv",
    b"/%ff%fe.flv",
    b"/live/%E2%80%AE.flv",
    b"http://evil.example/live/a.flv",
]


def test_H1_path_tricks_reach_nothing(faults: Rig) -> None:
    with faults.watched():
        for path in PATHS:
            for method in (b"GET", b"POST"):
                code, answer, peer = fetch(faults, path, method=method)
                if method == b"GET":
                    assert code in (400, 404), (path, answer)
                assert b"root:" not in answer
                assert b"location:" not in answer.lower()
                if code == 400 and method == b"GET":
                    assert faults.line(peer)["event"] == "protocol violation"


MARKUP = ["<script>alert(1)</script>", '"onload="x', "{{7*7}}", "$path ${path}", "-->&amp;'"]
"""Names that some place or other would take for more than a name."""
NO_PATHS = ["\r\nSet-Cookie: a=b", "\x1b[2J", "a\0b"]
"""What is no name at all, since it has control characters."""


def text_only(faults: Rig, url: str) -> tuple[int, bytes, bytes]:
    """Status, head and body of an answer in which no name is more than a name."""
    code, answer, _ = fetch(faults, url.encode(), HOST[:-2], b"Accept: text/html")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert code < 500
    assert b"set-cookie" not in head.lower()
    assert b"x-content-type-options: nosniff" in head
    assert b"\x1b" not in answer
    if b"text/html" in head:
        assert b"<script>alert" not in body
        assert b'"onload="x' not in body
    return code, head, body


def test_H2_names_that_are_markup_are_text_everywhere(faults: Rig) -> None:
    """Of streams that nobody publishes, and of those that somebody does."""
    suffixes = ("", ".flv", ".m3u8", ".mpd")
    with faults.watched():
        with ThreadPoolExecutor(8) as lanes:  # each waits for a publisher
            urls = [f"/live/{quote(name)}{suffix}" for name in (*MARKUP, *NO_PATHS) for suffix in suffixes]
            for done in [lanes.submit(text_only, faults, url) for url in urls]:
                done.result()
        for name in NO_PATHS:
            with faults.peer() as publisher:
                rtmp.connected(publisher)
                publisher.send(rtmp.CREATE_STREAM + rtmp.publish(name))
                publisher.closed_within(CLOSE)
        with ExitStack() as stack:
            publishers = {name: stack.enter_context(faults.peer()) for name in MARKUP}
            for name, publisher in publishers.items():
                # Pictures and sound: HLS has renditions, with names, in its list then.
                rtmp.publishing(publisher, name)
                publisher.send(moments(0, 45))
            for name, publisher in publishers.items():
                path, stem = f"live/{name}", f"/live/{quote(name)}"
                code, _, body = text_only(faults, stem)
                assert (code, escape(path).encode() in body) == (200, True)
                follow(faults, f"{stem}.m3u8")
                described(faults, f"{stem}.mpd")
                publisher.send(moments(45, 46))
            time.sleep(FRESH_SECONDS)
            told = json.loads(text_only(faults, "/index/streams")[2])["streams"]
            front = text_only(faults, "/")[2]
            for path in [f"live/{name}" for name in MARKUP]:
                assert path in [stream["path"] for stream in told]
                assert escape(path).encode() in front
                one = json.loads(text_only(faults, f"/index/streams/{quote(path)}")[2])
                assert one["stream"]["path"] == path
        for raw in faults.server.raw_log():
            assert raw.decode().isprintable()


def moments(first: int, last: int) -> bytes:
    """Picture and sound of so many moments, 100 ms apart."""
    return b"".join(
        rtmp.video(rtmp.inter_frame() if number % GOP else rtmp.key_frame(), number * 100)
        + rtmp.audio(rtmp.sound(), number * 100)
        for number in range(first, last)
    )


def described(faults: Rig, url: str) -> None:
    """Ask for what a description leads to."""
    code, _, body = text_only(faults, url)
    assert code == 200
    found = [e.attrib for e in ElementTree.fromstring(body).iter() if e.tag.endswith("}SegmentTemplate")]
    assert found
    for template in found:
        assert text_only(faults, urljoin(url, template["initialization"]))[0] == 200


def follow(faults: Rig, url: str) -> None:
    """Ask for all that a playlist leads to."""
    code, _, body = text_only(faults, url)
    assert code == 200, (url, body)
    uris = re.findall(r'#EXT-X-(?:MEDIA|MAP):.*URI="([^"]*)"', body.decode())
    uris += [line for line in body.decode().splitlines() if not line.startswith("#")]
    assert uris
    for uri in uris:
        found = urljoin(url, uri)
        if ".m3u8" in found:
            follow(faults, found)
        else:
            assert fetch(faults, found.encode())[0] == 200, found


FLAWED = [
    (b"Range: bytes=-0\r\n", 416),
    (b"Range: bytes=5-1\r\n", 200),
    (b"Range: bytes=" + b",".join([b"0-1"] * 1000) + b"\r\n", 200),
    (b"Range: bytes=18446744073709551616-\r\n", 416),
    (b"Range: bytes=0-18446744073709551616\r\n", 206),
    (b"If-None-Match: " + b'"a",' * 1000 + b"\r\n", 200),
    (b"If-None-Match: *\r\n", 304),
    (b"If-Modified-Since: yesterday\r\n", 200),
    (b"X: " + b"a" * 65536 + b"\r\n", 431),
    (b"X: 1\r\n" * 12_000, 431),
    (b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", 400),
    (b"Content-Length: 5\r\nContent-Length: 6\r\n", 400),
    (b"Content-Length: 99999999999999999999\r\n", 400),
    (b"X Y: z\r\n", 400),
    (b"Host: other.example\r\n", 400),
]


def test_H4_odd_headers(faults: Rig) -> None:
    """Of a segment that is there."""
    with faults.watched(), faults.peer() as publisher:
        url = segmented(faults, publisher, "h4", frames(1, 2 * GOP + 1), 2)[0].encode()
        _, answer, _ = fetch(faults, url)
        whole = answer.partition(b"\r\n\r\n")[2]
        for method in (b"GET", b"HEAD"):
            for number, (lines, wanted) in enumerate(FLAWED):
                with faults.peer("http") as peer:
                    line = method + b" " + url + b" HTTP/1.1\r\n" + HOST
                    peer.send(line + b"Connection: close\r\n" + lines + b"\r\n")
                    # RFC 9110 14.2: a range is of GET alone.
                    ranged = method == b"GET" or wanted not in (206, 416)
                    assert status(peer) == (wanted if ranged else 200), lines[:80]
                    peer.closed_within(CLOSE)
                    if wanted in (400, 431):
                        assert faults.line(peer)["event"] == "protocol violation"
                    elif method == b"GET" and wanted in (200, 206):
                        assert peer.received.partition(b"\r\n\r\n")[2] == whole
                publisher.send(frames(2 * GOP + 1 + number, 2 * GOP + 2 + number))


@pytest.mark.parametrize(
    "chunks", [b"zz\r\n", b"-1\r\nabc", b"fffffffffffffffff\r\n", b"3;" + b"x" * 70_000, b"3\r\nabcd\r\n"]
)
def test_H4_chunks_that_are_none(faults: Rig, chunks: bytes) -> None:
    """The request is answered or the connection closed; what comes does not stay."""
    with faults.watched(rss=MIB), faults.peer("http") as peer:
        peer.send(b"POST /live/h4.flv HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n")
        peer.send(chunks)
        peer.closed_within(10)


def test_H4_http_1_0(faults: Rig) -> None:
    with faults.watched(), faults.peer("http") as peer:
        peer.send(b"GET /index/assets/0/nothing.js HTTP/1.0\r\n\r\n")
        peer.closed_within(CLOSE)
        assert status(peer) == 404
        assert b"chunked" not in peer.received


def test_H7_host_and_origin_of_others_get_nowhere(faults: Rig) -> None:
    with faults.watched():
        for path in (b"/", b"/live/a", b"/live/a.m3u8", b"/live/a.flv"):
            _, answer, _ = fetch(
                faults,
                path,
                b"Host: evil.example",
                b"X-Forwarded-Host: evil.example",
                b"Origin: https://evil.example",
            )
            assert b"evil.example" not in answer
            assert b"access-control-allow-credentials" not in answer.lower()
        _, answer, _ = fetch(faults, b"//evil.example")
        assert b"location:" not in answer.lower()


def test_H7_credentials_are_not_guessed_for_nothing(faults: Rig) -> None:
    """What is no credential at all is refused; nobody is told more than that."""
    with faults.watched():
        for value in (
            b"Basic ????",
            b"Basic " + base64.b64encode(b"\xff:\xff"),
            b"Basic " + b"A" * 30_000 + b"=",
        ):
            with faults.peer("http") as peer:
                peer.send(b"GET /live/h7.flv HTTP/1.1\r\n" + HOST + b"Authorization: " + value + b"\r\n\r\n")
                assert status(peer) in (400, 404)


def test_the_websocket_of_a_stream_takes_no_nonsense(faults: Rig) -> None:
    """G5 and T2 in a WebSocket: frames that are none end it, and a message beyond the limit is not gathered."""
    with faults.watched(rss=8 * MIB), faults.peer() as publisher:
        rtmp.publishing(publisher, "ws-nonsense")
        url = UPGRADE.replace(b"/live/nobody.flv", b"/live/ws-nonsense.flv")
        for frame in (
            b"\xff\xff" + bytes(8),
            b"\x82\x05hello",  # not masked
            b"\x82\xff" + struct.pack(">Q", 1 << 62) + bytes(4),
            b"\x89\xfe\x00\x80" + bytes(132),  # a ping of 128 bytes
        ):
            with faults.peer("http") as peer:
                peer.send(url)
                peer.until(b"101 Switching")
                peer.send(frame)
                peer.closed_within(CLOSE)
    assert json.dumps(faults.server.log()[-1])
