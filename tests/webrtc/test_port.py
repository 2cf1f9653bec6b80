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
from penstock_formats.rtcp import Nack, ReceiverReport
from penstock_webrtc.route import Route, UdpRoute
from penstock_webrtc.shared import shared_of
from penstock_webrtc.stun import StunMessage
from penstock_webrtc.udp import CALM_REST_NS, REST_NS, Port
from tests.counting import Counting
from tests.webrtc.client import Client, rig
from tests.webrtc.test_whep import KEY, PICTURE, playing, write

pytestmark = pytest.mark.anyio

COUNT, REPORTS = 40, 300
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
async def port_of(peer: Recorder, *, asked: bool = True) -> AsyncGenerator[tuple[Counting, socket.socket]]:
    """The socket of a port that is served, and one whose datagrams are the peer's; `asked` is whether a viewer did lately."""
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
        if asked:
            port.asked_at = time.monotonic_ns()
        port.bind(UdpRoute(here, there.getsockname()), peer)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(port.run, poller)
            yield here, there
            tasks.cancel_scope.cancel()


@pytest.mark.parametrize("asked", [True, False])
async def test_what_viewers_report_is_read_some_at_a_time(asked: bool) -> None:
    peer = Recorder()
    async with port_of(peer, asked=asked) as (here, sock):
        began = time.monotonic_ns()
        with anyio.fail_after(5):
            for _ in range(REPORTS):
                sock.send(REPORT)
                await anyio.sleep(0.001)
            while len(peer.read) < REPORTS:
                await anyio.sleep(0.001)
        took = time.monotonic_ns() - began
    # Each time something is found, it rests; when nothing is found, it waits until there is.
    if asked:
        assert took // CALM_REST_NS < here.readings <= took // REST_NS + 2
    else:
        assert here.readings <= took // (CALM_REST_NS * 2 // 3) + 2


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


async def test_who_lacks_something_has_the_port_read_more_often() -> None:
    async with rig() as served:
        publisher, (picture,) = await served.publish("live/one", PICTURE)
        client = Client(("VP8/90000",))
        await playing(served, client)
        await write(publisher, picture, KEY, 0)
        await client.until(lambda: client.of(96))
        port, (session,) = (
            shared_of(served.server).port,
            [s for s in served.server.sessions if s.protocol == "webrtc"],
        )
        before, heard = port.asked_at, session.bytes_in
        client.send_rtcp(ReceiverReport(1))
        await served.until(lambda: session.bytes_in > heard)
        assert port.asked_at == before
        client.send_rtcp(Nack.of(1, client.of(96)[0].ssrc, [client.of(96)[0].sequence]))
        await served.until(lambda: port.asked_at > before)
