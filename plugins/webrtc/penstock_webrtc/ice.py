"""ICE as a lite agent (RFC 8445 2.5): it answers checks, and lets the peer choose; consent is that checks go on (RFC 7675)."""

from __future__ import annotations

from typing import Any, Generic, Protocol, TypeVar

from attrs import define, field, frozen

from penstock_webrtc.stun import BINDING, Attribute, Kind, Said, StunMessage, error_code, xor_address

CONSENT_SECONDS = 30.0
"""RFC 7675 5.1: where nothing has come from for so long, nothing is sent to any more."""
HELD_SECONDS = 8.0
"""An address from which a peer was heard so lately is no other peer's. Each says something at least about every 6 s."""
PUBLISHING_SECONDS = 1.0
"""The same of who publishes, and says something all the time, towards another peer of the same host: who begins again by the port
that it had is not kept waiting."""
MAX_WAYS = 16
"""Addresses that one peer may have at a time: a machine's interfaces, twice over with IPv6."""

Address = tuple[Any, ...]


@frozen
class Credentials:
    """A user name fragment and its password (RFC 8445 5.3)."""

    ufrag: str
    password: str = field(repr=False)


class Way(Protocol):
    """What checks come by, hashable."""

    @property
    def address(self) -> Address:
        """Where they come from: host and port."""
        ...


W = TypeVar("W", bound=Way)


@define(eq=False)
class IceLite(Generic[W]):
    """The checks of one peer. Times are seconds of any steady clock.

    `ways` are those by which a check has come that knew the password; `selected` is the one to send by, as nominated last.
    """

    local: Credentials
    selected: W | None = None
    ways: dict[W, float] = field(factory=dict[W, float])
    alive_at: float = 0.0
    """When the peer has last shown, by `selected`, that it is there and wants what we send."""
    _said: Said | None = None
    """What its last check by `selected` said."""

    def again(self, data: bytes, now: float) -> bytes | None:
        """The answer to a datagram that came by `selected`, where it is the same check as the one before; None for any other."""
        if self._said is None or self.selected is None:
            return None
        key = self.local.password.encode()
        transaction = self._said.again(data, key)
        if transaction is None:
            return None
        self.ways[self.selected] = self.alive_at = now
        return _answer(transaction, self.selected, key)

    def receive(self, request: StunMessage, way: W, now: float, data: bytes = b"") -> bytes | None:
        """The answer to a check that came by `way`; None for what is dropped: who does not know the password hears nothing.

        `data` is its datagram, by which `again` knows the next.
        """
        if request.kind is not Kind.REQUEST or request.method != BINDING:
            return None
        key = self.local.password.encode()
        if not request.verify(key):
            return None
        if unknown := request.unknown:
            # RFC 8489 6.3.1
            codes = b"".join(number.to_bytes(2, "big") for number in unknown)
            return self._refuse(request, 420, "Unknown Attribute", (Attribute.UNKNOWN_ATTRIBUTES, codes))
        if request.get(Attribute.ICE_CONTROLLED) is not None:
            # RFC 8445 7.3.1.1: we are controlled, always (6.1.1), so that it is the peer who has to change its role.
            return self._refuse(request, 487, "Role Conflict")
        self._remember(way, now)
        if self.selected is None or request.get(Attribute.USE_CANDIDATE) is not None:
            self.selected = way
        if way == self.selected:
            self.alive_at = now
            self._said = Said.of(data)
        return _answer(request.transaction, way, key)

    def _refuse(self, request: StunMessage, code: int, reason: str, *more: tuple[int, bytes]) -> bytes:
        attributes = ((int(Attribute.ERROR_CODE), error_code(code, reason)), *more)
        return StunMessage(Kind.ERROR, BINDING, request.transaction, attributes).encode(
            self.local.password.encode()
        )

    def _remember(self, way: W, now: float) -> None:
        self.ways[way] = now
        if len(self.ways) > MAX_WAYS:
            others = (w for w in self.ways if w not in (self.selected, way))
            del self.ways[min(others, key=self.ways.__getitem__)]

    def forget(self, way: W, now: float) -> bool:
        """Give it up. Returns whether another is selected for it: the one heard of last, if there is consent to send by it."""
        self.ways.pop(way, None)
        other = max(self.ways, key=self.ways.__getitem__, default=None)
        if way != self.selected or other is None or now - self.ways[other] > CONSENT_SECONDS:
            return False
        self.selected, self.alive_at = other, self.ways[other]
        return True

    def holds(self, way: W, now: float, *, publishing: bool) -> bool:
        """Whether the peer was heard by it lately."""
        at = self.alive_at if way == self.selected else self.ways.get(way)
        return at is not None and now - at < (PUBLISHING_SECONDS if publishing else HELD_SECONDS)

    def expired(self, now: float) -> bool:
        """Whether consent to send by `selected` has run out."""
        return now - self.alive_at > CONSENT_SECONDS


def _answer(transaction: bytes, way: Way, key: bytes) -> bytes:
    mapped = xor_address(way.address[0], way.address[1], transaction)
    attributes = ((Attribute.XOR_MAPPED_ADDRESS, mapped),)
    return StunMessage(Kind.SUCCESS, BINDING, transaction, attributes).encode(key)
