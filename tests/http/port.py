"""A server with routes on its HTTP port, and a client that says exactly what it is told."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
from anyio.abc import SocketStream
from attrs import field, frozen

import penstock
from penstock import Plugin, hookimpl
from penstock.plugins import PluginSet
from penstock_http.api import Handler, Route
from penstock_http.plugin import plugin as http

SECONDS = 5.0


def hangs(*routes: Route, name_: str = "pages") -> Plugin:
    """A plugin that hangs `routes` on the port."""

    class Pages(Plugin):
        name = name_

        @hookimpl
        def http_routes(self) -> Iterable[Route]:
            return routes

    return Pages()


@asynccontextmanager
async def serving(
    *routes: Route, plugins: Iterable[Plugin] = (), server: Mapping[str, Any] | None = None, **config: Any
) -> AsyncGenerator[penstock.Server]:
    """A server with `routes` and the tables ``[http]`` (`config`) and ``[server]``."""
    tables = {"http": {"listen": "127.0.0.1:0", **config}, "server": server or {}}
    found = PluginSet.discover([http, hangs(*routes), *plugins], installed=False)
    async with penstock.Server(tables, plugins=found) as running:
        yield running


def port_of(server: penstock.Server, what: str = "http") -> int:
    return next(e.port for e in server.endpoints if e.what == what)


@frozen
class Answer:
    """A response, as it came."""

    status: int
    headers: dict[str, str]
    body: bytes = field(repr=lambda b: repr(b[:200]))

    @classmethod
    def parse(cls, data: bytes) -> Answer:
        head, _, body = data.partition(b"\r\n\r\n")
        first, *rest = head.decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in rest)
        if headers.get("transfer-encoding") == "chunked":
            body = _unchunked(body)
        return cls(int(first.split()[1]), headers, body)


def _unchunked(data: bytes) -> bytes:
    body = b""
    while True:
        size, _, data = data.partition(b"\r\n")
        if not int(size, 16):
            assert data == b"\r\n"
            return body
        body, data = body + data[: int(size, 16)], data[int(size, 16) + 2 :]


async def everything(stream: SocketStream) -> bytes:
    """What comes until the server closes."""
    data = b""
    with anyio.fail_after(SECONDS):
        try:
            while True:
                data += await stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return data


async def raw(server: penstock.Server, data: bytes) -> bytes:
    """What the port answers to `data` before it closes."""
    async with await anyio.connect_tcp("127.0.0.1", port_of(server)) as stream:
        await stream.send(data)
        return await everything(stream)


async def ask(server: penstock.Server, line: str, *headers: str, body: bytes = b"") -> Answer:
    """The answer to a request such as ``GET /live/a.m3u8``, on a connection of its own."""
    lines = [f"{line} HTTP/1.1", "Host: media.example", "Connection: close", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return Answer.parse(await raw(server, "\r\n".join([*lines, "", ""]).encode("latin-1") + body))


def says(text: str) -> Handler:
    """A handler that answers `text`, and what was found in the path."""

    async def handle(request: Any) -> None:
        found = "".join(f" {name}={value}" for name, value in request.values.items())
        await request.respond(200, f"{text}{found}".encode())

    return handle
