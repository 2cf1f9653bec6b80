"""The listening side of the handshake, for many peers at one socket (draft-sharabayko-srt-01 4.3.1)."""

from __future__ import annotations

import hashlib
import hmac
from collections import deque

from attrs import define, evolve, field, frozen

from penstock.errors import ProtocolViolation
from penstock.places import site_of
from penstock_srt.allowance import Allowance
from penstock_srt.bond import Bond, Joined
from penstock_srt.connection import Connection, Terms
from penstock_srt.extension import Extensions, GroupType, Hello
from penstock_srt.handshake import (
    LEGACY_VERSION,
    MAGIC,
    REFUSAL,
    VERSION,
    Handshake,
    Kind,
    RejectReason,
)
from penstock_srt.key_material import KeyMaterial
from penstock_srt.negotiation import MAX_ID, Grant, check, grant
from penstock_srt.packet import HEADER_SIZE, ControlPacket, ControlType
from penstock_srt.settings import MS, Address, Randomness, Settings

COOKIE_PERIOD = 60_000 * MS
"""A cookie is good for the rest of such a period and the one after it."""
MAX_REQUESTS = 4096
"""Callers that may wait for their answer, as players do for a stream that is not there yet."""
MAX_REQUESTS_EACH = 64
"""And of one address, or one network of IPv6."""
ANSWER_TIMEOUT = 3000 * MS
"""A request that is not answered by then is gone: so is its caller."""

Peer = tuple[Address, int]
"""An address, and a socket id there."""
PeerGroup = tuple[int, bytes]
"""A peer's group id, and the stream id that all of its links have."""


@define(eq=False)
class Request:
    """A caller that proved its address. `stream_id` is as it was sent; `encrypted` is whether it sent keys, `version`
    its library's (1.5.1 is 0x010501). The rest is what the listener needs to answer.
    """

    address: Address
    stream_id: bytes
    encrypted: bool
    version: int
    listener: Listener
    handshake: Handshake
    extensions: Extensions
    hello: Hello
    arrived: int
    stamp: int
    blocks: int
    """What it takes to look at its keys, as `KeyMaterial.blocks`."""
    answered: bool = field(default=False, init=False)

    @property
    def peer_group(self) -> PeerGroup:
        """Of which group of the peer's it is to be a link; 0 is none."""
        group = self.extensions.group
        return (0 if group is None else group.id), self.stream_id

    @property
    def bond(self) -> Bond | None:
        """What it is to join; None where it is the first of its group, or alone."""
        return self.listener.bond(self.peer_group)

    def accept(self, now: int, passphrase: str = "", latency: int | None = None) -> None:
        """Let it in; an `Accepted` event follows, `Joined` where it has a `bond`, `Refused` where the passphrases differ, or
        `PutOff`.

        Both sides have the same one or both have none; of a bond it is the first link's. `latency` in ms takes the place
        of the settings'.
        """
        self.listener.accept(self, now, passphrase, latency)

    def reject(self, reason: int) -> None:
        """Refuse it for a `Rejection`, or another number from 1000 on."""
        self.listener.refuse(self, reason)


@frozen
class Requested:
    """Somebody calls: `request` is to be answered within three seconds. Each link of a group is asked for by itself."""

    request: Request


@frozen
class Accepted:
    """A connection is made; where the caller means to bond several, it is the first link of `bond`."""

    connection: Connection
    bond: Bond | None = None


@frozen
class Refused:
    """A caller was refused; `reason` is a `RejectReason` or what the application said."""

    address: Address
    stream_id: bytes
    reason: int


@frozen
class PutOff:
    """A caller with keys got no answer, as too many had come: it asks again, libsrt each quarter of a second."""

    address: Address


Event = Requested | Accepted | Joined | Refused | PutOff


class Listener:
    """Takes datagrams of all peers. `connections` are by the four bytes 12 to 16 of the datagrams that are for them, so
    that a caller with many datagrams can hand them over together; their `address` must be the datagram's.

    Nothing is kept of a peer before it sends a valid cookie. A connection that is over is to be released.
    """

    def __init__(self, settings: Settings, random: Randomness) -> None:
        self.settings = settings
        self.connections: dict[bytes, Connection] = {}
        self.malformed = 0
        """Datagrams that were dropped without an answer."""
        self._allowance = Allowance()
        self._random = random
        self._secret = random.randbytes(32)
        self._events: deque[Event] = deque()
        self._replies: list[tuple[bytes, Address]] = []
        self._requests: dict[Peer, Request] = {}
        self._by_site: dict[str, int] = {}
        self._answers: dict[Peer, tuple[Connection, Handshake]] = {}
        self._bonds: dict[PeerGroup, tuple[Bond, int, str]] = {}

    def receive_datagram(self, data: bytes, addr: Address, now: int) -> None:
        """Take one datagram: handshakes, or what a connection is to get."""
        target = data[12:HEADER_SIZE]
        if target != bytes(4):
            connection = self.connections.get(target)
            # S10: whoever is not the peer has no say.
            if connection is not None and connection.address == addr:
                connection.receive_datagrams((data,), now)
            else:
                self.malformed += 1
            return
        try:
            packet = ControlPacket.parse(data)
            if packet.type != ControlType.HANDSHAKE:
                raise ProtocolViolation("first packet is no handshake", "draft-sharabayko-srt-01 4.3.1")
            self._handshake(Handshake.parse(packet.body), packet.timestamp, addr, now)
        except ProtocolViolation:
            self.malformed += 1

    def next_event(self) -> Event | None:
        """What came of it; None where there is no more."""
        return self._events.popleft() if self._events else None

    def datagrams_to_send(self, now: int) -> list[tuple[bytes, Address]]:
        """Answers to handshakes, and where they go. Connections have their own."""
        replies, self._replies = self._replies, []
        return replies

    def next_timeout(self) -> int | None:
        """When `handle_timeout` is to be called."""
        oldest = next(iter(self._requests.values()), None)
        return None if oldest is None else oldest.arrived + ANSWER_TIMEOUT

    def handle_timeout(self, now: int) -> None:
        """Forget requests that nobody answered."""
        for request in list(self._requests.values()):
            if now - request.arrived < ANSWER_TIMEOUT:
                break
            self._take(request)

    def release(self, connection: Connection) -> None:
        """`connection` is over."""
        self.connections.pop(connection.id.to_bytes(4, "big"), None)
        self._answers.pop((connection.address, connection.terms.peer_id), None)
        for group, (bond, _, _) in list(self._bonds.items()):
            if connection in bond.links and not bond.open:
                del self._bonds[group]

    def cookie(self, addr: Address, period: int) -> int:
        """What proves that a caller gets what is sent to `addr`."""
        text = f"{period} {addr!r}".encode()
        return int.from_bytes(hmac.digest(self._secret, text, hashlib.sha256)[:4], "big") or 1

    def _handshake(self, handshake: Handshake, stamp: int, addr: Address, now: int) -> None:
        period = now // COOKIE_PERIOD
        if handshake.kind == Kind.INDUCTION:
            # 4.3.1.1.2: version 5 and a magic number say what we speak; all else goes back as it came.
            self._reply(
                evolve(
                    handshake,
                    version=VERSION,
                    encryption=0,
                    extension=MAGIC,
                    cookie=self.cookie(addr, period),
                    extensions=b"",
                ),
                handshake.socket_id,
                stamp,
                addr,
            )
            return
        if handshake.kind == Kind.WAVE_A_HAND:
            # S12: who wants to meet and not to call is told, in as many bytes as it sent.
            refusal = evolve(handshake, kind=REFUSAL + RejectReason.ROGUE, extensions=b"")
            self._reply(refusal, handshake.socket_id, stamp, addr)
            return
        if handshake.kind != Kind.CONCLUSION:
            raise ProtocolViolation(
                "a listener gets inductions and conclusions", "draft-sharabayko-srt-01 4.3.1"
            )
        if handshake.cookie not in (self.cookie(addr, period), self.cookie(addr, period - 1)):
            raise ProtocolViolation("the cookie is not this caller's", "draft-sharabayko-srt-01 4.3.1.2")
        peer = (addr, handshake.socket_id)
        if peer in self._answers:
            connection, answer = self._answers[peer]
            self._reply(answer, handshake.socket_id, connection.stamp(now), addr)
        elif peer not in self._requests:
            self._conclusion(handshake, stamp, addr, now)

    def _conclusion(self, handshake: Handshake, stamp: int, addr: Address, now: int) -> None:
        reason: RejectReason | None = RejectReason.ROGUE
        extensions = Extensions()
        host, blocks = str(addr[0]), 0
        try:
            handshake.check()
            if handshake.version == VERSION:
                extensions = Extensions.parse(handshake.extensions)
                reason = check(extensions, groups=self.settings.groups)
                waiting = self._by_site.get(site_of(host), 0)
                if len(self._requests) >= MAX_REQUESTS or waiting >= MAX_REQUESTS_EACH:
                    reason = RejectReason.BACKLOG
                elif reason is None and extensions.key_material is not None:
                    blocks = KeyMaterial.parse(extensions.key_material).blocks
                    # They are looked at once the caller may come in; nobody is asked about that for nothing.
                    if not self._allowance.allows(host, blocks, now):
                        self._events.append(PutOff(addr))
                        return
            else:
                reason = RejectReason.VERSION
        except ProtocolViolation:
            self.malformed += 1
            reason = RejectReason.ROGUE
        hello = extensions.request
        if reason is not None or hello is None:
            self._refuse(handshake, stamp, addr, extensions.stream_id or b"", reason or RejectReason.ROGUE)
            return
        request = Request(
            addr,
            extensions.stream_id or b"",
            extensions.key_material is not None,
            hello.version,
            self,
            handshake,
            extensions,
            hello,
            now,
            stamp,
            blocks,
        )
        first = not self._waiting(request)
        self._requests[addr, handshake.socket_id] = request
        self._by_site[site_of(host)] = self._by_site.get(site_of(host), 0) + 1
        if first or request.bond is not None:
            self._events.append(Requested(request))

    def bond(self, group: PeerGroup) -> Bond | None:
        """The bond of a peer's group, if it is not over."""
        bond = self._bonds[group][0] if group in self._bonds else None
        return bond if bond is not None and bond.open else None

    def _waiting(self, request: Request) -> list[Request]:
        """What else asks to be a link of the same group: they wait for the first one, and are refused with it."""
        group = request.peer_group
        if not group[0]:
            return []
        return [other for other in self._requests.values() if other.peer_group == group]

    def accept(self, request: Request, now: int, passphrase: str, latency: int | None) -> None:
        """See `Request.accept`."""
        if not self._take(request):
            return
        handshake, hello, theirs = request.handshake, request.hello, request.extensions.group
        bond, id, passphrase = self._bonds.get(
            request.peer_group, (None, self._random.randrange(MAX_ID, 2 * MAX_ID), passphrase)
        )
        group = evolve(theirs, id=id) if theirs is not None else None
        granted: Grant | RejectReason
        if bond is not None and (theirs is None or theirs.type != bond.type or bond.full):
            granted = RejectReason.GROUP
        elif passphrase and not self._allowance.take(str(request.address[0]), request.blocks, now):
            self._events.append(PutOff(request.address))
            for other in self._waiting(request) if bond is None else ():
                self._take(other)
            return
        else:
            granted = grant(self.settings, request.extensions, hello, passphrase, latency, group)
        if isinstance(granted, RejectReason):
            self._refuse(handshake, request.stamp, request.address, request.stream_id, granted)
            for other in self._waiting(request) if bond is None else ():
                self.refuse(other, granted)
            return
        mtu = min(self.settings.mtu, handshake.mtu)
        terms = Terms(
            self._new_id(),
            handshake.socket_id,
            handshake.initial_sequence,
            handshake.initial_sequence,
            granted.latency,
            granted.peer_latency,
            mtu,
            handshake.window,
            now,
            request.arrived - request.stamp * 1000,
            granted.keys,
        )
        connection = Connection(terms, self.settings, request.address, request.stream_id, self._random, now)
        answer = evolve(
            handshake,
            encryption=0,
            extension=granted.flags,
            mtu=mtu,
            window=self.settings.window,
            socket_id=terms.id,
            extensions=granted.extensions,
        )
        self.connections[terms.id.to_bytes(4, "big")] = connection
        self._answers[request.address, handshake.socket_id] = connection, answer
        self._reply(answer, handshake.socket_id, connection.stamp(now), request.address)
        if bond is not None and theirs is not None:
            bond.join(connection, theirs.weight)
            self._events.append(Joined(connection, bond))
            return
        if theirs is not None:
            bond = Bond(GroupType(theirs.type), connection, theirs.weight, self.settings)
            self._bonds[request.peer_group] = bond, id, passphrase
        self._events.append(Accepted(connection, bond))
        self._events += map(Requested, self._waiting(request))

    def refuse(self, request: Request, reason: int) -> None:
        """See `Request.reject`."""
        if self._take(request):
            for each in (request, *(self._waiting(request) if request.bond is None else ())):
                self._take(each)
                self._refuse(each.handshake, each.stamp, each.address, each.stream_id, reason)

    def _take(self, request: Request) -> bool:
        if request.answered:
            return False
        request.answered = True
        del self._requests[request.address, request.handshake.socket_id]
        site = site_of(str(request.address[0]))
        self._by_site[site] -= 1
        if not self._by_site[site]:
            del self._by_site[site]
        return True

    def _new_id(self) -> int:
        while True:
            made = self._random.randrange(1, MAX_ID)
            if made.to_bytes(4, "big") not in self.connections:
                return made

    def _refuse(self, handshake: Handshake, stamp: int, addr: Address, stream_id: bytes, reason: int) -> None:
        answer = evolve(handshake, kind=REFUSAL + reason, extensions=b"")
        self._reply(answer, handshake.socket_id, stamp, addr)
        if handshake.version == LEGACY_VERSION:
            # Callers of before 1.3 do not understand a refusal: what ends them is a shutdown, as libsrt sends it.
            packet = ControlPacket(ControlType.SHUTDOWN, 0, 0, stamp, handshake.socket_id, bytes(4))
            self._replies.append((packet.build(), addr))
        self._events.append(Refused(addr, stream_id, reason))

    def _reply(self, handshake: Handshake, socket_id: int, stamp: int, addr: Address) -> None:
        packet = ControlPacket(ControlType.HANDSHAKE, 0, 0, stamp, socket_id, handshake.build())
        self._replies.append((packet.build(), addr))
