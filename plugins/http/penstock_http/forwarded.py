"""Who a request is from, where proxies that are trusted say whom they ask for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Literal

from penstock.net import format_address

Header = Literal["x-forwarded-for", "forwarded"]

MAX_HOPS = 32
"""Proxies of one request that are looked at, from the nearest on."""
NO_PORT = 0
"""Of a peer whose port no proxy told."""

_NODE = re.compile(
    r"\[([0-9A-Fa-f:.]{2,45})\](?::([0-9]{1,5}))?|([0-9.]{7,15})(?::([0-9]{1,5}))?|([0-9A-Fa-f:.]{2,45})"
)
_PAIR = re.compile(r'\s*([A-Za-z]+)=("(?:[^"\\]|\\.)*"|[^\s;,"]*)\s*')


class Proxies:
    """Addresses and networks whose requests may name another peer, and the header that they do it by."""

    def __init__(self, networks: Iterable[str], header: Header) -> None:
        self._networks = [ip_network(text, strict=False) for text in networks]
        self._header = header
        self._trusts = lru_cache(1024)(self._look_up)

    def __bool__(self) -> bool:
        return bool(self._networks)

    def origin(self, peer: str, headers: Mapping[str, str]) -> tuple[str, bool | None]:
        """The address of the first peer that is not trusted, and whether it came by https; None: nobody says.

        `peer` is who is connected. What stands before the first that is not trusted is anybody's, and not looked at.
        """
        if not self._networks or not self._trusts(peer):
            return peer, None
        secure: bool | None = None
        for hop, (node, proto) in enumerate(self._hops(headers)):
            address = _address(node)
            if address is None or hop == MAX_HOPS:
                break
            peer, secure = address, proto
            if not self._trusts(address):
                break
        return peer, secure

    def _hops(self, headers: Mapping[str, str]) -> Iterator[tuple[str, bool | None]]:
        """From the nearest to the farthest: who each was asked by, and how."""
        if self._header == "forwarded":
            for pairs in reversed(_elements(headers.get("forwarded", ""))):
                yield pairs.get("for", ""), _is_https(pairs.get("proto", ""))
            return
        proto = _is_https(headers.get("x-forwarded-proto", "").rpartition(",")[2])
        for node in reversed(headers.get("x-forwarded-for", "").split(",")):
            yield node.strip(), proto

    def _look_up(self, address: str) -> bool:
        try:
            host = ip_address(address.rpartition(":")[0].strip("[]"))
        except ValueError:
            return False
        return any(host in network for network in self._networks)


def _is_https(proto: str) -> bool | None:
    proto = proto.strip().lower()
    return None if not proto else proto in ("https", "wss")


def _address(node: str) -> str | None:
    """``host:port`` of an address, None where it is none: unknown, or hidden (RFC 7239 6)."""
    match = _NODE.fullmatch(node)
    if match is None:
        return None
    try:
        host = ip_address(match[1] or match[3] or match[5])
    except ValueError:
        return None
    host = getattr(host, "ipv4_mapped", None) or host
    return format_address((str(host), match[2] or match[4] or NO_PORT))


def _elements(text: str) -> list[dict[str, str]]:
    """RFC 7239 4: what each proxy added, the farthest first; what is not understood is an element without pairs."""
    found: list[dict[str, str]] = []
    pairs: dict[str, str] = {}
    position = 0
    while position < len(text):
        match = _PAIR.match(text, position)
        if match is not None:
            value = match[2]
            pairs.setdefault(
                match[1].lower(), re.sub(r"\\(.)", r"\1", value[1:-1]) if value[:1] == '"' else value
            )
            position = match.end()
        end = text[position : position + 1]
        if end == ",":
            found.append(pairs)
            pairs = {}
        elif end not in (";", ""):
            # Nothing before this can be told apart.
            found.append({})
            pairs = {}
            position = text.find(",", position)
            if position < 0:
                return found
        position += 1
    return [*found, pairs]
