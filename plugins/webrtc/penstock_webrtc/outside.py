"""Keeps the public address of the media port up to date, by STUN servers that are configured."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable
from random import SystemRandom

import anyio

from penstock.errors import ProtocolViolation
from penstock.net import format_address
from penstock.server import Server
from penstock_webrtc.config import STUN_SERVER
from penstock_webrtc.ice import Address
from penstock_webrtc.mapping import Mapping
from penstock_webrtc.reach import Reach
from penstock_webrtc.route import UdpRoute
from penstock_webrtc.stun import StunMessage
from penstock_webrtc.udp import Port

DEFAULT_PORT = 3478
AGAIN_SECONDS = 60.0
"""After so long without any answer it is asked anew where the servers are."""


async def watch_outside(server: Server, port: Port, reach: Reach, uris: Iterable[str]) -> None:
    """Ask again and again, until cancelled."""
    while True:
        servers = [place for uri in uris for place in await _resolved(server, port, uri)]
        mapping = Mapping(servers, SystemRandom(), time.monotonic())

        def tell(mapping: Mapping = mapping) -> None:
            if reach.learn(mapping.mapped):
                found = ", ".join(format_address(place) for place in mapping.mapped)
                server.plugins.limited_log("public addresses", protocol="webrtc", addresses=found or "none")

        def answered(message: StunMessage, address: Address, mapping: Mapping = mapping) -> bool:
            try:
                known = mapping.receive(message, address, time.monotonic())
            except ProtocolViolation:
                return False
            tell(mapping)
            return known

        port.answered = answered
        until = time.monotonic() + AGAIN_SECONDS
        while mapping.mapped or time.monotonic() < until:
            for data, address in mapping.datagrams_to_send(time.monotonic()):
                UdpRoute(port.sock, address).send([data])
            tell()
            await anyio.sleep(max(0.0, min(mapping.next_timeout(), until) - time.monotonic()))
            if mapping.mapped:
                until = time.monotonic() + AGAIN_SECONDS


async def _resolved(server: Server, port: Port, uri: str) -> list[Address]:
    """Where a server is, as the media port's socket has addresses."""
    match = STUN_SERVER.fullmatch(uri)
    if match is None:
        return []
    only6 = port.sock.family == socket.AF_INET6 and port.sock.getsockopt(
        socket.IPPROTO_IPV6, socket.IPV6_V6ONLY
    )
    try:
        found = await anyio.getaddrinfo(
            match[1] or match[2],
            int(match[3] or DEFAULT_PORT),
            family=socket.AF_INET6 if only6 else socket.AF_INET,
            type=socket.SOCK_DGRAM,
        )
    except OSError as e:
        server.plugins.limited_log(
            "a STUN server cannot be found", level="warning", protocol="webrtc", server=uri, reason=e.strerror
        )
        return []
    host, number = found[0][4][:2]
    # A socket for both families has IPv4 addresses within those of IPv6 (RFC 4291 2.5.5.2).
    mapped = port.sock.family == socket.AF_INET6 and not only6
    return [(f"::ffff:{host}" if mapped else str(host), int(number))]
