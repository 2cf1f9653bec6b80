"""HTTP/2 over TLS: clients that nobody here wrote, and peers that are up to no good (groups G and H of the faults)."""

from __future__ import annotations

import hashlib
import ssl
import subprocess
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import anyio
import httpx2
import pytest
from anyio.streams.tls import TLSStream
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, DataReceived, Event, ResponseReceived, StreamEnded, StreamReset

import penstock
from penstock_http.api import Request, Route
from penstock_http.http2 import MAX_STREAMS, PATIENCE, Http2Connection
from tests.certificate import self_signed

from .port import port_of, serving

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("logs")]

SEGMENT = b"begin" + Random(1).randbytes(4 << 20)
STALL = 0.5


async def segment(request: Request) -> None:
    await request.respond(200, SEGMENT, content_type="video/mp2t", etag='"1"')


async def playlist(request: Request) -> None:
    await request.respond(200, f"{request.method} {request.address} {request.secure}".encode())


async def grows(request: Request) -> None:
    await request.start(200, content_type="video/mp4")
    for _ in range(3):
        await request.send(b"part ")
    await request.finish()


async def waits(request: Request) -> None:
    await request.gone()


async def endless(request: Request) -> None:
    request.session("test")
    await request.start(200, content_type="video/x-flv")
    while True:
        await request.send(SEGMENT[:100_000])


async def digest(request: Request) -> None:
    found = hashlib.sha256()
    async for data in request.body():
        found.update(data)
    await request.respond(200, found.hexdigest().encode())


async def refuses(request: Request) -> None:
    raise penstock.NotFound("nobody wants it")


ROUTES = (
    Route("/segment", segment),
    Route("/playlist", playlist),
    Route("/grows", grows),
    Route("/waits", waits),
    Route("/endless", endless),
    Route("/digest", digest, methods=("POST",)),
    Route("/refuses", refuses, methods=("POST",)),
)


@asynccontextmanager
async def secure(
    tmp_path: Path, stall: float = 10.0, **config: Any
) -> AsyncGenerator[tuple[penstock.Server, int]]:
    certificate, key = self_signed(tmp_path)
    tables = {"certificate": str(certificate), "key": str(key), "stall_timeout": stall, "drain_timeout": 3.0}
    async with serving(*ROUTES, server=tables, listen_tls="127.0.0.1:0", **config) as server:
        yield server, port_of(server, "https")


class Peer:
    """A client that says exactly what it is told."""

    def __init__(self, stream: TLSStream) -> None:
        self.stream = stream
        self.h2 = H2Connection(H2Configuration(client_side=True))
        self.events: list[Event] = []

    async def flush(self) -> None:
        await self.stream.send(self.h2.data_to_send())

    def ask(self, path: str, method: str = "GET", *, end: bool = True) -> int:
        id = self.h2.get_next_available_stream_id()
        head = [(":method", method), (":scheme", "https"), (":authority", "h"), (":path", path)]
        self.h2.send_headers(id, head, end_stream=end)
        return id

    async def hear(self, until: Callable[[Event], object], seconds: float = 5.0) -> Event:
        with anyio.fail_after(seconds):
            while True:
                for event in self.h2.receive_data(await self.stream.receive()):
                    self.events.append(event)
                    if until(event):
                        return event

    async def closed(self, seconds: float = 5.0) -> None:
        with anyio.fail_after(seconds):
            try:
                while True:
                    self.events += self.h2.receive_data(await self.stream.receive())
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                pass

    def body(self, id: int) -> bytes:
        return b"".join(e.data for e in self.events if isinstance(e, DataReceived) and e.stream_id == id)


@asynccontextmanager
async def peer_of(port: int, *, preface: bool = True) -> AsyncGenerator[Peer]:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"])
    tcp = await anyio.connect_tcp("127.0.0.1", port)
    async with await TLSStream.wrap(
        tcp, ssl_context=context, server_side=False, standard_compatible=False
    ) as tls:
        peer = Peer(tls)
        peer.h2.initiate_connection()
        if not preface:
            peer.h2.data_to_send()
            await tls.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await peer.flush()
        yield peer


def is_end(id: int) -> Callable[[Event], bool]:
    return lambda event: isinstance(event, StreamEnded) and event.stream_id == id


async def curl(*arguments: str) -> str:
    command = ["curl", "-sk", "--max-time", "10", *arguments]
    return (await anyio.run_process(command)).stdout.decode()


async def test_curl_takes_finite_and_growing_bodies(tmp_path: Path) -> None:
    async with secure(tmp_path) as (_, port):
        url = f"https://127.0.0.1:{port}"
        out = tmp_path / "segment"
        shown = await curl("--http2", "-w", "%{http_version}", "-o", str(out), f"{url}/segment")
        assert shown == "2"
        assert out.read_bytes() == SEGMENT
        assert (await curl("--http2", f"{url}/playlist")).startswith("GET 127.0.0.1:")
        head = await curl("--http2", "-I", f"{url}/segment")
        assert head.startswith("HTTP/2 200")
        assert f"content-length: {len(SEGMENT)}\r\n" in head
        assert await curl("--http2", f"{url}/grows") == "part " * 3
        assert await curl("--http2", "-r", "0-4", f"{url}/segment") == "begin"
        sent = await curl("--http2", "--data-binary", f"@{out}", f"{url}/digest")
        assert sent == hashlib.sha256(SEGMENT).hexdigest()
        assert await curl("--http2", "--data-binary", f"@{out}", f"{url}/refuses") == "nobody wants it\n"
        assert await curl("--http2", "-o", "/dev/null", "-w", "%{http_code}", f"{url}/none") == "404"
        assert await curl("--http1.1", "-w", "%{http_version}", f"{url}/grows") == "part " * 3 + "1.1"


async def test_many_requests_at_a_time(tmp_path: Path) -> None:
    async with secure(tmp_path) as (_, port), httpx2.AsyncClient(http2=True, verify=False) as client:
        answers: list[httpx2.Response] = []

        async def get(path: str) -> None:
            answers.append(await client.get(f"https://127.0.0.1:{port}/{path}"))

        async with anyio.create_task_group() as tasks:
            for number in range(60):
                tasks.start_soon(get, ("segment", "playlist", "grows")[number % 3])
        assert {a.http_version for a in answers} == {"HTTP/2"}
        assert sum(a.content == SEGMENT for a in answers) == 20


async def test_it_can_be_switched_off(tmp_path: Path) -> None:
    async with secure(tmp_path, http2=False) as (_, port):
        shown = await curl("--http2", "-w", "%{http_version}", f"https://127.0.0.1:{port}/grows")
        assert shown == "part " * 3 + "1.1"


async def test_a_peer_that_gives_no_window_costs_little_and_is_told(
    tmp_path: Path, logs: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No WINDOW_UPDATE ever comes: 64 KB go out, and the rest is not taken from the handler."""
    given = 0
    send_body = Http2Connection.send_body

    def counted(self: Http2Connection, id: int, data: Any, *, end: bool) -> None:
        nonlocal given
        given += len(data)
        send_body(self, id, data, end=end)

    monkeypatch.setattr(Http2Connection, "send_body", counted)
    async with secure(tmp_path, STALL) as (_, port), peer_of(port) as peer:
        id = peer.ask("/endless")
        other = peer.ask("/segment")
        await peer.flush()
        ended = await peer.hear(lambda e: isinstance(e, StreamReset) and e.stream_id == id)
        assert isinstance(ended, StreamReset)
        assert ended.error_code == ErrorCodes.INTERNAL_ERROR
        # What others ask on the connection goes on once there is room.
        peer.h2.increment_flow_control_window(1 << 24)
        peer.h2.increment_flow_control_window(1 << 24, other)
        await peer.flush()
        await peer.hear(lambda e: isinstance(e, (StreamReset, StreamEnded)) and e.stream_id == other)
    assert given < 65_536 + len(SEGMENT)
    closed = [line["reason"] for line in logs if line["event"] == "session closed"]
    assert closed == ["the peer took no data for 0.5 s"]


async def test_a_peer_that_leaves_and_one_that_resets_end_the_handler(
    tmp_path: Path, logs: list[dict[str, Any]]
) -> None:
    def closed() -> int:
        return sum(line["event"] == "session closed" for line in logs)

    async with secure(tmp_path) as (_, port):
        async with peer_of(port) as peer:
            peer.h2.update_settings({})
            id = peer.ask("/endless")
            await peer.flush()
            await peer.hear(lambda e: isinstance(e, DataReceived))
            peer.h2.reset_stream(id)
            await peer.flush()
            with anyio.fail_after(2):
                while closed() < 1:
                    await anyio.sleep(0.01)
            peer.ask("/endless")
            await peer.flush()
            await peer.hear(lambda e: isinstance(e, ResponseReceived))
        with anyio.fail_after(2):
            while closed() < 2:
                await anyio.sleep(0.01)


@pytest.mark.parametrize(
    "flood",
    ["resets", "pings", "settings", "empty data", "priorities"],
)
async def test_floods_are_ended(flood: str, tmp_path: Path, logs: list[dict[str, Any]]) -> None:
    """CVE-2019-9511 and its kin, and the rapid reset of CVE-2023-44487."""
    async with secure(tmp_path) as (_, port), peer_of(port) as peer:
        open_ = peer.ask("/digest", "POST", end=False)
        try:
            for _ in range(4 * PATIENCE):
                if flood == "resets":
                    peer.h2.reset_stream(peer.ask("/waits"))
                elif flood == "pings":
                    peer.h2.ping(b"12345678")
                elif flood == "settings":
                    await peer.stream.send(b"\0\0\0\4\0\0\0\0\0")
                elif flood == "empty data":
                    peer.h2.send_data(open_, b"")
                else:
                    peer.h2.prioritize(open_, weight=7)
                await peer.flush()
        except anyio.BrokenResourceError:
            pass
        await peer.closed()
    (reason,) = [line["reason"] for line in logs if line["event"] == "protocol violation"]
    assert reason == "frames without end that ask for nothing"


@pytest.mark.parametrize(
    "flood", ["continuation", "large head", "streams", "garbage", "large frame", "no preface"]
)
async def test_what_is_against_the_protocol_is_ended(
    flood: str, tmp_path: Path, logs: list[dict[str, Any]]
) -> None:
    preface = flood != "no preface"
    async with secure(tmp_path) as (_, port), peer_of(port, preface=preface) as peer:
        try:
            if flood == "continuation":
                # HEADERS without END_HEADERS, then CONTINUATION without end: CVE-2024-27316.
                await peer.stream.send(b"\0\0\1\1\0\0\0\0\1\x82")
                for _ in range(2000):
                    await peer.stream.send(b"\0\0\0\x09\0\0\0\0\1")
            elif flood == "large head":
                # An indexed field of 4 KB, forty thousand times: a bomb of HPACK.
                name = b"\x40\x01x\x7f\xe1\x1e" + b"a" * 4000
                block = name + b"\xbe" * 12_000
                await peer.stream.send(len(block).to_bytes(3) + b"\1\5\0\0\0\1" + block)
            elif flood == "streams":
                for _ in range(MAX_STREAMS + 2):
                    peer.ask("/waits")
                    await peer.flush()
            elif flood == "garbage":
                await peer.stream.send(bytes(range(256)) * 256)
            elif flood == "large frame":
                for byte in b"\xff\xff\xff\0\0\0\0\0\1":
                    await peer.stream.send(bytes([byte]))
        except anyio.BrokenResourceError:
            pass
        await peer.closed()
    if flood not in ("continuation", "no preface"):
        # The first goes on when the connection is closed, and so resets it; the other does not speak HTTP/2.
        assert [e for e in peer.events if isinstance(e, ConnectionTerminated) and e.error_code]
    (reason,) = [line["reason"] for line in logs if line["event"] == "protocol violation"]
    assert reason.startswith("not HTTP/2: ")


async def test_time(tmp_path: Path) -> None:
    """Who asks for nothing is not waited for, and neither is who takes nothing on the wire."""
    async with secure(tmp_path, keep_alive=1.0) as (_, port), peer_of(port) as peer:
        id = peer.ask("/grows")
        await peer.flush()
        await peer.hear(is_end(id))
        began = time.monotonic()
        await peer.closed()
        assert time.monotonic() - began < 2.5
        assert isinstance(peer.events[-1], ConnectionTerminated)


async def test_a_server_that_stops_ends_what_waits(tmp_path: Path) -> None:
    async with AsyncExitStack() as peers:
        async with secure(tmp_path) as (_, port):
            idle, peer = [await peers.enter_async_context(peer_of(port)) for _ in range(2)]
            id = peer.ask("/waits")
            await peer.flush()
            await anyio.sleep(0.1)
            began = time.monotonic()
        assert time.monotonic() - began < 3
        await idle.closed()
        await peer.closed()
    assert isinstance(idle.events[-1], ConnectionTerminated)
    assert peer.body(id) == b"the server is stopping\n"


def test_curl_speaks_http2() -> None:
    """Else nothing of the above says anything."""
    done = subprocess.run(["curl", "--version"], capture_output=True, text=True, check=True)
    assert "HTTP2" in done.stdout
