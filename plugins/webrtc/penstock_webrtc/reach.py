"""How peers reach us: the candidates of an answer, what TURN relays to, and the TURN servers that peers are told of."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

from penstock_webrtc.allocation import Peer
from penstock_webrtc.candidate import Candidate, host_candidates, mapped_candidates, passive_candidates


class Reach:
    """Our addresses, the UDP port of media, and where there are any, that of media over TCP and TURN, and of TURN over TLS."""

    def __init__(
        self, addresses: Iterable[str], port: int, tcp_port: int | None, tls_port: int | None = None
    ) -> None:
        self._addresses = tuple(dict.fromkeys(addresses))
        self._port = port
        self._tcp_port = tcp_port
        self._tls_port = tls_port
        # Peers on this machine reach it over the loopback first of all.
        self._local = tuple(dict.fromkeys(["127.0.0.1", *self._addresses]))
        self._mapped: tuple[Peer, ...] = ()
        self._places: dict[bool, Sequence[Peer]] = {}
        self.learn(())

    def learn(self, mapped: Iterable[Peer]) -> bool:
        """Where the media port is reached from outside, as STUN servers say; whether that is news."""
        before = self._mapped
        own = dict.fromkeys(self._addresses, self._port)
        self._mapped = tuple(place for place in mapped if own.get(place[0]) != place[1])
        for near, addresses in ((False, self._addresses), (True, self._local)):
            places = [(str(ipaddress.ip_address(address)), self._port) for address in addresses]
            self._places[near] = tuple(dict.fromkeys([*places, *self._mapped]))
        return self._mapped != before

    def _own(self, host: str) -> Sequence[str]:
        return self._local if _is_near(host) else self._addresses

    def candidates(self, host: str) -> Sequence[Candidate]:
        """What an answer to a peer at `host` has, UDP first."""
        found = [*host_candidates(self._own(host), self._port), *mapped_candidates(self._mapped)]
        if self._tcp_port is None:
            return found
        # What forwards the one port is taken to forward the other as well.
        addresses = dict.fromkeys([*self._own(host), *(address for address, _ in self._mapped)])
        return [*found, *passive_candidates(addresses, self._tcp_port)]

    def places(self, host: str) -> Sequence[Peer]:
        """The addresses and ports of ours that a client of TURN at `host` may send to; there are no others."""
        return self._places[_is_near(host)]

    def turn_urls(self, host: str, name: str = "") -> Sequence[str]:
        """TURN URIs (RFC 7065), over UDP and over TCP: of one address of each family, that outside where there is one.

        And over TLS of `name`, under which the peer has found our certificate to be good.
        """
        first: dict[bool, str] = {}
        outside = () if _is_near(host) else self._mapped
        for address in (*(address for address, _ in outside), *self._own(host)):
            first.setdefault(":" in address, f"[{address}]" if ":" in address else address)
        secure = [f"turns:{name}:{self._tls_port}?transport=tcp"] if name and self._tls_port else []
        return [
            f"turn:{address}:{self._tcp_port}?transport={transport}"
            for address in first.values()
            for transport in ("udp", "tcp")
        ] + secure


def _is_near(host: str) -> bool:
    return host.removeprefix("::ffff:").startswith("127.") or host == "::1"
