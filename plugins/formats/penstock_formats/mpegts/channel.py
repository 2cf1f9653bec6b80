"""One PID's packets in order, put together to what they carry: sections, or PES packets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from penstock.errors import ProtocolViolation
from penstock_formats.mpegts.packet import ERROR, SCRAMBLED, START, SYNC, parse_body
from penstock_formats.mpegts.pes import FIXED_SIZE, PLAIN
from penstock_formats.mpegts.section import SectionReader

CLAUSE = "H.222.0 2.4.3.3"

FULL = 65_000
"""A PES packet of video that is as long as this may go on in the next, which then has no time of its own."""


class Owner(Protocol):
    """Whom channels tell."""

    def reserve(self, size: int) -> bool:
        """Whether the budget of unfinished packets has room for one more of up to `size` bytes."""
        ...

    def packet(self, pid: int, data: bytes, lost: bool) -> None:
        """A whole PES packet; `lost` says that data is missing before it."""
        ...

    def fault(self, pid: int, violation: ProtocolViolation) -> None: ...


class Channel:
    """Continuity of one PID.

    `expected` is the header of a packet that goes on with what is in hand and has nothing but payload, so that
    for most packets one comparison is all there is to do; it is -1 while nothing is in hand.
    """

    def __init__(self, pid: int, owner: Owner) -> None:
        self.pid = pid
        self.expected = -1
        self.parts: list[bytes] = []
        self.left = 0
        """Bytes to come of what is in hand; `finish` is called when there are none."""
        self._owner = owner
        self._next: int | None = None

    def take(self, header: int, body: bytes) -> None:
        """Any packet. Raises `ProtocolViolation` for one that cannot be used."""
        if header == self.expected:
            self._next = header + 1 & 15
            self.go_on(body)
            self._expect()
            return
        if header & ERROR:
            # Of such a packet nothing is sure; if it was of this PID, its counter will be missed.
            raise ProtocolViolation("transport_error_indicator is set", CLAUSE)
        payload, announced = parse_body(header, body)
        if payload is None:
            return
        counter = header & 15
        wanted = self._next if self.expected < 0 else self.expected & 15
        gap = wanted is not None and counter != wanted
        if wanted is not None and counter == wanted - 1 & 15 and not announced:
            # A packet may be sent twice.
            return
        self.expected = -1
        self._next = counter + 1 & 15
        start = header & START != 0
        if gap and not announced:
            self._owner.fault(self.pid, ProtocolViolation("packets are missing", CLAUSE))
        # An announced gap before a start is a splice: what is in hand is whole.
        if gap and not (announced and start):
            self.lose()
        if header & SCRAMBLED:
            self.lose()
            raise ProtocolViolation("the stream is scrambled", CLAUSE)
        if start:
            self.begin(payload)
        else:
            self.go_on(payload)
        self._expect()

    def _expect(self) -> None:
        self.expected = SYNC << 24 | self.pid << 8 | 0x10 | (self._next or 0) if self.parts else -1

    def begin(self, payload: bytes) -> None:
        """The payload of a packet that has a start."""
        raise NotImplementedError

    def go_on(self, payload: bytes) -> None:
        """The payload of a packet that has none."""
        raise NotImplementedError

    def lose(self) -> None:
        """Data is missing: what is in hand is of no use."""
        raise NotImplementedError

    def finish(self) -> None:
        """What is in hand has all its bytes, or as many as it may have."""

    def end(self) -> None:
        """No more packets come."""

    def restart(self) -> None:
        """After `end`: the next packet may have any counter."""
        self.expected = -1
        self._next = None


class SectionChannel(Channel):
    """A PID of sections, each of which `found` is given."""

    def __init__(self, pid: int, owner: Owner, found: Callable[[int, bytes], None]) -> None:
        super().__init__(pid, owner)
        self._reader = SectionReader()
        self._found = found

    def begin(self, payload: bytes) -> None:
        for section in self._reader.push(payload, True):
            self._found(self.pid, section)

    def go_on(self, payload: bytes) -> None:
        for section in self._reader.push(payload, False):
            self._found(self.pid, section)

    def lose(self) -> None:
        self._reader.drop()


class PesChannel(Channel):
    """A PID of PES packets, of which one without a length may have `limit` bytes."""

    def __init__(self, pid: int, owner: Owner, limit: int, *, goes_on: bool) -> None:
        super().__init__(pid, owner)
        self.reserved = 0
        self._limit = limit
        self._goes_on = goes_on
        self._size: int | None = None
        """Bytes of the packet in hand, None where they are not known."""
        self._lost = False

    def begin(self, payload: bytes) -> None:
        if self.parts:
            if self._size is not None:
                self._owner.fault(
                    self.pid, ProtocolViolation("a PES packet is shorter than its length", CLAUSE)
                )
                self.lose()
            elif self._continues(payload):
                self._add(payload[FIXED_SIZE + payload[8] :])
                return
            else:
                self.end()
        length = int.from_bytes(payload[4:6], "big") if len(payload) >= 6 else 0
        self._size = length + 6 if length and not (length >= FULL and self._goes_on) else None
        size = self._limit if self._size is None else self._size
        if not self._owner.reserve(size):
            self._lost = True
            raise ProtocolViolation("too many PES packets are unfinished at once", CLAUSE)
        self.reserved = self.left = size
        self._add(payload)

    def _continues(self, payload: bytes) -> bool:
        """Whether a PES packet goes on with the access unit of the one before: it has no time of its own."""
        return (
            self._goes_on
            and len(payload) > FIXED_SIZE
            and payload[:3] == b"\x00\x00\x01"
            and payload[3] not in PLAIN
            and payload[6] & 0xC0 == 0x80
            and not payload[7] & 0x80
        )

    def go_on(self, payload: bytes) -> None:
        if self.parts:
            self._add(payload)

    def _add(self, payload: bytes) -> None:
        self.parts.append(payload)
        self.left -= len(payload)
        if self.left <= 0:
            self.finish()

    def lose(self) -> None:
        self.parts = []
        self.reserved = 0
        self._lost = True

    def finish(self) -> None:
        if self._size is not None:
            self._deliver(self._size)
            return
        self.lose()
        self._forget()
        self._owner.fault(
            self.pid, ProtocolViolation(f"a PES packet of more than {self._limit} bytes", CLAUSE)
        )

    def end(self) -> None:
        if self.parts and self._size is None:
            self._deliver(None)
        elif self.parts:
            self.lose()
            self._forget()

    def _deliver(self, size: int | None) -> None:
        parts, self.parts = self.parts, []
        lost, self._lost = self._lost, False
        self.reserved = 0
        self._forget()
        self._owner.packet(self.pid, b"".join(parts)[:size], lost)

    def _forget(self) -> None:
        """Nothing is in hand: only the counter is kept."""
        if self.expected >= 0:
            self._next = self.expected & 15
            self.expected = -1
