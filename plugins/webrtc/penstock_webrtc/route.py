"""The ways to a peer: what its datagrams come by, and ours go."""

from __future__ import annotations

import socket
from collections.abc import Callable, Hashable, Sequence
from typing import Protocol

from attrs import frozen

from penstock.datagram import StampSink
from penstock.ring import Unit
from penstock.sink import Spawn
from penstock.udp import send_all
from penstock_webrtc.ice import Address
from penstock_webrtc.pacer import Pacer

Stamp = Callable[[Sequence[Unit]], Sequence[bytes]]
"""Makes a peer's own packets of units."""


class Route(Protocol):
    """One way; two are equal where they lead to the same place."""

    @property
    def sock(self) -> socket.socket: ...

    @property
    def address(self) -> Address:
        """Where the peer is, as we see it."""
        ...

    @property
    def key(self) -> Hashable:
        """By what the port knows whose it is."""
        ...

    @property
    def proven(self) -> bool:
        """Whether somebody is known to be there: over UDP anybody can write any address."""
        ...

    def send(self, datagrams: Sequence[bytes]) -> None: ...

    def hold(self) -> None:
        """A peer uses it from now on."""
        ...

    def release(self) -> None:
        """The peer uses it no more."""
        ...


@frozen
class UdpRoute:
    """A peer's address at one of our UDP sockets."""

    sock: socket.socket
    address: Address

    @property
    def key(self) -> Hashable:
        return self.address

    @property
    def proven(self) -> bool:
        return False

    def send(self, datagrams: Sequence[bytes]) -> None:
        send_all(self.sock, datagrams, self.address)

    def hold(self) -> None:
        """There is nothing to be kept."""

    def release(self) -> None:
        """There is nothing to be kept."""


class RouteSink(StampSink):
    """A peer's packets, by the route that it has chosen last. `stamp` is given the same list as others are, `stamp_each` any."""

    __slots__ = ("pacer", "route", "stamp_each")

    def __init__(self, route: Route, stamp: Stamp, stamp_each: Stamp, spawn: Spawn) -> None:
        super().__init__(route.sock, route.address, stamp, spawn)
        self.route = route
        self.stamp_each = stamp_each
        self.pacer: Pacer | None = None
        """By which pictures go, while the peer's link may not take large ones at once."""

    def emit(self, units: Sequence[Unit]) -> None:
        pacer = self.pacer
        if pacer is None:
            self.route.send(self.stamp(units))
            return
        if sound := [unit for unit in units if not unit.video]:
            self.route.send(self.stamp_each(sound))
        if pictures := [unit for unit in units if unit.video]:
            pacer.put(self.stamp_each(pictures))

    def close(self, reason: str) -> None:
        if self.pacer is not None:
            self.pacer.clear()
        super().close(reason)

    def send(self, datagrams: Sequence[bytes]) -> None:
        self.route.send(datagrams)
