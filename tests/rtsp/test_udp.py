"""The UDP ports that all peers share."""

from __future__ import annotations

import socket

import anyio
import pytest
from anyio.lowlevel import checkpoint

from penstock.poller import Poller
from penstock.udp import RECEIVED
from penstock_rtsp.udp import Port

pytestmark = pytest.mark.anyio

REST = 50_000_000


class Heard:
    """What comes at a port from one peer, each with the turn of the loop in which it was read."""

    def __init__(self, rest: int) -> None:
        self.turn = 0
        self.came: list[tuple[int, bytes]] = []
        self._peer, here = socket.socket(type=socket.SOCK_DGRAM), socket.socket(type=socket.SOCK_DGRAM)
        for sock in (self._peer, here):
            sock.bind(("127.0.0.1", 0))
            sock.setblocking(False)
        self._peer.connect(here.getsockname())
        self.port = Port(here, rest)
        host, number = self._peer.getsockname()
        assert self.port.add(host, number, self._take) is not None
        assert self.port.add(host, number, self._take) is None

    def _take(self, data: bytes, _now: int) -> None:
        self.came.append((self.turn, data))

    def send(self, data: bytes) -> None:
        self._peer.send(data)

    async def until(self, count: int) -> None:
        """Turn the loop until so many have come."""
        with anyio.fail_after(5):
            while len(self.came) < count:
                self.turn += 1
                await anyio.sleep(0.001)
                await checkpoint()

    def close(self) -> None:
        self.port.sock.close()
        self._peer.close()


async def hear(heard: Heard, poller: Poller) -> None:
    """One datagram, three more soon after, and a crowd."""
    heard.send(b"first")
    await heard.until(1)
    for number in range(3):
        heard.send(b"%d" % number)
        await heard.until(0 if heard.port.rest else 2 + number)
        poller.look()
    await heard.until(4)
    for _ in range(2 * RECEIVED):
        heard.send(b"many")
    await heard.until(4 + 2 * RECEIVED)


@pytest.mark.parametrize("rest", [0, REST])
async def test_reports_are_read_together(rest: int) -> None:
    heard = Heard(rest)
    try:
        with Poller() as poller:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(heard.port.run, poller)
                await hear(heard, poller)
                tasks.cancel_scope.cancel()
    finally:
        heard.close()
    soon = {turn for turn, _ in heard.came[1:4]}
    assert len(soon) == (1 if rest else 3)
    many = [turn for turn, _ in heard.came[4:]]
    assert many[-1] - many[0] <= 4, "who is behind does not rest"
