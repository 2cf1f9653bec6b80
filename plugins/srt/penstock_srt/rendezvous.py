"""A handshake between two that call each other (draft-sharabayko-srt-01 4.3.2)."""

from __future__ import annotations

import enum
from collections import deque

from attrs import evolve

from penstock.errors import ProtocolViolation
from penstock_srt.caller import RETRY, Connected, Rejected
from penstock_srt.connection import Connection, Terms
from penstock_srt.extension import Extensions
from penstock_srt.handshake import REFUSAL, VERSION, Handshake, Kind, RejectReason
from penstock_srt.keyring import Keyring
from penstock_srt.negotiation import MAX_ID, ask, check, conclude, grant
from penstock_srt.packet import ControlPacket, ControlType
from penstock_srt.sequence import MASK
from penstock_srt.settings import MS, Address, Randomness, Settings

TIMEOUT_FACTOR = 10
"""Of the time that a caller waits: both have to be started by somebody."""


class RendezvousState(enum.Enum):
    """Where the handshake is; libsrt's ATTENTION, FINE and INITIATED say the same, and who spoke first."""

    WAVING = enum.auto()
    """Nothing was heard of the peer."""
    ASKING = enum.auto()
    """We have the larger cookie, and wait for the answer to our request."""
    LISTENING = enum.auto()
    """We have the smaller cookie, and wait for the peer's request."""
    ANSWERED = enum.auto()
    """We answered it, and wait for any sign that the answer came."""
    DONE = enum.auto()


def contest(own: int, peer: int) -> int:
    """Who asks (4.3.2.1): 1 we, -1 the peer, 0 nobody; cookies are compared as signed numbers, as libsrt does."""
    difference = (own - peer) & 0xFFFFFFFF
    if difference == 0x80000000:
        return 1 if own < 0x80000000 else -1
    return 0 if difference == 0 else -1 if difference & 0x80000000 else 1


class Rendezvous:
    """Meets the peer at `addr`, which meets us at the address that we send from. Ends in one event."""

    def __init__(
        self,
        settings: Settings,
        addr: Address,
        stream_id: bytes,
        passphrase: str,
        random: Randomness,
        now: int,
    ) -> None:
        self.settings = settings
        self.address = addr
        self.stream_id = stream_id
        self.state = RendezvousState.WAVING
        self._passphrase = passphrase
        self._random = random
        self._start = now
        self._retry_at = now
        self._peer_id = 0
        self._events: deque[Connected | Rejected] = deque()
        self._replies: list[Handshake] = []
        self._keys: Keyring | None = None
        self._material: bytes | None = None
        self._terms: Terms | None = None
        self._handshake = Handshake(
            VERSION,
            settings.key_length // 8 if passphrase else 0,
            0,
            random.randrange(0, MASK + 1),
            settings.mtu,
            settings.window,
            Kind.WAVE_A_HAND,
            random.randrange(1, MAX_ID),
            random.randrange(1, 1 << 32),
        )

    @property
    def socket_id(self) -> int:
        """Where datagrams for it go, besides those for 0, and for the connection that comes of it."""
        return self._handshake.socket_id

    @property
    def cookie(self) -> int:
        """What decides who asks."""
        return self._handshake.cookie

    def receive_datagram(self, data: bytes, addr: Address, now: int) -> None:
        """Take one datagram; what is no part of our handshake is dropped."""
        if self.state is RendezvousState.DONE or addr != self.address:
            return
        if (
            len(data) >= 16
            and data[12:16] == self.socket_id.to_bytes(4, "big")
            and not self._is_handshake(data)
        ):
            # The peer has our answer: what told it so may be lost, but not what it says since.
            if self.state is RendezvousState.ANSWERED:
                self._connect(now).receive_datagrams((data,), now)
            return
        try:
            packet = ControlPacket.parse(data)
            if packet.type == ControlType.HANDSHAKE and packet.destination in (0, self.socket_id):
                self._take(Handshake.parse(packet.body), packet.timestamp, now)
        except ProtocolViolation:
            return

    @staticmethod
    def _is_handshake(data: bytes) -> bool:
        return data[:2] == b"\x80\0"

    def next_event(self) -> Connected | Rejected | None:
        """How it ended, once it has."""
        return self._events.popleft() if self._events else None

    def datagrams_to_send(self, now: int) -> list[tuple[bytes, Address]]:
        """Our handshake, and again each quarter of a second."""
        replies, self._replies = self._replies, []
        if self.state is not RendezvousState.DONE and now >= self._retry_at:
            self._retry_at = now + RETRY
            replies.append(self._handshake)
        stamp = (now - self._start) // 1000 & 0xFFFFFFFF
        return [
            (
                ControlPacket(ControlType.HANDSHAKE, 0, 0, stamp, self._peer_id, handshake.build()).build(),
                self.address,
            )
            for handshake in replies
        ]

    def next_timeout(self) -> int | None:
        """When `handle_timeout` is to be called, None once it is done."""
        if self.state is RendezvousState.DONE:
            return None
        return min(self._retry_at, self._deadline)

    def handle_timeout(self, now: int) -> None:
        """Give up where nobody came in time."""
        if self.state is not RendezvousState.DONE and now >= self._deadline:
            self._reject(RejectReason.TIMEOUT)

    @property
    def _deadline(self) -> int:
        return self._start + TIMEOUT_FACTOR * self.settings.connect_timeout * MS

    def _take(self, peer: Handshake, stamp: int, now: int) -> None:
        if peer.refusal is not None:
            self._reject(peer.refusal)
            return
        if self.state is RendezvousState.WAVING:
            self._peer_id = peer.socket_id
        if peer.version != VERSION or peer.kind == Kind.INDUCTION:
            self._refuse(RejectReason.VERSION if peer.version != VERSION else RejectReason.ROGUE)
            return
        if self.state is RendezvousState.WAVING:
            self._meet(peer, now)
        if peer.socket_id != self._peer_id or self.state is RendezvousState.DONE:
            return
        if peer.kind == Kind.AGREEMENT and self.state is RendezvousState.ANSWERED:
            self._connect(now)
        if peer.kind == Kind.CONCLUSION and peer.extension:
            self._conclude(peer, stamp, now)

    def _meet(self, peer: Handshake, now: int) -> None:
        """The first sign of the peer: the cookies say who asks."""
        winner = contest(self._handshake.cookie, peer.cookie)
        if not winner or not peer.socket_id:
            self._refuse(RejectReason.RENDEZVOUS_COOKIE)
            return
        self._retry_at = now
        if winner < 0:
            self.state = RendezvousState.LISTENING
            self._handshake = evolve(self._handshake, kind=Kind.CONCLUSION)
            return
        self.state = RendezvousState.ASKING
        if self._passphrase:
            self._keys, self._material = Keyring.generate(
                self._passphrase, self.settings.mode, self.settings.key_length, self._random
            )
        flags, extensions = ask(self.settings, self._material, self.stream_id)
        self._handshake = evolve(
            self._handshake, kind=Kind.CONCLUSION, extension=flags, extensions=extensions
        )

    def _conclude(self, peer: Handshake, stamp: int, now: int) -> None:
        peer_start = now - stamp * 1000
        if self.state is RendezvousState.ASKING:
            terms = conclude(
                self.settings, self._handshake, peer, self._keys, self._material, self._start, peer_start
            )
            if isinstance(terms, RejectReason):
                self._refuse(terms)
                return
            agreement = evolve(self._handshake, kind=Kind.AGREEMENT, extension=0, extensions=b"")
            # It may be lost: the peer asks again then, and the connection answers.
            self._terms = evolve(terms, agreement=agreement.build())
            self._replies.append(agreement)
            self._connect(now)
        elif self.state is RendezvousState.LISTENING:
            self._answer(peer, peer_start, now)
        else:
            # Our answer was lost.
            self._retry_at = now

    def _answer(self, peer: Handshake, peer_start: int, now: int) -> None:
        peer.check()
        extensions = Extensions.parse(peer.extensions)
        hello, reason = extensions.request, check(extensions)
        if hello is None or reason is not None:
            self._refuse(reason or RejectReason.ROGUE)
            return
        granted = grant(self.settings, extensions, hello, self._passphrase)
        if isinstance(granted, RejectReason):
            self._refuse(granted)
            return
        self.stream_id = extensions.stream_id or b""
        self._terms = Terms(
            self.socket_id,
            peer.socket_id,
            self._handshake.initial_sequence,
            peer.initial_sequence,
            granted.latency,
            granted.peer_latency,
            min(self.settings.mtu, peer.mtu),
            peer.window,
            self._start,
            peer_start,
            granted.keys,
        )
        self._handshake = evolve(self._handshake, extension=granted.flags, extensions=granted.extensions)
        self.state = RendezvousState.ANSWERED
        self._retry_at = now

    def _connect(self, now: int) -> Connection:
        if self._terms is None:
            raise RuntimeError("nothing was agreed on")
        self.state = RendezvousState.DONE
        connection = Connection(self._terms, self.settings, self.address, self.stream_id, self._random, now)
        self._events.append(Connected(connection))
        return connection

    def _refuse(self, reason: int) -> None:
        """Give up, and say why."""
        self._replies.append(evolve(self._handshake, kind=REFUSAL + reason, extension=0, extensions=b""))
        self._reject(reason)

    def _reject(self, reason: int) -> None:
        self.state = RendezvousState.DONE
        self._events.append(Rejected(reason))
