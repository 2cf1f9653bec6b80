"""`Server.asgi` in other people's projects, behind ASGI servers that know nothing of us."""

from __future__ import annotations

import socket
from importlib import import_module
from typing import Any

import anyio
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

import penstock
from penstock import Closed, Denied
from penstock.plugins import PluginSet
from penstock_http.api import Request, Route
from penstock_http.plugin import plugin as http

from .port import SECONDS, Answer, hangs
from .projects import django, fastapi, starlette, uvicorn_serves

pytestmark = pytest.mark.anyio

seen: list[str] = []


async def page(request: Request) -> None:
    await request.respond(200, f"{request.root} {request.values['path']}".encode(), etag='"1"')


async def long(request: Request) -> None:
    """A long response as every plugin writes it: through a sink, or where there is none by `send`."""
    request.session("flv")
    await request.start(200, content_type="video/x-flv")
    seen.append(f"sink: {await request.sink()}")
    try:
        for number in range(10_000):
            await request.send(b"%d " % number)
            await anyio.sleep(0.01)
    finally:
        seen.append("ended")


async def counts(request: Request) -> None:
    size = 0
    try:
        async for data in request.body():
            size += len(data)
    except Closed:
        seen.append(f"closed after {size}")
        raise
    await request.respond(200, b"%d bytes" % size)


async def listens(request: Request) -> None:
    await request.start(200, content_type="text/plain")
    if request.method == "WEBSOCKET":
        await request.send(b"hello")
    seen.append(await request.gone())


async def private(request: Request) -> None:
    raise Denied("not you", anonymous=True)


ROUTES = (
    Route("/{path}.m3u8", page),
    Route("/{path}.flv", long, websocket=True),
    Route("/{path}.ts", counts, methods=("POST",)),
    Route("/listens", listens, websocket=True),
    Route("/private", private, websocket=True),
)


@pytest.fixture(autouse=True)
def nothing_seen(logs: list[Any]) -> None:
    seen.clear()


def media() -> penstock.Server:
    """A server that listens nowhere: its routes are for others to mount."""
    found = PluginSet.discover([http, hangs(*ROUTES)], installed=False)
    return penstock.Server({"http": {"listen": ""}}, plugins=found)


async def ask(port: int, line: str, body: bytes = b"") -> Answer:
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        head = f"{line} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        await stream.send(head.encode() + body)
        data = b""
        with anyio.fail_after(SECONDS):
            # Not to its end: Hypercorn does not always close under trio.
            while b"\r\n\r\n" not in data:
                data += await stream.receive()
            wanted = int(Answer.parse(data).headers.get("content-length", 0)) if line[:4] != "HEAD" else 0
            while len(Answer.parse(data).body) < wanted:
                data += await stream.receive()
        return Answer.parse(data)


async def is_seen(*what: str) -> None:
    with anyio.fail_after(SECONDS):
        while not set(what) <= set(seen):
            await anyio.sleep(0.01)


@pytest.mark.parametrize("project", [starlette, fastapi, django])
async def test_the_routes_are_part_of_somebody_elses_project(project: Any) -> None:
    server = media()
    async with uvicorn_serves(project(server)) as port:
        assert (await ask(port, "GET /")).body == b"0 sessions"
        answer = await ask(port, "GET /media/live/a.m3u8")
        assert (answer.status, answer.body, answer.headers["etag"]) == (200, b"/media live/a", '"1"')
        assert (await ask(port, "HEAD /media/live/a.m3u8")).body == b""
        assert (await ask(port, "GET /media/nothing")).status == 404
        assert (await ask(port, "GET /media/../a.m3u8")).status == 400
        assert (await ask(port, "GET /media/%ff.m3u8")).status == 400
        assert (await ask(port, "DELETE /media/a.m3u8")).status == 405
        assert (await ask(port, "GET /media/private")).headers["www-authenticate"].startswith("basic")
        assert (await ask(port, "POST /media/a.ts", b"x" * 300_000)).body == b"300000 bytes"
        await _long_responses(port, server)
        await _websockets(port)
    assert not server.running


async def _long_responses(port: int, server: penstock.Server) -> None:
    # The peer leaves.
    stream = await anyio.connect_tcp("127.0.0.1", port)
    await stream.send(b"GET /media/a.flv HTTP/1.1\r\nHost: a\r\n\r\n")
    while b"0 \r\n" not in await stream.receive():
        pass
    (session,) = server.sessions
    assert session.protocol == "flv"
    await stream.aclose()
    await is_seen("sink: None", "ended")
    assert not len(server.sessions)
    # It is kicked.
    stream = await anyio.connect_tcp("127.0.0.1", port)
    await stream.send(b"GET /media/a.flv HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    await stream.receive()
    next(iter(server.sessions)).kick("enough")
    data = b""
    with anyio.fail_after(SECONDS):
        while not data.endswith(b"0\r\n\r\n"):
            data += await stream.receive()
    await stream.aclose()
    # Who only waits hears of it, and so does who reads.
    for line in ("GET /media/listens", "POST /media/a.ts"):
        stream = await anyio.connect_tcp("127.0.0.1", port)
        await stream.send(f"{line} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabc".encode())
        await anyio.sleep(0.1)
        await stream.aclose()
    await is_seen("the peer left", "closed after 3")


async def _websockets(port: int) -> None:
    seen.clear()
    async with connect(f"ws://127.0.0.1:{port}/media/a.flv") as peer:
        assert [await peer.recv() for _ in range(3)] == [b"0 ", b"1 ", b"2 "]
    await is_seen("sink: None", "ended")
    async with connect(f"ws://127.0.0.1:{port}/media/listens") as peer:
        assert await peer.recv() == b"hello"
        for _ in range(5):
            await peer.send("noise")
    await is_seen("the peer left")
    with pytest.raises(InvalidStatus) as refused:
        await connect(f"ws://127.0.0.1:{port}/media/private")
    assert refused.value.response.status_code == 403


async def test_as_the_application_itself_the_lifespan_starts_and_stops_the_server() -> None:
    server = media()
    async with uvicorn_serves(server.asgi, lifespan="on") as port:
        assert server.running
        assert (await ask(port, "GET /live/a.m3u8")).body == b" live/a"
    assert not server.running


async def test_a_prefix_that_the_asgi_server_tells() -> None:
    server = media()
    async with uvicorn_serves(server.asgi, root_path="/proxied") as port:
        assert (await ask(port, "GET /live/a.m3u8")).body == b"/proxied live/a"


async def test_a_server_that_is_not_started_or_has_no_http_says_so() -> None:
    server = media()
    async with uvicorn_serves(server.asgi, lifespan="off") as port:
        assert (await ask(port, "GET /live/a.m3u8")).status == 503
        async with server:
            assert (await ask(port, "GET /live/a.m3u8")).status == 200
            await server.disable("http")
            assert (await ask(port, "GET /live/a.m3u8")).status == 503
            with pytest.raises(InvalidStatus):
                await connect(f"ws://127.0.0.1:{port}/live/a.flv")
            await server.enable("http")
            assert (await ask(port, "GET /live/a.m3u8")).status == 200


async def test_a_server_that_cannot_start_fails_the_lifespan() -> None:
    found = PluginSet.discover([http], installed=False)
    server = penstock.Server({"server": {"certificate": "/nowhere.pem"}}, plugins=found)
    said: list[Any] = []

    async def receive() -> Any:
        return {"type": "lifespan.startup"}

    async def send(message: Any) -> None:
        said.append(message)

    await server.asgi({"type": "lifespan"}, receive, send)
    assert said == [
        {
            "type": "lifespan.startup.failed",
            "message": "server.certificate: cannot read /nowhere.pem: No such file or directory.",
        }
    ]


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_behind_hypercorn(anyio_backend: str) -> None:
    """Another ASGI server, and under trio, where our own listeners cannot be."""
    from hypercorn.config import Config

    serve: Any = import_module(f"hypercorn.{anyio_backend}").serve
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.graceful_timeout = 0.5
    config.errorlog = config.accesslog = None
    stop = anyio.Event()
    server = media()
    async with server, anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: serve(starlette_of(server), config, shutdown_trigger=stop.wait))
        with anyio.fail_after(SECONDS):
            while True:
                try:
                    assert (await ask(port, "GET /media/live/a.m3u8")).body == b"/media live/a"
                    break
                except OSError:
                    await anyio.sleep(0.02)
        assert (await ask(port, "POST /media/a.ts", b"x" * 300_000)).body == b"300000 bytes"
        await _long_responses(port, server)
        stop.set()


def starlette_of(server: penstock.Server) -> Starlette:
    return Starlette(routes=[Mount("/media", server.asgi)])
