"""What all peers of a server share, and where its HTTP handlers find it."""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random, SystemRandom
from weakref import WeakKeyDictionary

import anyio
from attrs import define, field

from penstock.errors import UserError
from penstock.places import site_of
from penstock.publisher import Publisher, flush_all
from penstock.server import Server
from penstock_webrtc.config import WebrtcConfig
from penstock_webrtc.dtls import Identity
from penstock_webrtc.ice import Credentials
from penstock_webrtc.reach import Reach
from penstock_webrtc.session import Peer
from penstock_webrtc.timed import TimedCredentials
from penstock_webrtc.udp import Port

BUSY_SECONDS = 0.02
"""How often peers are looked after that are at their handshake or publish: lost packets are asked for again after that."""
CALM_SECONDS = 0.25
MAX_PENDING = 1000
"""Peers that have asked, and not yet shown that they can be reached: each is gone after ``server.handshake_timeout``."""
MAX_PENDING_EACH = 64
"""And of one address, or one network of IPv6, behind which there may be a whole office."""

_UFRAG = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


@define(eq=False)
class Shared:
    """The port, our certificate, and the peers by what their resource's URL ends with."""

    server: Server
    config: WebrtcConfig
    port: Port
    identity: Identity
    reach: Reach
    turn: TimedCredentials | None
    """By which peers are let in by our own TURN server, where there is one."""
    random: Random = field(factory=SystemRandom)
    peers: dict[str, Peer] = field(factory=dict[str, Peer])
    _waiting: dict[str, int] = field(factory=dict[str, int])

    def credentials(self) -> Credentials:
        """RFC 8445 5.3: 24 bits of the name and 128 of the password, and more, are random."""
        return Credentials(self._text(8), self._text(24))

    def token(self) -> str:
        """What nobody can guess: the end of a resource's URL."""
        return f"{self.random.getrandbits(160):040x}"

    def wait(self, host: str) -> Callable[[], None] | None:
        """A place among the peers that are not connected yet; what is returned gives it back. None where there is none."""
        waiting, site = self._waiting, site_of(host)
        if waiting.get(site, 0) >= MAX_PENDING_EACH or sum(waiting.values()) >= MAX_PENDING:
            return None
        waiting[site] = waiting.get(site, 0) + 1
        held = True

        def release() -> None:
            nonlocal held
            if held:
                held = False
                waiting[site] -= 1
                if not waiting[site]:
                    del waiting[site]

        return release

    def _text(self, size: int) -> str:
        return "".join(self.random.choices(_UFRAG, k=size))

    def ice_servers(self, host: str, name: str) -> list[tuple[str, str]]:
        """What a peer at `host` is told of servers that it may use (RFC 9725 4.6): our own TURN server, and those configured.

        `name` is the one by which it came over TLS, empty where it did not.
        """
        found: list[str] = []
        if self.turn is not None:
            user, password = self.turn.issue(time.time(), self._text(8))
            secrets = f'username="{user}"; credential="{password}"; credential-type="password"'
            found = [f'<{url}>; rel="ice-server"; {secrets}' for url in self.reach.turn_urls(host, name)]
        found += [f'<{url}>; rel="ice-server"' for url in self.config.ice_servers]
        return [("link", value) for value in found]

    async def watch(self) -> None:
        """Look after all peers, until cancelled: one task, as they are many."""
        calm_at = 0.0
        while True:
            await anyio.sleep(BUSY_SECONDS if any(p.busy for p in self.peers.values()) else CALM_SECONDS)
            now = time.monotonic()
            everybody = now >= calm_at
            if everybody:
                calm_at = now + CALM_SECONDS
            await flush_all(self._look_after(everybody=everybody))

    def _look_after(self, *, everybody: bool) -> dict[Publisher, None]:
        """Tell the time to all peers or to those who are busy; who has something to flush."""
        touched: dict[Publisher, None] = {}
        now = time.monotonic_ns()
        for peer in tuple(self.peers.values()):
            if (everybody or peer.busy) and (publisher := peer.tick(now)) is not None:
                touched[publisher] = None
        return touched


_shared: WeakKeyDictionary[Server, Shared] = WeakKeyDictionary()


def shared_of(server: Server) -> Shared:
    """What the service of `server` has opened. Raises `UserError` while it does not run."""
    found = _shared.get(server)
    if found is None:
        raise UserError("WebRTC does not listen: the table at the start says why")
    return found


def share(server: Server, shared: Shared | None) -> None:
    """Let the handlers find it, or (None) no longer."""
    if shared is None:
        _shared.pop(server, None)
    else:
        _shared[server] = shared
