"""``penstock.socket``: a feed's sink on a duplicate of the socket, beside which the ASGI server writes nothing more."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import anyio
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

import penstock
from penstock import ByteSink
from penstock_http.api import Request, Route
from tests.certificate import self_signed

from .port import SECONDS, everything, port_of, serving

pytestmark = pytest.mark.anyio

CHUNK = 70_000
CHUNKS = 120
"""8.4 MB: many times what the sockets hold."""


def chunks() -> Iterator[bytes]:
    for number in range(CHUNKS):
        yield sha256(bytes([number])).digest() * (CHUNK // 32) + bytes([number]) * (CHUNK % 32)


def frames() -> Iterator[bytes]:
    """The same as WebSocket frames of the server (RFC 6455 5.2)."""
    for chunk in chunks():
        yield b"\x82\x7f" + struct.pack(">Q", len(chunk)) + chunk


class Units:
    """A source that a sink catches up on, as it does with a feed's reader."""

    def __init__(self, units: Iterator[bytes]) -> None:
        self._units = units
        self.done = anyio.Event()
        self.reason = ""

    def catch_up(self) -> bytes | None:
        unit = next(self._units, None)
        if unit is None:
            self.done.set()
        return unit

    def held(self) -> None: ...

    def ended(self, reason: str) -> None:
        self.reason = reason
        self.done.set()


ended: list[str] = []


async def pours(request: Request) -> None:
    session = request.session("test")
    await request.start(200, content_type="video/x-flv")
    sink = await request.sink()
    assert isinstance(sink, ByteSink)
    assert await request.sink() is sink
    units = Units(frames() if request.method == "WEBSOCKET" else chunks())
    sink.source = units
    sink.drain()
    await units.done.wait()
    ended.append(units.reason)
    if not session.reason:
        await request.finish()


async def stays(request: Request) -> None:
    await request.start(200, content_type="video/x-flv")
    sink = await request.sink()
    assert sink is not None
    sink.control(b"\x82\x04head" if request.method == "WEBSOCKET" else b"head")
    ended.append(await request.gone())


ROUTES = (Route("/pours", pours, websocket=True), Route("/stays", stays, websocket=True))


@pytest.fixture(autouse=True)
def nothing_ended() -> None:
    ended.clear()


def descriptors() -> int:
    """Sockets that are open in this process."""
    count = 0
    for number in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            count += os.readlink(f"/proc/self/fd/{number}").startswith("socket:")
    return count


@pytest.mark.parametrize("slow", [False, True], ids=["fast", "slow"])
async def test_all_bytes_arrive_as_they_are_over_http(slow: bool, logs: list[Any]) -> None:
    async with serving(*ROUTES) as server:
        await anyio.sleep(0.02)
        before = descriptors()
        async with await anyio.connect_tcp("127.0.0.1", port_of(server)) as stream:
            if slow:
                sock: socket.socket = stream.extra(anyio.abc.SocketAttribute.raw_socket)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
            # What is pipelined behind it is never answered, and disturbs nothing.
            await stream.send(
                b"GET /pours HTTP/1.1\r\nHost: a\r\n\r\n" + b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
            )
            head = b""
            while b"\r\n\r\n" not in head:
                head += await stream.receive(1)
            assert b"connection: close" in head
            assert b"transfer-encoding" not in head
            await stream.send(b"noise that nobody asked for")
            if slow:
                await anyio.sleep(0.2)
            digest, size = sha256(), 0
            with anyio.fail_after(4 * SECONDS):
                try:
                    while True:
                        data = await stream.receive(65_536)
                        digest.update(data)
                        size += len(data)
                        if slow:
                            await anyio.sleep(0.002)
                except anyio.EndOfStream:
                    pass
        wanted = sha256(b"".join(chunks()))
        assert (size, digest.digest()) == (CHUNK * CHUNKS, wanted.digest())
        assert ended == [""]
        with anyio.fail_after(2):
            while descriptors() > before:
                await anyio.sleep(0.01)


@pytest.mark.parametrize("slow", [False, True], ids=["fast", "slow"])
async def test_pongs_go_between_the_frames_of_a_websocket(slow: bool, logs: list[Any]) -> None:
    async with serving(*ROUTES) as server:
        url = f"ws://127.0.0.1:{port_of(server)}/pours"
        async with connect(url, max_queue=1) as peer:
            pongs = [await peer.ping(b"ping %d" % n) for n in range(20)]
            for number, wanted in enumerate(chunks()):
                assert await peer.recv() == wanted, number
                if number % 10 == 0 and number < CHUNKS / 2:
                    pongs.append(await peer.ping())
                    await anyio.sleep(0.05 if slow else 0)
            with anyio.fail_after(SECONDS):
                for pong in pongs:
                    await pong
                await peer.wait_closed()
            assert peer.close_code == 1000
        assert ended == [""]


@pytest.mark.parametrize("how", ["close frame", "end", "reset"])
async def test_a_peer_that_leaves_ends_it(how: str, logs: list[Any]) -> None:
    async with serving(*ROUTES) as server:
        before = descriptors()
        if how == "close frame":
            async with connect(f"ws://127.0.0.1:{port_of(server)}/stays") as peer:
                assert await peer.recv() == b"head"
            assert peer.close_code == 1000
        else:
            stream = await anyio.connect_tcp("127.0.0.1", port_of(server))
            await stream.send(b"GET /stays HTTP/1.1\r\nHost: a\r\n\r\n")
            data = b""
            while not data.endswith(b"head"):
                data += await stream.receive()
            if how == "reset":
                sock: socket.socket = stream.extra(anyio.abc.SocketAttribute.raw_socket)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            await stream.aclose()
        with anyio.fail_after(2):
            while not ended or descriptors() > before:
                await anyio.sleep(0.01)
        assert ended == ["the peer left"]


async def test_a_peer_that_does_not_read_is_closed_with_a_reason(logs: list[Any]) -> None:
    async with serving(*ROUTES, server={"stall_timeout": 0.2}) as server:
        stream = await anyio.connect_tcp("127.0.0.1", port_of(server))
        await stream.send(b"GET /pours HTTP/1.1\r\nHost: a\r\n\r\n")
        with anyio.fail_after(SECONDS):
            while not [line for line in logs if line["event"] == "session closed"]:
                await anyio.sleep(0.02)
        (line,) = (line for line in logs if line["event"] == "session closed")
        assert line["reason"] == "the peer took no data for 0.2 s"
        await stream.aclose()


@pytest.mark.parametrize("path", ["pours", "stays"])
async def test_a_server_that_stops_ends_it(path: str, logs: list[Any]) -> None:
    async with serving(*ROUTES) as server:
        stream = await anyio.connect_tcp("127.0.0.1", port_of(server))
        await stream.send(f"GET /{path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        await stream.receive(1)
        async with connect(f"ws://127.0.0.1:{port_of(server)}/{path}") as peer:
            await peer.recv()
            began = anyio.current_time()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(everything, stream)
                await server.disable("http")
                assert anyio.current_time() - began < 3.5
                with anyio.fail_after(2), suppress(ConnectionClosed):
                    while True:
                        await peer.recv()
        await stream.aclose()


async def test_where_it_cannot_be(tmp_path: Path, logs: list[Any]) -> None:
    """Over TLS, and where the length is told, `send` is what is left."""
    sinks: list[object] = []

    async def handle(request: Request) -> None:
        known = [("content-length", "5")] if request.query else []
        await request.start(200, content_type="text/plain", headers=known)
        sinks.append(await request.sink())
        await request.send(b"hello")
        await request.finish()

    certificate, key = self_signed(tmp_path)
    tls = {"certificate": str(certificate), "key": str(key)}
    async with serving(Route("/{path}", handle), server=tls, listen_tls="127.0.0.1:0") as server:
        data = b""
        for port, line in (("http", b"GET /a?x=y"), ("https", b"GET /a")):
            stream: Any
            if port == "https":
                import ssl

                context = ssl.create_default_context(cafile=str(certificate))
                stream = await anyio.connect_tcp(
                    "127.0.0.1",
                    port_of(server, port),
                    tls=True,
                    ssl_context=context,
                    tls_standard_compatible=False,
                )
            else:
                stream = await anyio.connect_tcp("127.0.0.1", port_of(server, port))
            await stream.send(line + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            data = await everything(stream)
            await stream.aclose()
            assert b"hello" in data
    assert sinks == [None, None]
    assert isinstance(server, penstock.Server)
