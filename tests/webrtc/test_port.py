"""When the port of all peers is read: at once where somebody waits for it, else some at a time."""

from __future__ import annotations

import socket
import time
from collections.abc import AsyncGenerator, Hashable
from contextlib import asynccontextmanager

import anyio
import pytest
from attrs import define, field

from penstock.poller import Poller
from penstock_webrtc.route import Route, UdpRoute
from penstock_webrtc.stun import StunMessage
from penstock_webrtc.udp import REST_NS, Port
from tests.counting import Counting

pytestmark = pytest.mark.anyio

COUNT = 40
REPORT = b"\x80\xc9" + bytes(10)
HANDSHAKE = b"\x16" + bytes(12)


@define(eq=False)
class Recorder:
    """A peer that writes down when its datagrams were read."""

    busy: bool = False
    host: str = ""
    read: list[int] = field(factory=list[int])

    def again(self, data: bytes, key: Hashable, now: int) -> bool:
        return False

    def check(self, message: StunMessage, data: bytes, route: Route, now: int) -> None: ...

    def handshake(self, data: bytes, now: int) -> None:
        self.read.append(now)

    def holds(self, route: Route, now: int, *, same: bool) -> bool:
        return True

    def lost(self, route: Route) -> None: ...

    def media(self, data: bytes, key: Hashable, now: int) -> None:
        self.read.append(now)


@asynccontextmanager
async def port_of(peer: Recorder) -> AsyncGenerator[tuple[Counting, socket.socket]]:
    """The socket of a port that is served, and one whose datagrams are the peer's."""
    with (
        Counting(socket.AF_INET, socket.SOCK_DGRAM) as here,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as there,
        Poller() as poller,
    ):
        for sock in (here, there):
            sock.bind(("127.0.0.1", 0))
            sock.setblocking(False)
        there.connect(here.getsockname())
        port = Port(here)
        port.bind(UdpRoute(here, there.getsockname()), peer)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(port.run, poller)
            yield here, there
            tasks.cancel_scope.cancel()


async def test_what_viewers_report_is_read_some_at_a_time() -> None:
    peer = Recorder()
    async with port_of(peer) as (here, sock):
        began = time.monotonic_ns()
        with anyio.fail_after(5):
            for _ in range(COUNT):
                sock.send(REPORT)
                await anyio.sleep(0.001)
            while len(peer.read) < COUNT:
                await anyio.sleep(0.001)
        # Each time something is found, it rests; when nothing is found, it waits until there is.
        assert here.readings <= 2 * ((time.monotonic_ns() - began) // REST_NS + 2)


@pytest.mark.parametrize(("busy", "data"), [(True, REPORT), (False, HANDSHAKE)], ids=["media", "DTLS"])
async def test_who_publishes_or_shakes_hands_does_not_wait(busy: bool, data: bytes) -> None:
    peer = Recorder(busy)
    quick = 0
    async with port_of(peer) as (_, sock):
        with anyio.fail_after(5):
            for count in range(1, COUNT + 1):
                sent = time.monotonic_ns()
                sock.send(data)
                while len(peer.read) < count:
                    await anyio.lowlevel.checkpoint()
                quick += peer.read[-1] - sent < REST_NS // 2
    assert quick > 3, "the port rested each time"
