"""The port: routes, methods, what handlers answer and raise, over real sockets."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from penstock import Closed, Denied, NotFound, ProtocolViolation, UserError
from penstock_http.api import Request, Route

from .port import ask, everything, hangs, port_of, raw, says, serving

pytestmark = pytest.mark.anyio


async def test_routes_come_and_go_with_their_plugins() -> None:
    late = hangs(Route("/late/{path}", says("late")), name_="late")
    async with serving(Route("/{path}.m3u8", says("list")), plugins=[late]) as server:
        assert (await ask(server, "GET /live/a.m3u8")).body == b"list path=live/a"
        assert (await ask(server, "GET /late/a")).status == 200
        await server.disable("late")
        assert (await ask(server, "GET /late/a")).status == 404
        await server.enable("late")
        assert (await ask(server, "GET /late/a")).body == b"late path=a"
        port = port_of(server)
        await server.disable("http")
        with pytest.raises(OSError):
            await anyio.connect_tcp("127.0.0.1", port)
        await server.enable("http")
        assert (await ask(server, "GET /live/a.m3u8")).status == 200


async def test_methods() -> None:
    routes = [
        Route("/{path}.ts", says("watch")),
        Route("/{path}.ts", says("send"), methods=("POST", "PUT")),
        Route("/{path}", says("page")),
    ]
    async with serving(*routes) as server:
        assert (await ask(server, "GET /a.ts")).body == b"watch path=a"
        assert (await ask(server, "POST /a.ts", body=b"x")).body == b"send path=a"
        head = await ask(server, "HEAD /a.ts")
        assert (head.status, head.headers["content-length"], head.body) == (200, "12", b"")
        refused = await ask(server, "DELETE /a.ts")
        assert (refused.status, refused.headers["allow"]) == (405, "GET, OPTIONS, POST, PUT, HEAD".lower())
        assert (await ask(server, "POST /a")).headers["allow"] == "get, options, head"
        options = await ask(server, "OPTIONS /a")
        assert (options.status, options.headers["allow"]) == (204, "get, options, head")
        everything = await ask(server, "OPTIONS *")
        assert (everything.status, everything.headers["allow"]) == (204, "get, options, post, put, head")
        assert (await ask(server, "GET *")).status == 404


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Denied("not you", anonymous=True), 401),
        (NotFound("nobody publishes a"), 404),
        (ProtocolViolation("that is no such thing"), 400),
        (UserError("http.secret must be set"), 500),
        (ValueError("a bug"), 500),
        (SystemExit(3), 500),
    ],
)
async def test_what_a_handler_raises(error: BaseException, status: int, logs: list[dict[str, Any]]) -> None:
    async def handle(request: Request) -> None:
        raise error

    async with serving(Route("/{path}", handle), Route("/fine", says("fine"))) as server:
        answer = await ask(server, "GET /a")
        assert answer.status == status
        assert ("www-authenticate" in answer.headers) == (status == 401)
        assert b"bug" not in answer.body
        assert b"secret" not in answer.body
        told = [line for line in logs if line["event"] in ("protocol violation", "request failed")]
        assert len(told) == (status in (400, 500))
        assert (await ask(server, "GET /fine")).status == 200


async def test_wrong_credentials_are_asked_for_again_and_a_reason_is_told() -> None:
    async def handle(request: Request) -> None:
        given = request.credentials
        if given.user == "banned":
            raise Denied("not you", explained=True)
        if not (given.verify(password="right") or given.query.get("token") == "right"):
            raise Denied("not you", anonymous=given.anonymous)
        await request.respond(200, given.user.encode())

    async with serving(Route("/{path}", handle)) as server:
        assert (await ask(server, "GET /a")).headers["www-authenticate"].startswith("basic realm=")
        assert (await ask(server, "GET /a?variant=ts")).status == 401
        assert (await ask(server, "GET /a?token=right")).status == 200
        assert (await ask(server, "GET /a", "Authorization: Basic bWU6cmlnaHQ=")).body == b"me"
        wrong = await ask(server, "GET /a", "Authorization: Basic bWU6d3Jvbmc=")
        assert wrong.status == 401
        assert wrong.headers["www-authenticate"].startswith("basic realm=")
        banned = await ask(server, "GET /a", "Authorization: Basic YmFubmVkOng=")
        assert (banned.status, banned.body) == (403, b"not you\n")
        assert (await ask(server, "GET /a", "Authorization: Bearer right")).status == 200
        wrong = await ask(server, "GET /a", "Authorization: Bearer wrong")
        assert wrong.status == 401
        assert wrong.headers["www-authenticate"].startswith("bearer realm=")
        assert (await ask(server, "GET /a", "Authorization: Basic ????")).status == 400


async def test_a_long_response_and_its_session() -> None:
    ended: list[str] = []

    async def handle(request: Request) -> None:
        session = request.session("flv")
        assert request.session("flv") is session
        await request.start(200, content_type="video/x-flv")
        try:
            while True:
                await request.send(b"x" * 1000)
                await anyio.sleep(0.01)
        finally:
            ended.append(session.reason)

    async with serving(Route("/{path}.flv", handle)) as server:
        stream = await anyio.connect_tcp("127.0.0.1", port_of(server))
        await stream.send(b"GET /a.flv HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert (await stream.receive()).startswith(b"HTTP/1.1 200 OK\r\n")
        await anyio.sleep(0.1)
        (session,) = server.sessions
        assert session.protocol == "flv"
        assert session.bytes_out >= 1000
        session.kick("enough")
        assert (await everything(stream)).endswith(b"0\r\n\r\n")
        assert ended == ["enough"]
        assert not len(server.sessions)
        await stream.aclose()
        # And one whose peer leaves.
        stream = await anyio.connect_tcp("127.0.0.1", port_of(server))
        await stream.send(b"GET /a.flv HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        await stream.receive()
        await stream.aclose()
        with anyio.fail_after(2):
            while len(ended) < 2 or len(server.sessions):
                await anyio.sleep(0.01)


async def test_a_peer_that_leaves_ends_what_waits_and_what_reads() -> None:
    seen: list[str] = []

    async def waits(request: Request) -> None:
        try:
            await anyio.sleep(60)
        finally:
            seen.append("cancelled")

    async def reads(request: Request) -> None:
        try:
            async for data in request.body():
                seen.append(data.decode())
        except Closed as e:
            seen.append(str(e))
            raise

    async def listens(request: Request) -> None:
        await request.start(200, content_type="text/plain")
        seen.append(await request.gone())

    routes = [Route("/waits", waits), Route("/reads", reads, methods=("POST",)), Route("/listens", listens)]
    async with serving(*routes) as server:
        for line, expected in [
            ("GET /waits", ["cancelled"]),
            ("POST /reads", ["begin", "the peer left"]),
            ("GET /listens", ["the peer left"]),
        ]:
            seen.clear()
            stream = await anyio.connect_tcp("127.0.0.1", port_of(server))
            await stream.send(f"{line} HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nbegin".encode())
            await anyio.sleep(0.05)
            await stream.aclose()
            with anyio.fail_after(2):
                while len(seen) < len(expected):
                    await anyio.sleep(0.01)
            assert seen == expected


async def test_http_1_0_and_pipelining() -> None:
    async def long(request: Request) -> None:
        await request.start(200, content_type="text/plain")
        await request.send(b"one ")
        await request.send(b"two")
        await request.finish()

    async with serving(Route("/{path}", says("page")), Route("/long", long)) as server:
        answer = await raw(server, b"GET /long HTTP/1.0\r\n\r\n")
        assert b"chunked" not in answer
        assert answer.endswith(b"\r\n\r\none two")
        three = b"".join(b"GET /%c HTTP/1.1\r\nHost: a\r\n\r\n" % c for c in b"ab")
        answer = await raw(server, three + b"GET /c HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert [answer.count(b"page path=%c" % c) for c in b"abc"] == [1, 1, 1]
        assert answer.index(b"path=a") < answer.index(b"path=b") < answer.index(b"path=c")
