"""How peers reach us: the candidates of an answer, what TURN relays to, and the TURN servers that peers are told of."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

from penstock_webrtc.allocation import Peer
from penstock_webrtc.candidate import Candidate, host_candidates, passive_candidates


class Reach:
    """Our addresses, the UDP port of media, and the port of media over TCP and of TURN, where there is one."""

    def __init__(self, addresses: Iterable[str], port: int, tcp_port: int | None) -> None:
        self._addresses = tuple(dict.fromkeys(addresses))
        self._port = port
        self._tcp_port = tcp_port
        # Peers on this machine reach it over the loopback first of all.
        self._local = tuple(dict.fromkeys(["127.0.0.1", *self._addresses]))
        self._places = {near: self._relayed_to(near) for near in (False, True)}

    def addresses(self, host: str) -> Sequence[str]:
        """Where a peer at `host` finds us."""
        return self._local if _is_near(host) else self._addresses

    def candidates(self, host: str) -> Sequence[Candidate]:
        """What an answer to a peer at `host` has, UDP first."""
        found = host_candidates(self.addresses(host), self._port)
        if self._tcp_port is None:
            return found
        return [*found, *passive_candidates(self.addresses(host), self._tcp_port)]

    def places(self, host: str) -> Sequence[Peer]:
        """The addresses and ports of ours that a client of TURN at `host` may send to; there are no others."""
        return self._places[_is_near(host)]

    def _relayed_to(self, near: bool) -> Sequence[Peer]:
        found: list[Peer] = []
        for address in self._local if near else self._addresses:
            try:
                found.append((str(ipaddress.ip_address(address)), self._port))
            except ValueError:
                continue  # `webrtc.listen` may have a name, which no client of TURN can ask for
        return tuple(found)

    def turn_urls(self, host: str) -> Sequence[str]:
        """TURN URIs (RFC 7065) of our first address of each family, over UDP and over TCP."""
        first: dict[bool, str] = {}
        for address in self.addresses(host):
            first.setdefault(":" in address, f"[{address}]" if ":" in address else address)
        return [
            f"turn:{address}:{self._tcp_port}?transport={transport}"
            for address in first.values()
            for transport in ("udp", "tcp")
        ]


def _is_near(host: str) -> bool:
    return host.removeprefix("::ffff:").startswith("127.") or host == "::1"
