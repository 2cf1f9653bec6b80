"""Asks STUN servers, from the media port, under which address it is reached from outside (RFC 8489 6.2.1)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf

from attrs import define

from penstock.errors import ProtocolViolation
from penstock_webrtc.allocation import Peer, Randomness
from penstock_webrtc.ice import Address
from penstock_webrtc.stun import BINDING, Attribute, Kind, StunMessage, parse_xor_address

FIRST_WAIT = 0.5
ATTEMPTS = 7
"""RFC 8489 6.2.1: each wait is twice as long, and the last answer is waited for as long as the last but one."""
REFRESH_SECONDS = 20.0
"""Routers forget a mapping over UDP 30 s after its last packet (RFC 4787 4.3 would have 2 minutes)."""


@define
class _Asked:
    """One server, and how far it is."""

    address: Address
    due: float
    transaction: bytes = b""
    attempts: int = 0
    mapped: Peer | None = None


class Mapping:
    """What the servers say. Times are seconds of any steady clock."""

    def __init__(self, servers: Iterable[Address], random: Randomness, now: float) -> None:
        self._servers = [_Asked(address, now) for address in servers]
        self._random = random

    @property
    def mapped(self) -> Sequence[Peer]:
        """The addresses that hold now: one, unless there are several ways out."""
        return tuple(dict.fromkeys(s.mapped for s in self._servers if s.mapped is not None))

    def next_timeout(self) -> float:
        return min((server.due for server in self._servers), default=inf)

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, Address]]:
        """What is due, and to whom."""
        found: list[tuple[bytes, Address]] = []
        for server in self._servers:
            if now < server.due:
                continue
            if server.attempts == ATTEMPTS:
                # Nobody answers: what it said before may not be so any more.
                server.mapped = None
                server.attempts = 0
                server.due = now + REFRESH_SECONDS
                continue
            if server.attempts == 0:
                server.transaction = self._random.randbytes(12)
            server.due = now + FIRST_WAIT * 2 ** min(server.attempts, ATTEMPTS - 2)
            server.attempts += 1
            request = StunMessage(Kind.REQUEST, BINDING, server.transaction)
            found.append((request.encode(), server.address))
        return found

    def receive(self, message: StunMessage, address: Address, now: float) -> bool:
        """Take what may be an answer; whether it is one. Raises `ProtocolViolation` where it has no good address."""
        for server in self._servers:
            asked = server.attempts and message.transaction == server.transaction
            if asked and server.address[:2] == address[:2] and message.method == BINDING:
                value = message.get(Attribute.XOR_MAPPED_ADDRESS)
                if message.kind is not Kind.SUCCESS or value is None:
                    raise ProtocolViolation("the STUN server tells no address", "RFC 8489 6.3.3")
                server.mapped = parse_xor_address(value, message.transaction)
                server.attempts = 0
                server.due = now + REFRESH_SECONDS
                return True
        return False
