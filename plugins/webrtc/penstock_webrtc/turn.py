"""A TURN server (RFC 8656) that relays to our own media port and nowhere else, so that it has no sockets towards peers."""

from __future__ import annotations

import hmac
import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Sequence
from hashlib import md5, sha1
from typing import Generic

from attrs import frozen

from penstock.errors import ProtocolViolation
from penstock.places import site_of
from penstock_webrtc.allocation import Allocation, C, Peer, Randomness
from penstock_webrtc.stun import (
    BINDING,
    Attribute,
    Kind,
    StunMessage,
    error_code,
    parse_xor_address,
    xor_address,
)
from penstock_webrtc.timed import TimedCredentials

REALM = "penstock"
ALLOCATE, REFRESH, SEND, CREATE_PERMISSION, CHANNEL_BIND, CONNECT = 3, 4, 6, 8, 9, 10
"""Methods (RFC 8656 17, RFC 6062 6.1)."""
LIFETIME = 600.0
MAX_LIFETIME = 3600.0
"""RFC 8656 7.2, 3.2: what clients get that ask for nothing, and at most."""
NONCE_SECONDS = 3600.0
"""RFC 8656 5: a nonce is good for at least an hour."""
MAX_ALLOCATIONS = 4096
MAX_EACH_USER = 16
"""A browser makes one for each of its interfaces, over UDP and over TCP."""
MAX_EACH_SITE = 256
"""An office behind one address, or one network of IPv6."""
MAX_ANSWERS = 20
"""Answers in a second to one address that has proven nothing: over UDP it may be that of somebody who is to be flooded."""
MAX_ANSWERED = 1024
"""Such addresses in a second."""

_UDP = 17
_NONCE = re.compile(rb"[0-9a-f]{24}")
_FIRST_PORT = 49_152
"""Of the 16,384 that clients expect (RFC 8656 7.2)."""
_CHANNELS = range(0x4000, 0x5000)
_FAMILIES = {b"\1": 4, b"\2": 6}


@frozen
class Relayed(Generic[C]):
    """A datagram for the media port, sent by a client to `peer`, which is an address of ours."""

    allocation: Allocation[C]
    data: bytes
    peer: Peer


class _Refused(Exception):
    """A request that fails. `challenge` has it say what to sign with."""

    def __init__(self, code: int, reason: str, *more: tuple[int, bytes], challenge: bool = False) -> None:
        super().__init__(reason)
        self.code, self.reason, self.more, self.challenge = code, reason, more, challenge


class TurnServer(Generic[C]):
    """All allocations. `places` has the addresses and ports of our own that a client may send to.

    Times are seconds: `now` of a steady clock, `wall` since 1970.
    """

    def __init__(
        self, credentials: TimedCredentials, places: Callable[[C], Sequence[Peer]], random: Randomness
    ) -> None:
        self.allocations: dict[C, Allocation[C]] = {}
        self._credentials = credentials
        self._places = places
        self._random = random
        self._secret = random.randbytes(20)
        self._ports: set[int] = set()
        self._second = 0
        self._answered: Counter[str] = Counter()

    def receive(self, data: bytes, client: C, now: float, wall: float) -> bytes | Relayed[C] | None:
        """What comes of one message: an answer to the client, a datagram for the media port, or nothing.

        Raises `ProtocolViolation` where it is no message.
        """
        if data[:1] and data[0] >> 6 == 1:
            return self._channel_data(data, client, now)
        message = StunMessage.parse(data)
        if message.kind is Kind.INDICATION and message.method == SEND:
            return self._send(message, client, now)
        if message.kind is not Kind.REQUEST:
            return None
        signed = b""
        try:
            if message.method == BINDING:
                if not self._may_answer(client, now):
                    return None
                mapped = (int(Attribute.XOR_MAPPED_ADDRESS), self._address(client, message))
                return _answer(message, (mapped,), b"")
            if message.method not in _METHODS:
                return None
            name, signed = self._authenticated(message, client, now)
            if unknown := message.unknown:
                codes = b"".join(number.to_bytes(2, "big") for number in unknown)
                raise _Refused(420, "Unknown Attribute", (Attribute.UNKNOWN_ATTRIBUTES, codes))
            if message.method == ALLOCATE:
                return self._allocate(message, client, name, signed, now, wall)
            return self._change(message, client, name, signed, now)
        except ProtocolViolation as e:
            return self._refuse(message, client, _Refused(400, e.reason), signed, now)
        except _Refused as e:
            return self._refuse(message, client, e, signed, now)

    def forget(self, client: C) -> None:
        """The client is gone, and its allocation with it."""
        allocation = self.allocations.pop(client, None)
        if allocation is not None:
            allocation.expires = 0.0
            self._ports.discard(allocation.relayed[1])

    def handle_timeout(self, now: float) -> list[C]:
        """End what has expired; whose that was."""
        gone = [client for client, a in self.allocations.items() if a.expires <= now]
        for client in gone:
            self.forget(client)
        return gone

    # -- who asks -----------------------------------------------------------

    def _authenticated(self, message: StunMessage, client: C, now: float) -> tuple[bytes, bytes]:
        """The name of who asks and the key that it signs with (RFC 8489 9.2.4). Raises `_Refused`."""
        if message.integrity is None:
            raise _Refused(401, "Unauthorized", challenge=True)
        name, nonce = message.get(Attribute.USERNAME), message.get(Attribute.NONCE)
        if name is None or nonce is None or message.get(Attribute.REALM) is None:
            raise _Refused(400, "Bad Request")
        if not self._fresh(nonce, client, now):
            raise _Refused(438, "Stale Nonce", challenge=True)
        words = name + b":" + REALM.encode() + b":" + self._credentials.password(name)
        key = md5(words, usedforsecurity=False).digest()
        if not message.verify(key):
            raise _Refused(401, "Unauthorized", challenge=True)
        return name, key

    def _nonce(self, client: C, at: int) -> bytes:
        """Nothing is kept of it: it says when it was made, and proves for whom (RFC 8489 9.2)."""
        stamp = b"%08x" % at
        place = repr(client.address[:2]).encode()
        return stamp + hmac.digest(self._secret, stamp + place, sha1).hex()[:16].encode()

    def _fresh(self, nonce: bytes, client: C, now: float) -> bool:
        if _NONCE.fullmatch(nonce) is None:
            return False
        at = int(nonce[:8], 16)
        return hmac.compare_digest(self._nonce(client, at), nonce) and at + NONCE_SECONDS > now

    def _may_answer(self, client: C, now: float) -> bool:
        """Whether one who has proven nothing may be answered: who writes another's address must not have it flooded."""
        if client.proven:
            return True
        if int(now) != self._second:
            self._second = int(now)
            self._answered.clear()
        host = str(client.address[0])
        if host not in self._answered and len(self._answered) >= MAX_ANSWERED:
            return False
        self._answered[host] += 1
        return self._answered[host] <= MAX_ANSWERS

    def _refuse(
        self, message: StunMessage, client: C, refused: _Refused, key: bytes, now: float
    ) -> bytes | None:
        if not key and not self._may_answer(client, now):
            return None
        attributes = [(int(Attribute.ERROR_CODE), error_code(refused.code, refused.reason)), *refused.more]
        if refused.challenge:
            attributes.append((Attribute.REALM, REALM.encode()))
            attributes.append((Attribute.NONCE, self._nonce(client, int(now))))
        return _answer(message, attributes, key, Kind.ERROR)

    def _address(self, client: C, message: StunMessage) -> bytes:
        return xor_address(client.address[0], client.address[1], message.transaction)

    # -- what is asked --------------------------------------------------------

    def _allocate(
        self, message: StunMessage, client: C, name: bytes, key: bytes, now: float, wall: float
    ) -> bytes:
        held = self.allocations.get(client)
        if held is not None and held.expires <= now:
            self.forget(client)
        elif held is not None:
            if held.transaction == message.transaction and held.name == name:
                return held.answer  # RFC 8656 7.2: it was sent again
            raise _Refused(437, "Allocation Mismatch")
        if self._credentials.expired(name, wall):
            raise _Refused(401, "Unauthorized", challenge=True)
        transport = message.get(Attribute.REQUESTED_TRANSPORT)
        if transport is None or len(transport) != 4:
            raise _Refused(400, "Bad Request")
        if transport[0] != _UDP:
            raise _Refused(442, "Unsupported Transport Protocol")
        if (
            message.get(Attribute.EVEN_PORT) is not None
            or message.get(Attribute.RESERVATION_TOKEN) is not None
        ):
            raise _Refused(508, "Insufficient Capacity")
        family = _FAMILIES.get((message.get(Attribute.REQUESTED_ADDRESS_FAMILY) or b"\1")[:1])
        host = next((h for h, _ in self._places(client) if ipaddress.ip_address(h).version == family), None)
        if host is None:
            raise _Refused(440, "Address Family not Supported")
        if len(self.allocations) >= MAX_ALLOCATIONS:
            raise _Refused(508, "Insufficient Capacity")
        others, site = self.allocations.values(), site_of(str(client.address[0]))
        if (
            sum(a.name == name for a in others) >= MAX_EACH_USER
            or sum(a.site == site for a in others) >= MAX_EACH_SITE
        ):
            raise _Refused(486, "Allocation Quota Reached")
        lifetime = max(LIFETIME, _lifetime(message))
        relayed = host, self._free_port()
        made = Allocation(client, name, key, relayed, now + lifetime, message.transaction, self._random)
        attributes = (
            (Attribute.XOR_RELAYED_ADDRESS, xor_address(*relayed, message.transaction)),
            (Attribute.LIFETIME, int(lifetime).to_bytes(4, "big")),
            (Attribute.XOR_MAPPED_ADDRESS, self._address(client, message)),
        )
        made.answer = _answer(message, attributes, key)
        self.allocations[client] = made
        return made.answer

    def _free_port(self) -> int:
        """Of a relayed address, which nobody else ever sees; no other allocation has it."""
        port = _FIRST_PORT
        while port in self._ports or port == _FIRST_PORT:
            port = _FIRST_PORT | int.from_bytes(self._random.randbytes(2), "big")
        self._ports.add(port)
        return port

    def _change(self, message: StunMessage, client: C, name: bytes, key: bytes, now: float) -> bytes:
        """What is asked of an allocation that is there."""
        allocation = self.allocations.get(client)
        if allocation is None or allocation.expires <= now:
            raise _Refused(437, "Allocation Mismatch")
        if allocation.name != name:
            raise _Refused(441, "Wrong Credentials")
        if message.method == REFRESH:
            return self._refresh(message, allocation, key, now)
        if message.method == CREATE_PERMISSION:
            self._create_permissions(message, allocation, now)
        elif message.method == CHANNEL_BIND:
            self._bind_channel(message, allocation, now)
        else:
            # RFC 6062 would have us connect to a peer.
            raise _Refused(403, "Forbidden")
        return _answer(message, (), key)

    def _refresh(self, message: StunMessage, allocation: Allocation[C], key: bytes, now: float) -> bytes:
        family = message.get(Attribute.REQUESTED_ADDRESS_FAMILY)
        if family is not None and _FAMILIES.get(family[:1]) != _version(allocation.relayed[0]):
            raise _Refused(443, "Peer Address Family Mismatch")
        asked = _lifetime(message)
        lifetime = max(LIFETIME, asked) if asked else 0.0
        allocation.expires = now + lifetime
        if not lifetime:
            self.forget(allocation.client)
        return _answer(message, ((Attribute.LIFETIME, int(lifetime).to_bytes(4, "big")),), key)

    def _create_permissions(self, message: StunMessage, allocation: Allocation[C], now: float) -> None:
        peers = [
            parse_xor_address(value, message.transaction)
            for kind, value in message.attributes
            if kind == Attribute.XOR_PEER_ADDRESS
        ]
        if not peers:
            raise _Refused(400, "Bad Request")
        own = {host for host, _ in self._places(allocation.client)}
        for host, _ in peers:
            if host not in own:
                raise _Refused(403, "Forbidden")
        self._permit(allocation, [host for host, _ in peers], now)

    def _permit(self, allocation: Allocation[C], hosts: Sequence[str], now: float) -> None:
        if any(_version(host) != _version(allocation.relayed[0]) for host in hosts):
            raise _Refused(443, "Peer Address Family Mismatch")
        if not all(allocation.permit(host, now) for host in hosts):
            raise _Refused(508, "Insufficient Capacity")

    def _bind_channel(self, message: StunMessage, allocation: Allocation[C], now: float) -> None:
        number, value = message.get(Attribute.CHANNEL_NUMBER), message.get(Attribute.XOR_PEER_ADDRESS)
        if number is None or len(number) != 4 or value is None:
            raise _Refused(400, "Bad Request")
        channel = int.from_bytes(number[:2], "big")
        peer = parse_xor_address(value, message.transaction)
        if peer not in self._places(allocation.client):
            raise _Refused(403, "Forbidden")
        if channel not in _CHANNELS:
            raise _Refused(400, "Bad Request")
        self._permit(allocation, [peer[0]], now)
        if not allocation.bind(channel, peer, now):
            raise _Refused(400, "Bad Request")

    # -- what is sent ---------------------------------------------------------

    def _send(self, message: StunMessage, client: C, now: float) -> Relayed[C] | None:
        value, data = message.get(Attribute.XOR_PEER_ADDRESS), message.get(Attribute.DATA)
        if value is None or data is None or message.unknown:
            return None
        return self._relayed(client, parse_xor_address(value, message.transaction), data, now)

    def _channel_data(self, data: bytes, client: C, now: float) -> Relayed[C] | None:
        if len(data) < 4:
            raise ProtocolViolation("ChannelData shorter than its header", "RFC 8656 12.4")
        size = int.from_bytes(data[2:4], "big")
        if 4 + size > len(data):
            raise ProtocolViolation("ChannelData runs past the end", "RFC 8656 12.4")
        allocation = self.allocations.get(client)
        peer = allocation.peer_of(int.from_bytes(data[:2], "big"), now) if allocation is not None else None
        return self._relayed(client, peer, data[4 : 4 + size], now) if peer is not None else None

    def _relayed(self, client: C, peer: Peer, data: bytes, now: float) -> Relayed[C] | None:
        allocation = self.allocations.get(client)
        if allocation is None or allocation.expires <= now or not allocation.permitted(peer[0], now):
            return None
        # A permission is for a host (RFC 8656 9); of ours only the media port is to be reached.
        return Relayed(allocation, data, peer) if peer in self._places(client) else None


_METHODS = (ALLOCATE, REFRESH, CREATE_PERMISSION, CHANNEL_BIND, CONNECT)


def _version(host: str) -> int:
    return ipaddress.ip_address(host).version


def _lifetime(message: StunMessage) -> float:
    value = message.get(Attribute.LIFETIME)
    if value is None:
        return LIFETIME
    if len(value) != 4:
        raise ProtocolViolation("LIFETIME has not 4 bytes", "RFC 8656 18.2")
    return min(float(int.from_bytes(value, "big")), MAX_LIFETIME)


def _answer(
    message: StunMessage, attributes: Sequence[tuple[int, bytes]], key: bytes, kind: Kind = Kind.SUCCESS
) -> bytes:
    return StunMessage(kind, message.method, message.transaction, tuple(attributes)).encode(key or None)
