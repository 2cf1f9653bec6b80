"""How many connections there are, of all protocols and by address."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address

from penstock.settings import ServerConfig

SITE_BITS = 64
"""Of an IPv6 address: a site has at least that prefix (RFC 6177 2), and each of its machines as many addresses as it likes
(RFC 8981), so that a limit for each address alone would be none.
"""
NAT64 = 0x64FF9B << 64
"""64:ff9b::/96 (RFC 6052 2.1), without the IPv4 address in its end."""


def site_of(host: str) -> str:
    """What a limit for each address counts as one: an IPv4 address, or the network of an IPv6 one.

    Those of a link (RFC 4291 2.5.6) count as they are, since all that is connected to it has the same network; so does
    what is no address.
    """
    if ":" not in host:
        return host
    try:
        address = IPv6Address(host)
    except ValueError:
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    if int(address) >> 32 == NAT64:
        # It leads to all of IPv4: as one network it would have one limit for everybody there.
        return str(IPv4Address(int(address) & 0xFFFFFFFF))
    if address.is_link_local:
        return host
    rest = 128 - SITE_BITS
    return f"{IPv6Address(int(address) >> rest << rest)}/{SITE_BITS}"


class Places:
    """Places for connections, as many as the configuration allows."""

    def __init__(self) -> None:
        self._taken = 0
        self._by_site: dict[str, int] = {}

    def refusal(self, host: str, limits: ServerConfig) -> str:
        """Why there is no place for another connection from `host`, empty where there is one."""
        most, each = limits.max_connections, limits.max_connections_per_address
        if self._taken >= most:
            return f"server.max_connections ({most}) reached"
        if each and self._by_site.get(site_of(host), 0) >= each:
            return f"server.max_connections_per_address ({each}) reached"
        return ""

    def take(self, host: str) -> Callable[[], None]:
        """Take a place; what is returned gives it back, however often it is called."""
        self._taken += 1
        site = site_of(host)
        self._by_site[site] = self._by_site.get(site, 0) + 1
        held = True

        def release() -> None:
            nonlocal held
            if not held:
                return
            held = False
            self._taken -= 1
            left = self._by_site[site] - 1
            if left:
                self._by_site[site] = left
            else:
                del self._by_site[site]

        return release
