"""What a peer may take: of time, of memory, of places; and what is no HTTP."""

from __future__ import annotations

import re
import socket
import time
from pathlib import Path
from typing import Any

import anyio
import pytest

import penstock
from penstock.plugins import PluginSet
from penstock_http.api import Request, Route
from penstock_http.plugin import plugin as http
from penstock_http.request import AsgiRequest
from penstock_http.uvicorn_http import MAX_PIPELINED, HttpPeer
from tests.certificate import self_signed

from .port import Answer, ask, everything, hangs, port_of, raw, says, serving

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("logs")]

QUICK = {"handshake_timeout": 0.3, "stall_timeout": 0.5}
GET = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"


def reasons(logs: list[dict[str, Any]], event: str) -> list[str]:
    return [line["reason"] for line in logs if line["event"] == event]


@pytest.mark.parametrize(
    ("data", "status", "reason"),
    [
        (b"\x16\x03\x01\x00\x2f\x01\x00", 400, "TLS"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", 400, "SSH"),
        (b"\x03" + bytes(1536), 400, "RTMP"),
        (b"OPTIONS rtsp://a/b RTSP/1.0\r\nCSeq: 1\r\n\r\n", 400, "RTSP"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "HTTP/2"),
        (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + GET, 400, "PROXY"),
        (b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + bytes(12), 400, "PROXY"),
        (b"GET /a HTTP/1.1\r\n\r\n", 400, "Host"),
        (b"GET /a HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, "Host"),
        (b"GET /a HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400, ""),
        (b"GET /a HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400, ""),
        (b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", 400, ""),
        (b"GET /a HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 65536 + b"\r\n\r\n", 431, "headers"),
        (b"GET /a HTTP/1.1\r\nHost: a\r\n" + b"X: 1\r\n" * 10000 + b"\r\n", 431, "headers"),
        (b"GET /" + b"a" * 65536 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 431, "headers"),
        (b"GET /" + b"a" * 3000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 400, "longer"),
        (b"GET /a HTTP/2.0\r\n\r\n", 505, "HTTP/2.0"),
        (b"GET /a\r\n\r\n", 505, "HTTP/0.9"),
        (b"GET /%ff HTTP/1.1\r\nHost: a\r\n\r\n", 400, "UTF-8"),
        (b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n", 400, ""),
        (b"GET /a\0b HTTP/1.1\r\nHost: a\r\n\r\n", 400, ""),
    ],
)
async def test_what_is_refused(data: bytes, status: int, reason: str, logs: list[dict[str, Any]]) -> None:
    async with serving(Route("/{path}", says("page")), keep_alive=1.0) as server:
        assert Answer.parse(await raw(server, data)).status == status
        (said,) = reasons(logs, "protocol violation")
        assert reason in said
        assert (await ask(server, "GET /fine")).status == 200


@pytest.mark.parametrize("extra", [b"", b"POST /a HTTP/1.0\r\nContent-Length: 3000\r\n\r\n" + b"/1." * 1000])
async def test_any_number_of_requests_at_once_is_answered_and_few_wait(extra: bytes) -> None:
    waiting = 0

    async def handle(request: Request) -> None:
        nonlocal waiting
        assert isinstance(request, AsgiRequest)
        assert isinstance(request.peer, HttpPeer)
        waiting = max(waiting, len(request.peer._connection._handles))  # pyright: ignore[reportPrivateUsage]
        await request.respond(200, request.query["n"].encode())

    numbers = [b"%d" % n for n in range(3000)]
    data = b"".join(b"GET /a?n=%s HTTP/1.1\r\nHost:\r\n\r\n" % n for n in numbers)
    async with serving(Route("/{path}", handle)) as server:
        answers = await raw(server, data + extra + b"GET /a?n=x HTTP/1.0\r\n\r\n")
    assert re.findall(rb"\r\n\r\n(\d+|x)(?=HTTP|$)", answers)[: len(numbers)] == numbers
    assert 1 < waiting <= MAX_PIPELINED


async def test_what_came_before_what_is_no_http_is_answered() -> None:
    async with serving(Route("/{path}", says("page"))) as server:
        answers = await raw(server, GET * 2 + b"no HTTP\r\n\r\n")
    assert re.findall(rb"HTTP/1.1 (\d+)", answers) == [b"200", b"200", b"400"]


@pytest.mark.parametrize("before", [b"", GET])
@pytest.mark.parametrize("listens", [True, False])
async def test_a_broken_chunk_size_is_answered(
    before: bytes, listens: bool, logs: list[dict[str, Any]]
) -> None:
    async def take(request: Request) -> None:
        if not listens:
            await anyio.sleep(5)
        async for _ in request.body():
            pass

    routes = Route("/{path}", says("page")), Route("/{path}", take, methods=("POST",))
    head = b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with serving(*routes) as server:
        async with await anyio.connect_tcp("127.0.0.1", port_of(server)) as stream:
            await stream.send(before + head + b"1\r\na\r\n")
            await anyio.sleep(0.02)
            await stream.send(b"ZZ\r\n")
            answers = await everything(stream)
        assert re.findall(rb"HTTP/1.1 (\d+)", answers) == [b"200"] * bool(before) + [b"400"]
        assert answers.endswith(b"not HTTP/1.1: Invalid character in chunk size\n")
        assert reasons(logs, "protocol violation") == ["not HTTP/1.1: Invalid character in chunk size"]


async def test_a_head_that_comes_for_ever_takes_no_memory() -> None:
    """A value that never ends is gathered by the parser before it tells us of it."""
    async with serving(Route("/{path}", says("page"))) as server:
        stream = await anyio.connect_tcp("127.0.0.1", port_of(server))
        await stream.send(b"GET /a HTTP/1.1\r\nX: ")
        sent = 0
        with pytest.raises((anyio.BrokenResourceError, anyio.ClosedResourceError)):  # noqa: PT012
            while sent < 64 << 20:
                await stream.send(bytes(65536).replace(b"\0", b"a"))
                sent += 65536
        assert sent < 16 << 20  # what sockets hold
        await stream.aclose()


@pytest.mark.parametrize(
    "data", [b"", b"GET /a HTT", b"\r\n", GET + b"GET"], ids=["nothing", "half", "empty", "second"]
)
async def test_who_says_nothing_whole_is_closed(data: bytes, logs: list[dict[str, Any]]) -> None:
    async with serving(Route("/{path}", says("page")), server=QUICK) as server:
        began = time.monotonic()
        await raw(server, data)
        assert 0.3 <= time.monotonic() - began < 3
        assert reasons(logs, "connection closed") == ["no request within 0.3 s"]


async def test_one_byte_at_a_time_does_not_help(logs: list[dict[str, Any]]) -> None:
    async with serving(Route("/{path}", says("page")), server=QUICK) as server:
        stream = await anyio.connect_tcp("127.0.0.1", port_of(server))
        began = time.monotonic()
        with pytest.raises(anyio.BrokenResourceError):  # noqa: PT012
            for byte in b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 100:
                await stream.send(bytes([byte]))
                await anyio.sleep(0.05)
        assert time.monotonic() - began < 3
        assert reasons(logs, "connection closed") == ["no request within 0.3 s"]
        await stream.aclose()


async def test_an_idle_connection_is_kept_for_a_while() -> None:
    async with serving(Route("/{path}", says("page")), server=QUICK, keep_alive=1.0) as server:
        stream = await anyio.connect_tcp("127.0.0.1", port_of(server))
        for _ in range(2):
            await stream.send(GET)
            assert (await stream.receive()).startswith(b"HTTP/1.1 200")
            await anyio.sleep(0.6)
        began = time.monotonic()
        assert await everything(stream) == b""
        assert time.monotonic() - began < 1
        await stream.aclose()


@pytest.mark.parametrize("how", ["respond", "send"])
async def test_a_peer_that_does_not_read_is_closed(how: str, logs: list[dict[str, Any]]) -> None:
    body = bytes(30 << 20)
    ended: list[bool] = []

    async def handle(request: Request) -> None:
        request.session("test")
        try:
            if how == "respond":
                await request.respond(200, body)
            else:
                await request.start(200, content_type="x/y")
                while True:
                    await request.send(body[:100_000])
        finally:
            ended.append(True)

    async with serving(Route("/{path}", handle), server=QUICK) as server:
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.connect(("127.0.0.1", port_of(server)))
            sock.send(GET)
            with anyio.fail_after(4):
                while not ended:
                    await anyio.sleep(0.02)
        assert reasons(logs, "session closed") == ["the peer took no data for 0.5 s"]


async def test_what_is_left_of_a_short_answer_is_not_kept_for_ever() -> None:
    """The handler is done, and what it said fits the buffers of the connection, which nobody empties."""
    body = bytes(500_000)

    async def handle(request: Request) -> None:
        await request.respond(200, body)

    async with serving(Route("/{path}", handle), server=QUICK, keep_alive=1.0) as server:
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.connect(("127.0.0.1", port_of(server)))
            for _ in range(3):
                sock.send(GET)
            await anyio.sleep(0.1)
            assert server._places._taken == 1  # pyright: ignore[reportPrivateUsage]
            with anyio.fail_after(6):
                while server._places._taken:  # pyright: ignore[reportPrivateUsage]
                    await anyio.sleep(0.05)


async def test_a_body_that_nobody_reads_is_bounded() -> None:
    """Its answer is there; what still comes is dropped, and the connection closed."""
    async with serving(Route("/{path}", says("no"), methods=("POST",)), server=QUICK) as server:
        stream = await anyio.connect_tcp("127.0.0.1", port_of(server))
        await stream.send(b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n")
        began = time.monotonic()
        assert (await stream.receive()).startswith(b"HTTP/1.1 200")
        with pytest.raises(anyio.BrokenResourceError):  # noqa: PT012
            while time.monotonic() - began < 5:
                await stream.send(b"x" * 100)
                await anyio.sleep(0.02)
        await stream.aclose()


@pytest.mark.parametrize("limits", [{"max_connections": 2}, {"max_connections_per_address": 2}])
async def test_places(limits: dict[str, int], logs: list[dict[str, Any]]) -> None:
    async with serving(Route("/{path}", says("page")), server=limits) as server:
        first = [await anyio.connect_tcp("127.0.0.1", port_of(server)) for _ in range(2)]
        for stream in first:
            await stream.send(GET)
            await stream.receive()
        assert await raw(server, GET) == b""
        (reason,) = reasons(logs, "connection refused")
        assert reason == f"server.{next(iter(limits))} (2) reached"
        await first[0].aclose()
        await anyio.sleep(0.05)
        assert (await ask(server, "GET /a")).status == 200
        await first[1].aclose()


async def test_tls_and_what_is_none(tmp_path: Path, logs: list[dict[str, Any]]) -> None:
    import ssl

    certificate, key = self_signed(tmp_path)
    tls = {"certificate": str(certificate), "key": str(key), **QUICK}
    secure: list[bool] = []

    async def handle(request: Request) -> None:
        secure.append(request.secure)
        await request.respond(200, b"hello")

    async with serving(Route("/{path}", handle), server=tls, listen_tls="127.0.0.1:0") as server:
        port = port_of(server, "https")
        context = ssl.create_default_context(cafile=str(certificate))
        for _ in range(2):
            async with await anyio.connect_tcp("127.0.0.1", port, tls=True, ssl_context=context) as stream:
                await stream.send(GET)
                data = b""
                while not data.endswith(b"hello"):
                    data += await stream.receive()
        assert secure == [True, True]
        for data, reason in ((GET, "plain HTTP on a TLS port"), (b"", "TLS handshake")):
            logs.clear()
            plain = await anyio.connect_tcp("127.0.0.1", port)
            if data:
                await plain.send(data)
            answer = await everything(plain)
            assert answer.startswith(b"HTTP/1.1 400 ") is bool(data)
            assert (b"this port speaks TLS" in answer) is bool(data)
            await plain.aclose()
            with anyio.fail_after(2):
                while not reasons(logs, "connection closed"):
                    await anyio.sleep(0.01)
            assert reason in reasons(logs, "connection closed")[0]
        assert server._places._taken == 0  # pyright: ignore[reportPrivateUsage]


@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_under_trio_it_says_that_it_needs_asyncio() -> None:
    found = PluginSet.discover([http, hangs()], installed=False)
    async with penstock.Server({"http": {"listen": "127.0.0.1:0"}}, plugins=found) as server:
        record = server.plugins.get("http")
        assert record is not None
        assert record.reason == "HTTP needs asyncio: run the server under asyncio or uvloop, not trio"


async def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from penstock_http import server as module

    monkeypatch.setattr(module, "LIBRARIES", ("uvicorn", "httptools_of_nobody"))
    cases: list[tuple[dict[str, Any], str]] = [
        ({}, "HTTP needs httptools_of_nobody: pip install 'penstock[http]'"),
        ({"asgi_server": "uvicron"}, "http.asgi_server: no plugin offers 'uvicron'; did you mean uvicorn?"),
    ]
    for config, reason in cases:
        async with serving(**config) as server:
            record = server.plugins.get("http")
            assert record is not None
            assert (record.status, record.reason) == ("failed", reason)
