"""One allocation of TURN (RFC 8656 3.2): what a client may send to, and how what comes back is wrapped for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

from attrs import Factory, define, field

from penstock.places import site_of
from penstock_webrtc.ice import Address
from penstock_webrtc.stun import Attribute, Kind, StunMessage, xor_address

DATA = 7
PERMISSION_SECONDS = 300.0
CHANNEL_SECONDS = 600.0
"""RFC 8656 9, 12."""
MAX_PEERS = 32
"""Permissions and channels of one allocation: our own addresses are all that there can be, and a machine has few."""


class Client(Protocol):
    """The five-tuple (RFC 8656 2), hashable."""

    @property
    def address(self) -> Address:
        """Where it is, as we see it."""
        ...

    @property
    def proven(self) -> bool:
        """Whether it is known to be there: over UDP anybody can write any address."""
        ...


class Randomness(Protocol):
    """As `random.Random` has it."""

    def randbytes(self, n: int, /) -> bytes: ...


C = TypeVar("C", bound=Client)
Peer = tuple[str, int]
"""A host and a port, as the client names them."""


@define(eq=False)
class Allocation(Generic[C]):
    """Times are seconds of any steady clock."""

    client: C
    name: bytes
    key: bytes = field(repr=False)
    relayed: Peer
    expires: float
    transaction: bytes
    random: Randomness = field(repr=False)
    site: str = field(
        init=False, default=Factory(lambda self: site_of(str(self.client.address[0])), takes_self=True)
    )
    """What the limit for each address counts as one."""
    answer: bytes = b""
    permissions: dict[str, float] = field(factory=dict[str, float])
    channels: dict[int, tuple[Peer, float]] = field(factory=dict[int, tuple[Peer, float]])

    def permitted(self, host: str, now: float) -> bool:
        return self.permissions.get(host, 0.0) > now

    def permit(self, host: str, now: float) -> bool:
        """Whether there was room for the permission."""
        if host not in self.permissions and len(self.permissions) >= MAX_PEERS:
            return False
        self.permissions[host] = now + PERMISSION_SECONDS
        return True

    def bind(self, number: int, peer: Peer, now: float) -> bool:
        """Bind a channel for a while; not where it, or the peer, is bound otherwise (RFC 8656 12.2)."""
        self.channels = {n: c for n, c in self.channels.items() if c[1] > now}
        if any((n == number) != (c[0] == peer) for n, c in self.channels.items()):
            return False
        self.channels[number] = peer, now + CHANNEL_SECONDS
        return True

    def peer_of(self, number: int, now: float) -> Peer | None:
        """Whom a channel leads to."""
        peer, until = self.channels.get(number, (None, 0.0))
        return peer if until > now else None

    def wrap(self, datagrams: Sequence[bytes], peer: Peer, now: float) -> list[bytes]:
        """What the client gets for datagrams of `peer`: by its channel where it has one; nothing without permission."""
        if self.expires <= now or not self.permitted(peer[0], now):
            return []
        for number, (bound, until) in self.channels.items():
            if bound == peer and until > now:
                return [channel_data(number, data) for data in datagrams]
        found: list[bytes] = []
        for data in datagrams:
            transaction = self.random.randbytes(12)
            source = (int(Attribute.XOR_PEER_ADDRESS), xor_address(*peer, transaction))
            attributes = (source, (int(Attribute.DATA), data))
            found.append(StunMessage(Kind.INDICATION, DATA, transaction, attributes).encode())
        return found


def channel_data(number: int, data: bytes) -> bytes:
    """ChannelData (RFC 8656 12.4), padded to whole words as it must be over TCP, and may be over UDP."""
    header = number.to_bytes(2, "big") + len(data).to_bytes(2, "big")
    return header + data + bytes(-len(data) % 4)
