"""The one UDP port of all peers: checks of ICE are told apart by the name that they carry, all else by what it came by."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Hashable
from typing import Protocol

from anyio.lowlevel import checkpoint

from penstock.errors import ProtocolViolation
from penstock.net import format_address
from penstock.poller import Poller
from penstock.publisher import Publisher, flush_all
from penstock.udp import RECEIVED, received
from penstock_webrtc.ice import Address
from penstock_webrtc.route import Route, UdpRoute
from penstock_webrtc.stun import Attribute, Kind, StunMessage

REST_NS = 20_000_000
"""What viewers say is read when frames have gone out, and after this at the latest, as a wake-up costs ten times what a report
does: each says something every second, hundreds of them at any moment."""
CALM_REST_NS = 60_000_000
CALM_NS = 10_000_000_000
"""The same, and no sooner than after two thirds of it, where no viewer has asked for so long for what it lacks: they only say
that they are there, and ten of them at once cost half of what they cost one by one, when nothing of it is in a cache."""
HURRIED_REST_NS = 5_000_000
HURRIED_NS = 250_000_000
"""The same for so long after somebody published or shook hands, who are read at once but for what viewers say meanwhile."""


class PortPeer(Protocol):
    """Who gets datagrams; what it raises ends the port, so that it raises nothing."""

    @property
    def busy(self) -> bool:
        """Whether it is at its handshake, or publishes: what it sends is wanted at once."""
        ...

    @property
    def host(self) -> str:
        """Where it is, by a way on which nobody can say that he is elsewhere; as `format_address` has it."""
        ...

    def again(self, data: bytes, key: Hashable, now: int) -> bool:
        """Answer a check that came by the route of that key, if it is one that says nothing new."""
        ...

    def check(self, message: StunMessage, data: bytes, route: Route, now: int) -> None:
        """A check, and the datagram that it came as."""
        ...

    def handshake(self, data: bytes, now: int) -> None: ...

    def holds(self, route: Route, now: int, *, same: bool) -> bool:
        """Whether a route that is bound to it is no other's; `same` is whether that one is of the same host."""
        ...

    def lost(self, route: Route) -> None:
        """A route leads nowhere any more, or to another peer."""
        ...

    def media(self, data: bytes, key: Hashable, now: int) -> Publisher | None:
        """What came by the route of that key. Returns the publisher that has something to flush."""
        ...


class Port:
    """The socket, and whose datagrams are whose. What belongs to nobody is dropped, counted and never answered."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.number: int = sock.getsockname()[1]
        self.dropped = 0
        self.answered: Callable[[StunMessage, Address], bool] | None = None
        """Takes answers to what we have asked, and tells whether they are."""
        self.asked_at = -CALM_NS
        """When a viewer asked for something for the last time."""
        self._hurried = False
        self._hurried_at = 0
        self._names: dict[bytes, PortPeer] = {}
        self._keys: dict[Hashable, PortPeer] = {}

    def name(self, ufrag: str, peer: PortPeer) -> None:
        """Checks that are for `ufrag` are this peer's."""
        self._names[ufrag.encode()] = peer

    def unname(self, ufrag: str) -> None:
        self._names.pop(ufrag.encode(), None)

    def bind(self, route: Route, peer: PortPeer) -> None:
        """A check that knew the password came by `route`."""
        self.lose(route)
        self._keys[route.key] = peer
        route.hold()

    def unbind(self, route: Route, peer: PortPeer) -> None:
        if self._keys.get(route.key) is peer:
            del self._keys[route.key]
            route.release()

    def lose(self, route: Route) -> None:
        """It leads nowhere any more, or to another peer from now on."""
        peer = self._keys.pop(route.key, None)
        if peer is not None:
            peer.lost(route)

    async def run(self, poller: Poller) -> None:
        """Read until cancelled; what a batch brought is flushed to the readers at its end."""
        while True:
            now = time.monotonic_ns()
            self._hurried = False
            read, touched = self._read()
            await flush_all(touched)
            if not read:
                await poller.wait(self.sock)
            elif self._hurried or read == RECEIVED:
                self._hurried_at = now if self._hurried else self._hurried_at
                await checkpoint()
            elif now - self._hurried_at < HURRIED_NS:
                await poller.rest(now + HURRIED_REST_NS)
            elif now - self.asked_at < CALM_NS:
                await poller.rest(now + REST_NS)
            else:
                await poller.rest(now + CALM_REST_NS, now + CALM_REST_NS * 2 // 3)

    def _read(self) -> tuple[int, dict[Publisher, None]]:
        """Take a batch: how many there were, and who has something to flush."""
        touched: dict[Publisher, None] = {}
        read = 0
        for data, address in received(self.sock):
            read += 1
            publisher = self.receive(data, address, time.monotonic_ns())
            if publisher is not None:
                touched[publisher] = None
        return read, touched

    def receive(self, data: bytes, way: Address | Route, now: int) -> Publisher | None:
        """One datagram, by UDP from an address or by another route: what it is says its first byte (RFC 7983 7)."""
        key = way if isinstance(way, tuple) else way.key
        first = data[0] if data else 255
        if 128 <= first < 192:
            peer = self._keys.get(key)
            if peer is not None:
                self._hurried = self._hurried or peer.busy
                return peer.media(data, key, now)
        elif 20 <= first < 64:
            peer = self._keys.get(key)
            if peer is not None:
                self._hurried = True
                peer.handshake(data, now)
                return None
        elif first < 4:
            peer = self._keys.get(key)
            if (peer is not None and not peer.busy and peer.again(data, key, now)) or self._check(
                data, way, now
            ):
                return None
        self.dropped += 1
        return None

    def _check(self, data: bytes, way: Address | Route, now: int) -> bool:
        try:
            message = StunMessage.parse(data)
        except ProtocolViolation:
            return False
        if message.kind in (Kind.SUCCESS, Kind.ERROR):
            return self.answered is not None and isinstance(way, tuple) and self.answered(message, way)
        # RFC 8445 7.2.2: the name of who is asked comes first.
        name = (message.get(Attribute.USERNAME) or b"").partition(b":")[0]
        peer = self._names.get(name)
        if peer is None:
            return False
        route = UdpRoute(self.sock, way) if isinstance(way, tuple) else way
        holder = self._keys.get(route.key)
        if holder is not None and holder is not peer:
            same = peer.host == format_address(route.address).rpartition(":")[0]
            if holder.holds(route, now, same=same):
                # Who writes another's address into its checks would have what comes from there.
                return False
        peer.check(message, data, route, now)
        self._hurried = self._hurried or peer.busy
        return True
