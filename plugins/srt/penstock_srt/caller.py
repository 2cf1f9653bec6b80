"""The calling side of the handshake (draft-sharabayko-srt-01 4.3.1)."""

from __future__ import annotations

import enum
from collections import deque

from attrs import evolve, frozen

from penstock.errors import ProtocolViolation
from penstock_srt.connection import Connection
from penstock_srt.extension import Group
from penstock_srt.handshake import (
    LEGACY_DATAGRAM,
    LEGACY_VERSION,
    MAGIC,
    VERSION,
    Handshake,
    Kind,
    RejectReason,
)
from penstock_srt.keyring import Keyring
from penstock_srt.negotiation import MAX_ID, ask, conclude
from penstock_srt.packet import ControlPacket, ControlType
from penstock_srt.sequence import MASK
from penstock_srt.settings import MS, Address, Randomness, Settings

RETRY = 250 * MS
"""After which a handshake is sent again."""


@frozen
class Connected:
    """The handshake is done: all that comes from now on is for `connection`."""

    connection: Connection


@frozen
class Rejected:
    """There will be no connection; `reason` is a `RejectReason` or another number (see `handshake.meaning`)."""

    reason: int


class CallerState(enum.Enum):
    """What is waited for."""

    INDUCTION = enum.auto()
    CONCLUSION = enum.auto()
    DONE = enum.auto()


class Caller:
    """Calls the listener at `addr`. Ends in one event."""

    def __init__(
        self,
        settings: Settings,
        addr: Address,
        stream_id: bytes,
        passphrase: str,
        random: Randomness,
        now: int,
        group: Group | None = None,
        start: int | None = None,
        sequence: int | None = None,
    ) -> None:
        """`group` is what this is a link of: all of its links have one `start`, the time when time stamps are 0, and
        begin with the packet that is sent next, `sequence`.
        """
        self.settings = settings
        self.address = addr
        self.stream_id = stream_id
        self.state = CallerState.INDUCTION
        self._random = random
        self._group = group
        self._began = now
        self._start = now if start is None else start
        self._retry_at = now
        self._events: deque[Connected | Rejected] = deque()
        self._keys, self._material = None, None
        if passphrase:
            self._keys, self._material = Keyring.generate(
                passphrase, settings.mode, settings.key_length, random
            )
        self._handshake = Handshake(
            LEGACY_VERSION,
            0,
            LEGACY_DATAGRAM,
            random.randrange(0, MASK + 1) if sequence is None else sequence & MASK,
            settings.mtu,
            settings.window,
            Kind.INDUCTION,
            random.randrange(1, MAX_ID),
            0,
        )

    @property
    def socket_id(self) -> int:
        """Where datagrams for it go, and for the connection that comes of it."""
        return self._handshake.socket_id

    def receive_datagram(self, data: bytes, addr: Address, now: int) -> None:
        """Take one datagram; what is no answer to our handshake is dropped."""
        if self.state is CallerState.DONE or addr != self.address:
            return
        try:
            packet = ControlPacket.parse(data)
            if packet.destination != self._handshake.socket_id:
                return
            if packet.type == ControlType.SHUTDOWN:
                self._reject(RejectReason.CLOSE)
            if packet.type == ControlType.HANDSHAKE:
                self._answer(Handshake.parse(packet.body), packet.timestamp, now)
        except ProtocolViolation:
            # Whoever sent it, our listener may yet answer.
            return

    def next_event(self) -> Connected | Rejected | None:
        """How it ended, once it has."""
        return self._events.popleft() if self._events else None

    def datagrams_to_send(self, now: int) -> list[tuple[bytes, Address]]:
        """Our handshake, and again each quarter of a second."""
        if self.state is CallerState.DONE or now < self._retry_at:
            return []
        self._retry_at = now + RETRY
        stamp = (now - self._start) // 1000 & 0xFFFFFFFF
        packet = ControlPacket(ControlType.HANDSHAKE, 0, 0, stamp, 0, self._handshake.build())
        return [(packet.build(), self.address)]

    def next_timeout(self) -> int | None:
        """When `handle_timeout` is to be called, None once it is done."""
        if self.state is CallerState.DONE:
            return None
        return min(self._retry_at, self._began + self.settings.connect_timeout * MS)

    def handle_timeout(self, now: int) -> None:
        """Give up where no answer came in time."""
        if self.state is not CallerState.DONE and now - self._began >= self.settings.connect_timeout * MS:
            self._reject(RejectReason.TIMEOUT)

    def _answer(self, answer: Handshake, stamp: int, now: int) -> None:
        if answer.refusal is not None:
            self._reject(answer.refusal)
        elif answer.kind == Kind.INDUCTION and self.state is CallerState.INDUCTION:
            self._induced(answer, now)
        elif answer.kind == Kind.CONCLUSION and self.state is CallerState.CONCLUSION:
            self._concluded(answer, stamp, now)

    def _induced(self, answer: Handshake, now: int) -> None:
        if answer.version < VERSION or answer.extension != MAGIC:
            self._reject(RejectReason.VERSION)
            return
        flags, extensions = ask(self.settings, self._material, self.stream_id, self._group)
        self._handshake = evolve(
            self._handshake,
            version=VERSION,
            encryption=self.settings.key_length // 8 if self._keys is not None else 0,
            extension=flags,
            kind=Kind.CONCLUSION,
            cookie=answer.cookie,
            extensions=extensions,
        )
        self.state = CallerState.CONCLUSION
        self._retry_at = now

    def _concluded(self, answer: Handshake, stamp: int, now: int) -> None:
        terms = conclude(
            self.settings,
            self._handshake,
            answer,
            self._keys,
            self._material,
            self._start,
            now - stamp * 1000,
            self._group,
        )
        if isinstance(terms, RejectReason):
            self._reject(terms)
            return
        self.state = CallerState.DONE
        connection = Connection(terms, self.settings, self.address, self.stream_id, self._random, now)
        self._events.append(Connected(connection))

    def _reject(self, reason: int) -> None:
        self.state = CallerState.DONE
        self._events.append(Rejected(reason))
