"""The two UDP sockets that all peers share: RTP and RTCP, told apart by the address and port of their SETUP."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any

import anyio
from anyio.lowlevel import checkpoint

from penstock.poller import Poller
from penstock.publisher import Publisher, flush_all
from penstock.udp import RECEIVED, received

REPORTS_NS = 25_000_000
"""How long reports lie unread once one was read: hundreds of players send theirs one by one, and a wake-up of the loop for
each costs more than what it says. Then the next wake-up of the pump takes them along, or none does for as long again."""

Receive = Callable[[bytes, int], Publisher | None]
"""Takes a datagram and its arrival; returns the publisher that has something to flush.

What it raises ends `Port.run`, so that at the shared ports it raises nothing.
"""


def sockaddr(sock: socket.socket, host: str, port: int) -> tuple[Any, ...]:
    """The address of `host` as a socket of that family takes and gives it."""
    if sock.family == socket.AF_INET6:
        return (host if ":" in host else f"::ffff:{host}", port, 0, 0)
    return (host.removeprefix("::ffff:"), port)


class Port:
    """One of the two sockets; datagrams of an address that nobody set up are dropped and counted.

    What comes may lie unread for `rest` ns, and for as long again where the pump does not wake the loop.
    """

    def __init__(self, sock: socket.socket, rest: int = 0) -> None:
        self.sock = sock
        self.rest = rest
        self.number: int = sock.getsockname()[1]
        self.dropped = 0
        self._peers: dict[tuple[Any, ...], Receive] = {}

    def add(self, host: str, port: int, receive: Receive) -> tuple[Any, ...] | None:
        """Listen to an address; returns it as the socket has it, None where another session has it."""
        address = sockaddr(self.sock, host, port)
        if address[:2] in self._peers:
            return None
        self._peers[address[:2]] = receive
        return address

    def remove(self, address: tuple[Any, ...]) -> None:
        self._peers.pop(address[:2], None)

    async def run(self, poller: Poller) -> None:
        """Read until cancelled; what a batch brought is flushed to the readers at its end."""
        while True:
            await poller.wait(self.sock)
            read, touched = self._read()
            await flush_all(touched)
            if self.rest and read < RECEIVED:
                now = time.monotonic_ns()
                await poller.rest(now + 2 * self.rest, now + self.rest)
            else:
                await checkpoint()

    def _read(self) -> tuple[int, dict[Publisher, None]]:
        """Take a batch: how many there were, and who has something to flush."""
        read = 0
        touched: dict[Publisher, None] = {}
        for data, address in received(self.sock):
            read += 1
            receive = self._peers.get(address[:2])
            if receive is None:
                self.dropped += 1
                continue
            publisher = receive(data, time.monotonic_ns())
            if publisher is not None:
                touched[publisher] = None
        return read, touched


class Ports:
    """RTP and RTCP."""

    def __init__(self, rtp: socket.socket, rtcp: socket.socket) -> None:
        self.rtp = Port(rtp)
        self.rtcp = Port(rtcp, REPORTS_NS)

    async def run(self, poller: Poller) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.rtp.run, poller)
            tasks.start_soon(self.rtcp.run, poller)

    def close(self) -> None:
        self.rtp.sock.close()
        self.rtcp.sock.close()
