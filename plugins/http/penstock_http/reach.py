"""Where a source may lead: its playlists and redirects name hosts, and none of them is to be one of ours."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from penstock import Closed

_NAT64 = IPv6Network("64:ff9b::/96")
"""RFC 6052: the last four bytes are an IPv4 address, which a router on the way talks to."""


def is_public(text: str) -> bool:
    """Whether an address is anybody's: not of this machine, a private network, a link, a cloud's metadata, or a group."""
    address: IPv4Address | IPv6Address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = IPv4Address(int(address) & 0xFFFFFFFF)
        address = inner or address
    return address.is_global and not address.is_multicast


class Reach:
    """The addresses that one source may lead to.

    A source whose host the operator put on the public network leads to public addresses only, whatever its names mean
    later; one on a private network leads to that host's own addresses only.
    """

    def __init__(self) -> None:
        self._private: frozenset[str] | None = None
        self._known = False

    def allowed(self, host: str, addresses: Iterable[str]) -> list[str]:
        """Those of a host's `addresses` that may be connected to; the first host is the operator's own word.

        Raises `Closed` where there is none.
        """
        found = list(dict.fromkeys(addresses))
        if not self._known:
            self._known = True
            self._private = None if all(map(is_public, found)) else frozenset(found)
            return found
        if self._private is None:
            kept = [address for address in found if is_public(address)]
            rule = "from a public source only public addresses are followed"
        else:
            kept = [address for address in found if address in self._private]
            rule = "from a source on a private network only that host is followed"
        if not kept:
            raise Closed(f"the source leads to {host} ({', '.join(found[:3])}): {rule}")
        return kept
