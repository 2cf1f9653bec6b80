"""Plain GETs that are answered where they are read: as the handler answers, in bounds, and in their turn."""

from __future__ import annotations

import re
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.streams.tls import TLSStream

from penstock_http import express
from penstock_http.api import Answer, Asked, Hold, Request, Route
from penstock_http.express import PIECE, Express, plain_head
from penstock_http.turns import Turns
from penstock_http.uvicorn_http import HttpConnection
from tests.certificate import self_signed

from .port import everything, port_of, raw, serving

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("logs")]

GET = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
LARGE = bytes(range(256)) * (16 << 12)
STALL = 0.6


class Page:
    """A route that says which way it was asked."""

    def __init__(self, body: bytes = b"page") -> None:
        self.answer: Answer | Hold | None = Answer(body, "text/html", (("cache-control", "no-cache"),))
        self.late: Answer | None = Answer(b"too late", status=404)
        self.asked: list[str] = []
        self.held: list[Callable[[], None]] = []
        self.taken_back = 0

    def at_once(self, asked: Asked) -> Answer | Hold | None:
        self.asked.append(asked.values["name"])
        return self.answer

    async def handle(self, request: Request) -> None:
        await request.respond(200, b"the handler's")

    def hold(self, seconds: float = 5.0) -> None:
        self.answer = Hold(self._when, seconds, lambda: self.late)

    def _when(self, call: Callable[[], None]) -> Callable[[], None]:
        self.held.append(call)

        def take_back() -> None:
            self.taken_back += 1

        return take_back

    @property
    def route(self) -> Route:
        return Route("/{name}", self.handle, at_once=self.at_once)


async def receive(stream: anyio.abc.ByteReceiveStream, ending: bytes) -> bytes:
    data = b""
    with anyio.fail_after(5):
        while not data.endswith(ending):
            data += await stream.receive()
    return data


async def until(condition: Callable[[], object], seconds: float = 4.0) -> None:
    with anyio.fail_after(seconds):
        while not condition():
            await anyio.sleep(0.01)


@pytest.mark.parametrize(
    ("block", "plain"),
    [
        (b"Host: a\r\n\r\n", True),
        (b"host:a\r\nUser-Agent: x\r\nConnection: keep-alive\r\nAccept-Encoding: gzip\r\n\r\n", True),
        (b"Host: a\r\nAuthorization: Bearer x\r\nOrigin: http://b\r\n\r\n", True),
        (b"\r\n", False),
        (b"Host: a\r\nHost: a\r\n\r\n", False),
        (b"Host: a\r\nConnection: close\r\n\r\n", False),
        (b"Host: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n", False),
        (b"Host: a\r\nRange: bytes=0-1\r\n\r\n", False),
        (b'Host: a\r\nIf-None-Match: "1"\r\n\r\n', False),
        (b"Host: a\r\nExpect: 100-continue\r\n\r\n", False),
        (b"Host: a\r\nContent-Length: 1\r\n\r\n", False),
        (b"Host: a\r\nContent-Length: 0\r\n\r\n", False),
        (b"Host: a\r\nTransfer-Encoding: chunked\r\n\r\n", False),
        (b"Host: a\r\nX y: 1\r\n\r\n", False),
        (b"Host: a\r\n folded\r\n\r\n", False),
        (b"Host: a\0\r\n\r\n", False),
        (b"Host: a\r\n", False),
        (b"Host: a\n\n", False),
    ],
)
def test_what_is_a_plain_get(block: bytes, plain: bool) -> None:
    assert (plain_head(block) is not None) is plain


@pytest.mark.parametrize(
    "request_",
    [
        b"HEAD /a HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /a HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n",
        b"GET /a HTTP/1.1\r\nHost: a\r\nRange: bytes=0-1\r\n\r\n",
        b"GET http://b/a HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET //b/a HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /%ff HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /a?" + b"x=1&" * 101 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /a/../b/" + b"a" * 300 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /none/such HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /a HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 2048 + b"\r\n\r\n",
        b"GET /a HTTP/1.1\r\nHost: a\r\nX: \x01\r\n\r\n",
        GET * 2,
        GET[:-2],
    ],
)
async def test_what_is_none_is_the_handlers(request_: bytes) -> None:
    page = Page()
    async with serving(page.route) as server, await anyio.connect_tcp("127.0.0.1", port_of(server)) as stream:
        await stream.send(request_)
        await anyio.sleep(0.02)
        await stream.send(b"GET /a HTTP/1.0\r\n\r\n")
        assert b"page" not in await everything(stream)
    assert page.asked == []


async def test_it_is_answered_with_all_that_every_response_has() -> None:
    page = Page()
    async with serving(page.route) as server, await anyio.connect_tcp("127.0.0.1", port_of(server)) as stream:
        for name in (b"a", b"b%20b", b"c?d=e"):
            await stream.send(GET.replace(b"/a", b"/" + name))
            head, body = (await receive(stream, b"page")).split(b"\r\n\r\n")
            assert body == b"page"
            assert re.sub(rb"date: [^\r]+\r\n", b"", head).split(b"\r\n") == [
                b"HTTP/1.1 200 OK",
                b"x-content-type-options: nosniff",
                b"access-control-allow-origin: *",
                b"access-control-expose-headers: Accept-Patch, Accept-Post, Content-Length, Content-Range, ETag, Date, "
                b"Location, Link, Retry-After",
                b"cache-control: no-cache",
                b"content-type: text/html",
                b"content-length: 4",
            ]
        page.answer = None
        await stream.send(GET)
        assert b"\r\n\r\nthe handler's" in await receive(stream, b"s")
        page.answer = Answer(b"again")
        await stream.send(GET)
        await receive(stream, b"again")
    assert page.asked == ["a", "b b", "c", "a", "a"]


async def test_what_is_remembered_of_requests_is_bounded_and_goes_with_the_routes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(express, "KNOWN", 3)
    page = Page()
    async with serving(page.route) as server, await anyio.connect_tcp("127.0.0.1", port_of(server)) as stream:
        for name in "abcdeaab":
            await stream.send(GET.replace(b"/a", b"/" + name.encode()))
            assert b" 200 OK\r\n" in await receive(stream, b"page")
        await server.disable("pages")
        await stream.send(GET)
        assert (await receive(stream, b"here\n")).startswith(b"HTTP/1.1 404 ")
        await server.enable("pages")
        for _ in range(2):
            await stream.send(GET)
            await receive(stream, b"page")
    assert page.asked == [*"abcdeaab", "a", "a"]


async def test_an_error_is_found_by_the_handler_too() -> None:
    page = Page()

    def fails(asked: Asked) -> Answer:
        raise ValueError

    async with serving(Route("/{name}", page.handle, at_once=fails)) as server:
        assert b"the handler's" in await raw(server, GET + b"GET /a HTTP/1.0\r\n\r\n")


@pytest.mark.parametrize("secure", [False, True])
async def test_a_peer_that_reads_slowly_gets_all_and_holds_little(
    secure: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes meanwhile is answered after it."""
    page = Page(LARGE)
    waiting = 0
    go_on = Express.go_on

    def watched(self: Express) -> None:
        nonlocal waiting
        go_on(self)
        waiting = max(waiting, self._connection.transport.get_write_buffer_size())  # pyright: ignore[reportPrivateUsage]

    monkeypatch.setattr(Express, "go_on", watched)
    settings: dict[str, Any] = {}
    certificate, key = self_signed(tmp_path)
    if secure:
        settings = {
            "listen_tls": "127.0.0.1:0",
            "server": {"certificate": str(certificate), "key": str(key)},
        }
    async with serving(page.route, **settings) as server:
        port = port_of(server, "https" if secure else "http")
        stream: Any = await anyio.connect_tcp("127.0.0.1", port)
        if secure:
            context = ssl.create_default_context(cafile=str(certificate))
            context.check_hostname = False
            stream = await TLSStream.wrap(
                stream, ssl_context=context, standard_compatible=False, server_side=False
            )
        await stream.send(GET)
        await anyio.sleep(0.1)
        await stream.send(GET * 2)
        data = bytearray()
        with anyio.fail_after(20):
            while data[-1000:].count(b"the handler's") < 2:
                data += await stream.receive(1 << 20)
        bodies = [a.partition(b"\r\n\r\n")[2] for a in bytes(data).split(b"HTTP/1.1 200 OK\r\n")[1:]]
        assert bodies == [LARGE, b"the handler's", b"the handler's"]
        await stream.aclose()
    assert waiting < 3 * PIECE


async def test_a_peer_that_takes_nothing_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    page = Page(LARGE)
    reasons: list[str] = []
    lost = HttpConnection.lost

    def noted(self: HttpConnection, reason: str) -> None:
        reasons.append(reason)
        lost(self, reason)

    monkeypatch.setattr(HttpConnection, "lost", noted)
    async with serving(page.route, server={"stall_timeout": STALL}) as server:
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.connect(("127.0.0.1", port_of(server)))
            sock.send(GET)
            await until(lambda: reasons)
    assert reasons == ["the peer took no data for 0.6 s"]


async def test_an_idle_connection_is_closed_after_a_while() -> None:
    page = Page()
    async with serving(page.route, keep_alive=1.0) as server:
        stream = await anyio.connect_tcp("127.0.0.1", port_of(server))
        for _ in range(3):
            await stream.send(GET)
            await receive(stream, b"page")
            await anyio.sleep(0.7)
        began = time.monotonic()
        assert await everything(stream) == b""
        assert time.monotonic() - began < 1.6
        await stream.aclose()


async def test_what_is_to_come_is_answered_when_it_has() -> None:
    page = Page()
    page.hold()
    async with serving(page.route) as server, await anyio.connect_tcp("127.0.0.1", port_of(server)) as stream:
        await stream.send(GET)
        await until(lambda: page.held)
        await stream.send(GET.replace(b"/a", b"/b"))
        page.held.pop()()  # asked again, it is not there yet
        await until(lambda: page.held)
        page.answer = Answer(b"come")
        page.held.pop()()
        assert (await receive(stream, b"come")).count(b"come") >= 1
        await until(lambda: page.asked == ["a", "a", "a", "b"])
        page.hold()
        await stream.send(GET)
        await until(lambda: page.held)
        page.answer = None
        page.held.pop()()
        await receive(stream, b"the handler's")


async def test_what_does_not_come_is_answered_so() -> None:
    page = Page()
    page.hold(0.1)
    async with serving(page.route) as server, await anyio.connect_tcp("127.0.0.1", port_of(server)) as stream:
        await stream.send(GET)
        answer = await receive(stream, b"too late")
        assert answer.startswith(b"HTTP/1.1 404 Not Found\r\n")
        assert page.taken_back == 1


async def test_what_does_not_come_may_be_for_the_handler_to_say() -> None:
    page = Page()
    page.hold(0.1)
    page.late = None
    async with serving(page.route) as server, await anyio.connect_tcp("127.0.0.1", port_of(server)) as stream:
        await stream.send(GET)
        await receive(stream, b"the handler's")
        assert page.taken_back == 1


async def test_who_leaves_is_waited_for_no_more() -> None:
    page = Page()
    page.hold()
    async with serving(page.route) as server:
        async with await anyio.connect_tcp("127.0.0.1", port_of(server)) as stream:
            await stream.send(GET)
            await until(lambda: page.held)
        await until(lambda: page.taken_back)
        page.held.pop()()


@pytest.mark.parametrize("how", ["held", "half out"])
async def test_a_server_that_stops_ends_it(how: str) -> None:
    page = Page(LARGE)
    if how == "held":
        page.hold(30)
    async with serving(page.route, server={"drain_timeout": 2.0}) as server:
        stream = await anyio.connect_tcp("127.0.0.1", port_of(server))
        await stream.send(GET)
        await until(lambda: page.asked)
        began = time.monotonic()
    assert time.monotonic() - began < 2.5
    data = await everything(stream)
    await stream.aclose()
    if how == "held":
        assert data.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nconnection: close\r\n\r\nthe server is stopping\n" in data
    else:
        assert not data.endswith(LARGE)


async def test_what_is_let_go_by_the_stop_itself_is_the_last_of_its_connection() -> None:
    page = Page()
    page.hold(30)

    async with serving(page.route) as server:
        # So many that the listener is told of the stop a while after the first of them.
        sessions = [server.open_session("test", f"127.0.0.1:{port}") for port in range(1, 640)]

        async def publish() -> None:
            with sessions[0].scope():
                await anyio.sleep_forever()
            page.answer = Answer(b"the end")
            page.held.pop()()
            for session in sessions:
                server.close_session(session)

        server.spawn(publish)
        stream = await anyio.connect_tcp("127.0.0.1", port_of(server))
        await stream.send(GET)
        await until(lambda: page.held)
    data = await everything(stream)
    await stream.aclose()
    assert data.startswith(b"HTTP/1.1 200 ")
    assert data.endswith(b"\r\nconnection: close\r\n\r\nthe end")


async def test_many_at_once_leave_the_loop_its_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is not answered in this pass of the loop is in a later one."""
    page = Page()
    later = 0
    put_off = Turns.later

    def counted(self: Turns, write: Callable[[], None]) -> None:
        nonlocal later
        later += 1
        put_off(self, write)

    def slow(asked: Asked) -> Answer | Hold | None:
        time.sleep(0.004)
        return page.at_once(asked)

    monkeypatch.setattr(Turns, "later", counted)
    async with serving(Route("/{name}", page.handle, at_once=slow)) as server:
        socks = [socket.create_connection(("127.0.0.1", port_of(server))) for _ in range(30)]
        await anyio.sleep(0.2)
        for sock in socks:
            sock.send(GET)
        for sock in socks:
            with sock:
                await anyio.wait_readable(sock)
                assert sock.recv(4096).endswith(b"page")
    assert later > 10
    assert len(page.asked) == 30
