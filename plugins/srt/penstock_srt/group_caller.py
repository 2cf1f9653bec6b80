"""Calls a listener by several ways, and bonds the connections (draft-sharabayko-srt-01 3.2.1.4)."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from attrs import define, frozen

from penstock_srt.bond import MAX_LINKS, Bond, Joined
from penstock_srt.caller import Caller, Connected, Rejected
from penstock_srt.connection import Connection
from penstock_srt.extension import Group, GroupType
from penstock_srt.negotiation import MAX_ID
from penstock_srt.sequence import MASK
from penstock_srt.settings import MS, Address, Randomness, Settings

RECALL = 1000 * MS
"""After which a way that failed is tried again."""


@frozen
class Way:
    """An address of the listener's; in a group of type BACKUP the greatest weight is used first."""

    address: Address
    weight: int = 0


@define(eq=False)
class _Call:
    way: Way
    caller: Caller | None = None
    connection: Connection | None = None
    again_at: int = 0


class GroupCaller:
    """Each connection that is made is told with `Joined`, the first one as well. As long as there is none, the end of
    all calls is told with `Rejected`; once there was one, ways that fail are tried again, and make a new bond where
    nothing is left of the old one.
    """

    def __init__(
        self,
        settings: Settings,
        ways: Sequence[Way],
        type: GroupType,
        stream_id: bytes,
        passphrase: str,
        random: Randomness,
        now: int,
    ) -> None:
        self.settings = settings
        self.type = type
        self.stream_id = stream_id
        self.bond: Bond | None = None
        self._passphrase = passphrase
        self._random = random
        self._start = now
        self._id = random.randrange(MAX_ID, 2 * MAX_ID)
        self._sequence = random.randrange(0, MASK + 1)
        self._events: deque[Joined | Rejected] = deque()
        self._calls = [_Call(way) for way in ways[:MAX_LINKS]]
        self._over = False
        for call in self._calls:
            self._call(call, now)

    def receive_datagram(self, data: bytes, addr: Address, now: int) -> None:
        """Take one datagram; what is no answer to our handshakes is dropped."""
        for call in self._calls:
            caller = call.caller
            if caller is not None and data[12:16] == caller.socket_id.to_bytes(4, "big"):
                caller.receive_datagram(data, addr, now)
                self._listen(call, caller, now)

    def next_event(self) -> Joined | Rejected | None:
        """What came of it; None where there is no more."""
        return self._events.popleft() if self._events else None

    def datagrams_to_send(self, now: int) -> list[tuple[bytes, Address]]:
        """Our handshakes, and where they go. Connections have their own."""
        return [
            datagram
            for call in self._calls
            if call.caller is not None
            for datagram in call.caller.datagrams_to_send(now)
        ]

    def next_timeout(self) -> int | None:
        """When `handle_timeout` is to be called, None once all has failed."""
        if self._over:
            return None
        times = [
            call.again_at if call.caller is None else call.caller.next_timeout()
            for call in self._calls
            if call.connection is None
        ]
        # Connections that end are not told to us: they are looked at.
        watch = [call.again_at for call in self._calls if call.connection is not None]
        return min((time for time in times + watch if time is not None), default=None)

    def handle_timeout(self, now: int) -> None:
        """Give up callers that get no answer, and call again where a connection is over."""
        for call in self._calls:
            if call.caller is not None:
                call.caller.handle_timeout(now)
                self._listen(call, call.caller, now)
            elif now >= call.again_at and not self._over:
                call.again_at = now + RECALL
                if call.connection is None or call.connection.closed:
                    self._call(call, now)

    def _call(self, call: _Call, now: int) -> None:
        group = Group(self._id, self.type, 0, call.way.weight)
        call.connection = None
        call.caller = Caller(
            self.settings,
            call.way.address,
            self.stream_id,
            self._passphrase,
            self._random,
            now,
            group,
            self._start,
            self._sequence if self.bond is None else self.bond.next_sequence,
        )

    def _listen(self, call: _Call, caller: Caller, now: int) -> None:
        match caller.next_event():
            case Connected(connection):
                call.caller, call.connection, call.again_at = None, connection, now + RECALL
                if self.bond is None or not self.bond.open:
                    self.bond = Bond(self.type, connection, call.way.weight, self.settings)
                else:
                    self.bond.join(connection, call.way.weight)
                self._events.append(Joined(connection, self.bond))
            case Rejected(reason):
                call.caller, call.again_at = None, now + RECALL
                if self.bond is None and all(each.caller is None for each in self._calls):
                    self._over = True
                    self._events.append(Rejected(reason))
            case _:
                pass
