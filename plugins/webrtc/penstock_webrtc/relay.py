"""TURN on the wire: what clients send for our media port is handed to it here, and its answers go back by their connections."""

from __future__ import annotations

import socket
import time
from collections.abc import Hashable, Sequence
from random import SystemRandom

import anyio
from anyio.lowlevel import checkpoint
from attrs import define

from penstock.errors import ProtocolViolation
from penstock.poller import Poller
from penstock.publisher import Publisher, flush_all
from penstock.udp import received
from penstock_webrtc.allocation import Allocation, Peer
from penstock_webrtc.ice import Address
from penstock_webrtc.reach import Reach
from penstock_webrtc.route import Route, UdpRoute
from penstock_webrtc.timed import TimedCredentials
from penstock_webrtc.turn import TurnServer
from penstock_webrtc.udp import Port

WATCH_SECONDS = 1.0


@define(eq=False)
class RelayRoute:
    """A peer that is reached through an allocation, as the one that it takes for us: `peer` is an address of ours."""

    allocation: Allocation[Route]
    peer: Peer

    @property
    def sock(self) -> socket.socket:
        return self.allocation.client.sock

    @property
    def address(self) -> Address:
        return self.allocation.relayed

    @property
    def key(self) -> Hashable:
        return self

    @property
    def proven(self) -> bool:
        return self.allocation.client.proven

    def send(self, datagrams: Sequence[bytes]) -> None:
        wrapped = self.allocation.wrap(datagrams, self.peer, time.monotonic())
        if wrapped:
            self.allocation.client.send(wrapped)

    def hold(self) -> None:
        """The allocation is its client's to keep."""

    def release(self) -> None:
        """The allocation is its client's to end."""


class Relay:
    """The TURN server between its clients and the media port."""

    def __init__(self, port: Port, reach: Reach, credentials: TimedCredentials) -> None:
        self._port = port
        self._turn = TurnServer[Route](
            credentials, lambda client: reach.places(client.address[0]), SystemRandom()
        )
        self._routes: dict[Allocation[Route], dict[Peer, RelayRoute]] = {}

    def receive(self, data: bytes, client: Route, now: int) -> Publisher | None:
        """One message of a client. Raises `ProtocolViolation` where it is none."""
        found = self._turn.receive(data, client, now / 1e9, time.time())
        if isinstance(found, bytes):
            client.send([found])
        elif found is not None:
            routes = self._routes.setdefault(found.allocation, {})
            route = routes.get(found.peer)
            if route is None:
                route = routes[found.peer] = RelayRoute(found.allocation, found.peer)
            return self._port.receive(found.data, route, now)
        return None

    def serves(self, client: Route) -> bool:
        """Whether `client` has an allocation."""
        return client in self._turn.allocations

    def forget(self, client: Route) -> None:
        """The client has left."""
        self._turn.forget(client)
        self._tidy()

    def _tidy(self) -> None:
        live = set(self._turn.allocations.values())
        for allocation in [a for a in self._routes if a not in live]:
            for route in self._routes.pop(allocation).values():
                self._port.lose(route)

    async def watch(self) -> None:
        """End what has expired, until cancelled."""
        while True:
            await anyio.sleep(WATCH_SECONDS)
            for client in self._turn.handle_timeout(time.monotonic()):
                client.release()
            self._tidy()

    async def run(self, sock: socket.socket, poller: Poller) -> None:
        """Serve clients over UDP, until cancelled."""
        while True:
            await poller.wait(sock)
            touched: dict[Publisher, None] = {}
            for data, address in received(sock):
                try:
                    publisher = self.receive(data, UdpRoute(sock, address), time.monotonic_ns())
                except ProtocolViolation:
                    # RFC 8489 6.3: what is no message is dropped.
                    continue
                if publisher is not None:
                    touched[publisher] = None
            await flush_all(touched)
            await checkpoint()
