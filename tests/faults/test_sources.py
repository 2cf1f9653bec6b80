"""Sources over HTTP that are no good, beside a canary: row H6."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from . import log
from .origin import Fault, endless, origin, raw, redirect
from .rig import Rig, rig
from .server import MIB
from .test_progressive import CONFIG, tag

HEAD = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n"
END = b"#EXT-X-ENDLIST\n"
"""So that they are taken from the first on."""
SEGMENTS = b"".join(b"#EXTINF:1,\n/segment%d\n" % n for n in range(5)) + END
METADATA = "http://169.254.169.254/latest/meta-data/"
HERE_ONLY = "from a source on a private network only that host is followed"
HTTP_ONLY = "only http and https URLs are followed"
MASTER = b"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n%s\n"


def times(uri: str) -> bytes:
    """A playlist of five segments at one address."""
    return HEAD + f"#EXTINF:1,\n{uri}\n".encode() * 5 + END


def key(text: str) -> bytes:
    return HEAD + f"#EXT-X-KEY:{text}\n".encode() + SEGMENTS


CASES: dict[str, tuple[Fault, str]] = {
    "million": (HEAD + b"#EXTINF:1,\na\n" * 1_000_000, "has more than 8388608 bytes"),
    "crowd": (HEAD + b"#EXTINF:1,\na\n" * 60_000, "more than 50000 segments"),
    "endless": (endless(b"#EXTM3U\n" + bytes(b"#" * 60_000)), "has more than 8388608 bytes"),
    "loop": (MASTER % b"loop.m3u8", "a multivariant playlist in a multivariant playlist"),
    "nested": (MASTER % b"loop.m3u8", "a multivariant playlist in a multivariant playlist"),
    "nan": (HEAD + b"#EXTINF:NaN,\na\n", "'NaN' is no duration"),
    "huge": (HEAD + b"#EXTINF:1e308,\na\n", "'1e308' is no duration"),
    "negative": (HEAD + b"#EXTINF:-1,\na\n", "'-1' is no duration"),
    "page": (b"<html>\x1b[31m", "does not begin with #EXTM3U"),
    "file": (times("file:///etc/passwd"), HTTP_ONLY),
    "metadata": (times(METADATA), HERE_ONLY),
    "key-file": (key('METHOD=AES-128,URI="file:///etc/passwd"'), HTTP_ONLY),
    "key-metadata": (key(f'METHOD=AES-128,URI="{METADATA}"'), HERE_ONLY),
    "key-long": (key('METHOD=AES-128,URI="million.m3u8"'), "has more than 16 bytes"),
    "sample": (key('METHOD=SAMPLE-AES,URI="k"'), "encrypted by SAMPLE-AES, which is not supported"),
    "variant": (MASTER % b"file:///etc/passwd", HTTP_ONLY),
    "redirect": (redirect(METADATA), HERE_ONLY),
    "redirect-file": (redirect("file:///etc/passwd"), HTTP_ONLY),
    "round": (redirect("/round.m3u8"), "redirects more than 5 times"),
    "zeros": (times("/zeros"), "no MPEG-TS packet"),
    "empty": (times("/empty"), "a segment without a frame"),
    "missing": (times("/nothing"), "answered 404"),
    "silence": (raw(b""), "did not answer within 1 s"),
    "header": (raw(b"HTTP/1.1 200 OK\r\nA: " + b"a" * 2_000_000), "the connection to"),
    "length": (raw(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n"), "the connection to"),
    "noise": (raw(b"\x16\x03\x01\x02\0\r\n\r\n"), "the connection to"),
}  # fmt: skip
PICTURE = tag(9, b"\x17\1\0\0\0\0\0\0\x04\x65\x88\x84\0")


class Restarting:
    """An origin that is down, then sends a stream, and breaks off when it is told to."""

    def __init__(self) -> None:
        self.up = threading.Event()
        self.stop = threading.Event()

    def __call__(self, handler: BaseHTTPRequestHandler) -> None:
        if not self.up.is_set():
            handler.send_error(503)
            return
        handler.send_response(200)
        handler.send_header("Content-Type", "video/x-flv")
        handler.end_headers()
        handler.wfile.write(CONFIG + PICTURE)
        self.stop.wait(10)


ORIGIN = Restarting()
SEGMENT_FAULTS: dict[str, Fault] = {
    "/zeros": endless(bytes(60_000)),
    "/empty": b"\x47\x1f\xff\x10" * 47,
    "/again.flv": ORIGIN,
}


@pytest.fixture(scope="module")
def pulling(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A server with a source for each case, pulled on demand, and one that is pulled always."""
    work: Path = tmp_path_factory.mktemp("sources")
    faults = {f"/{name}.m3u8": fault for name, (fault, _) in CASES.items()} | SEGMENT_FAULTS
    with origin(faults) as port:
        config = "".join(
            f'[streams."pull/{name}"]\nsource = "http://127.0.0.1:{port}/{name}.m3u8"\nsource_on_demand = true\n'
            for name in CASES
        )
        config += f'[streams."always/page"]\nsource = "http://127.0.0.1:{port}/page.m3u8"\n'
        config += f'[streams."always/again"]\nsource = "http://127.0.0.1:{port}/again.flv"\n'
        with rig(work, config=config) as running:
            yield running


def ends(faults: Rig, path: str) -> list[dict[str, Any]]:
    return [line for line in faults.server.log() if line.get("path") == path and line["event"] in log.ENDS]


@pytest.mark.parametrize("name", CASES)
def test_H6_sources_that_are_no_good(name: str, pulling: Rig) -> None:
    """One line says why, within seconds, and nobody else notices."""
    # A playlist is at most 8 MiB, which are twice there while it is read, and 50,000 segments are some more.
    with pulling.watched(rss=64 * MIB), pulling.peer("http") as viewer:
        viewer.send(f"GET /pull/{name}.flv HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode())
        deadline = time.monotonic() + 10
        while not (found := [e for e in ends(pulling, f"pull/{name}") if e["protocol"] == "http"]):
            assert time.monotonic() < deadline, f"no end of pull/{name}"
            time.sleep(0.05)
        viewer.until(b"HTTP/1.1 404 ")
    assert CASES[name][1] in found[0]["reason"]


def test_H6_a_source_is_tried_again_after_pauses_that_grow(pulling: Rig) -> None:
    deadline = time.monotonic() + 10
    while len(ends(pulling, "always/page")) < 3:
        assert time.monotonic() < deadline, "it was not tried again"
        time.sleep(0.1)
    moments = [str(line["timestamp"]) for line in ends(pulling, "always/page")]
    assert moments == sorted(moments)
    assert len(moments) < 12


def published(faults: Rig, path: str) -> int:
    lines = faults.server.log()
    return sum(line["event"] == "stream published" and line.get("path") == path for line in lines)


def test_H6_a_source_whose_server_is_started_again_is_published_again(pulling: Rig) -> None:
    for number in (1, 2):
        ORIGIN.up.set()
        deadline = time.monotonic() + 15
        while published(pulling, "always/again") < number:
            assert time.monotonic() < deadline, "it was not published"
            time.sleep(0.05)
        with pulling.peer("http") as viewer:
            viewer.send(b"GET /always/again.flv HTTP/1.1\r\nHost: h\r\n\r\n")
            viewer.until(b"FLV\x01")
        ORIGIN.up.clear()
        ORIGIN.stop.set()
        while len([e for e in ends(pulling, "always/again") if e["reason"] == "the response ended"]) < number:
            assert time.monotonic() < deadline, "its end was not noticed"
            time.sleep(0.05)
        ORIGIN.stop.clear()
