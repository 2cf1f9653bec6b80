"""A UDP socket and all connections at it: what comes is read in batches, and timers are one loop's for all."""

from __future__ import annotations

import heapq
import itertools
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

import anyio
from anyio.lowlevel import checkpoint

from penstock.poller import Poller, sleep_until
from penstock.publisher import Publisher, flush_all
from penstock.ring import Unit
from penstock.session import Session
from penstock.udp import Address, send_all, send_run, spans
from penstock_srt.bond import Bond
from penstock_srt.connection import Connection, Received
from penstock_srt.packet import FULL_ACK, HEADER_SIZE
from penstock_srt.settings import MS
from penstock_srt.statistics import Statistics

BATCH = 256
"""Datagrams read before those who sent them are served."""
MAX_DATAGRAM = 2048
"""What a datagram may have: SRT's are made for Ethernet's 1500 bytes."""
REST_NS = 10_000_000
"""What comes within this time is read at once, as a wake-up costs more than a packet: no longer than from one
acknowledgement to the next, and less than the latency that there is for what was lost: 20 ms at least, 120 by default."""
LONG_REST_NS = 30_000_000
PARTS = 4
"""It is longer where that latency is: up to such a part of it."""
PATIENCE = 3, 2
"""Where there are players only, who send nothing but acknowledgements, these wait so many times as long for the pump to wake
the loop for a picture: 45 ms by default, which is more than there is between two of 25 a second."""
EXPECTED = 160
"""Datagrams that may come in a rest, going by the last one: full ones fill a receive buffer of Linux's default size."""
BRIEF_REST_NS = 5_000_000
"""The same while something is missing at some connection, and `MISSED_NS` after it: then each report of a loss counts."""
MISSED_NS = 1_000_000_000
SHAKEN_NS = 100_000_000
"""And for so long after a step of a handshake: who calls goes on with the next one."""

Event = TypeVar("Event", covariant=True)
Told = TypeVar("Told")


class Negotiator(Protocol[Event]):
    """The handshakes of a socket, without I/O."""

    def receive_datagram(self, data: bytes, addr: Address, now: int) -> None: ...

    def next_event(self) -> Event | None: ...

    def datagrams_to_send(self, now: int) -> Sequence[tuple[bytes, Address]]: ...

    def next_timeout(self) -> int | None: ...

    def handle_timeout(self, now: int) -> None: ...


class Link:
    """One established connection; `receive` takes payloads that are due and how many never came in time, and returns
    the publisher that has something to flush. It is None where nothing is wanted of the peer."""

    def __init__(self, port: Port[Any], connection: Connection, session: Session) -> None:
        self.port = port
        self.connection = connection
        self.session = session
        self._receive: Callable[[list[bytes], int], Publisher | None] | None = None
        self.lead = self
        """The first link of the same bond: what comes by any of them is its session's."""
        self.bond: Bond | None = None
        self.inbox: list[bytes] = []
        self.due = 0
        self.reason = ""
        self.error: Exception | None = None
        self._ended = anyio.Event()

    @property
    def receive(self) -> Callable[[list[bytes], int], Publisher | None] | None:
        return self._receive

    @receive.setter
    def receive(self, receive: Callable[[list[bytes], int], Publisher | None] | None) -> None:
        self._receive = receive
        self.port.changed = True

    @property
    def rest(self) -> int:
        """For how long (ns) what its peer sends may lie unread."""
        terms = self.connection.terms
        return max(REST_NS, min(LONG_REST_NS, min(terms.latency, terms.peer_latency) * MS // PARTS))

    @property
    def over(self) -> bool:
        """Whether nothing more can be sent: the connection is over, and all that are bonded with it."""
        return bool(self.connection.closed) if self.bond is None else not self.bond.open

    def press(self) -> bool:
        """Send again what was sent last and may be lost; whether there is anything that the peer has not acknowledged."""
        now, unacknowledged = time.monotonic_ns(), True
        for link in self.port.bonded(self):
            if not link.connection.closed:
                link.connection.press(now)
                self.port.settle(link, now)
                unacknowledged = unacknowledged and link.connection.oldest_unacknowledged is not None
        return unacknowledged

    @property
    def statistics(self) -> Statistics:
        """Of the connection, or of all that are bonded with it."""
        return self.connection.statistics if self.bond is None else self.bond.statistics

    async def wait(self) -> None:
        """Wait for its end. Raises what `receive` raised."""
        await self._ended.wait()
        if self.error is not None:
            raise self.error

    def end(self, reason: str, error: Exception | None = None) -> None:
        """It is over, for the first reason that is given."""
        if not self._ended.is_set():
            self.reason, self.error = reason, error
            self._ended.set()

    def close(self, reason: str) -> None:
        """Tell the peer that it is over, and forget it, with all links of its bond."""
        for link in self.port.bonded(self):
            link.connection.close(reason)
            self.port.settle(link, time.monotonic_ns())
            self.port.remove(link)
            if link is not self:
                self.port.forget(link.connection)
            link.end(reason)


class Burst:
    """What one pass of a feed sends to all its readers, worked out once: the payloads of `units`, which may not change."""

    def __init__(self, units: Sequence[Unit]) -> None:
        self.units = units
        self.payloads = units[0].payloads if len(units) == 1 else [p for unit in units for p in unit.payloads]
        sizes = list(map(len, self.payloads))
        self.size = sum(sizes)
        # Messages in pieces: each second one is a payload.
        self._messages: list[tuple[int, int, int, list[bytes], range]] = []
        for first, end in spans([HEADER_SIZE + size for size in sizes]):
            pieces = [b""] * (2 * (end - first))
            pieces[1::2] = self.payloads[first:end]
            places = range(first * HEADER_SIZE, end * HEADER_SIZE, HEADER_SIZE)
            self._messages.append((first, end, sizes[first] + HEADER_SIZE, pieces, places))
        self._now = time.monotonic_ns()

    def send(self, sock: socket.socket, link: Connection) -> None:
        """Send it to one reader: its headers before the payloads of all, or before what they are encrypted to."""
        # Each reader is here for each frame: datagrams are copied once, into one message of equal segments, and little is
        # called or touched, as it is in no cache.
        shared = self.payloads
        if link.closed or not shared:
            return
        headers, payloads = link.sender.send(shared, self.size, self._now)
        for first, end, size, pieces, places in self._messages:
            if payloads is not shared:
                size += link.overhead
                pieces = [b""] * (2 * (end - first))
                pieces[1::2] = payloads[first:end]
            pieces[::2] = [headers[at : at + HEADER_SIZE] for at in places]
            send_run(sock, (b"".join(pieces), size), link.address)


def _raise(error: Exception) -> None:
    raise error


class Port(Generic[Told]):
    """The socket, the handshakes at it, and its connections; `told` gets the events of the handshakes, `forget` links of a
    bond that is not over, `failed` what a handshake raised: without it, that ends the port. What a connection raised ends
    its session only.
    """

    def __init__(
        self,
        sock: socket.socket,
        negotiator: Negotiator[Told],
        told: Callable[[Told], None],
        forget: Callable[[Connection], None] = lambda connection: None,
        failed: Callable[[Exception], None] = _raise,
    ) -> None:
        self.sock = sock
        self.number: int = sock.getsockname()[1]
        self.dropped = 0
        """Datagrams for a connection from another address than its peer's."""
        self._negotiator = negotiator
        self._told = told
        self.forget = forget
        self._failed = failed
        self._hurried = 0
        """Until when rests are brief."""
        self._links: dict[bytes, Link] = {}
        self._timers: list[tuple[int, int, Link]] = []
        self._numbers = itertools.count()
        self._touched: dict[Publisher, None] = {}
        self._burst = Burst(())
        self.changed = False
        """Whether links have come or gone, or what they are for is another."""
        self._calm_rest = REST_NS
        self._patient = False
        self._looked = 0

    def burst(self, units: Sequence[Unit]) -> Burst:
        """What is the same for all readers that get these units in one pass."""
        if self._burst.units is not units:
            self._burst = Burst(units)
        return self._burst

    def add(self, connection: Connection, session: Session, bond: Bond | None = None) -> Link:
        """Look after a connection from now on, until it is closed; it may be the first link of a bond."""
        link = Link(self, connection, session)
        link.bond = bond
        # What is due before the next look comes out with this one.
        connection.ahead = link.rest
        self._links[connection.id.to_bytes(4, "big")] = link
        self.changed = True
        self.settle(link, time.monotonic_ns())
        return link

    def join(self, connection: Connection, bond: Bond) -> Link:
        """Look after one more link of a bond whose first one was added."""
        lead = next(link.lead for link in self._links.values() if link.connection in bond.links)
        link = self.add(connection, lead.session)
        link.lead = lead
        return link

    def bonded(self, link: Link) -> list[Link]:
        """`link`, and those that it leads."""
        if link.bond is None:
            return [link]
        return [link, *(each for each in self._links.values() if each.lead is link and each is not link)]

    def remove(self, link: Link) -> None:
        self._links.pop(link.connection.id.to_bytes(4, "big"), None)
        link.due = -1
        self.changed = True

    def negotiate(self, now: int) -> None:
        """Tell what came of the handshakes, and send what they have to say."""
        negotiator = self._negotiator
        told = False
        while (event := negotiator.next_event()) is not None:
            told = True
            self._told(event)
        replies = negotiator.datagrams_to_send(now)
        for data, address in replies:
            send_run(self.sock, (data, len(data)), address)
        # What nothing comes of may be anybody's.
        if told or replies:
            self._hurried = max(self._hurried, now + SHAKEN_NS)

    async def run(self, poller: Poller) -> None:
        """Serve all connections until cancelled."""
        while True:
            now = time.monotonic_ns()
            read = self._read(now)
            self._ring(now)
            touched, self._touched = self._touched, {}
            await flush_all(touched)
            if not read:
                await self._wait(poller, now)
            elif self._links and read < BATCH:
                await self._rest(poller, now, read)
            else:
                await checkpoint()
            self._looked = now

    async def _wait(self, poller: Poller, now: int) -> None:
        """Wait for a datagram, or until something is due."""
        due = [
            at for at in (self._negotiator.next_timeout(), self._timers[0][0] if self._timers else None) if at
        ]
        if not due:
            await poller.wait(self.sock)
            return
        soonest, hurried = min(due), now < self._hurried
        left = soonest - time.monotonic_ns()
        if left <= 0:
            await checkpoint()
        elif not self._links or left > (BRIEF_REST_NS if hurried else self._calm_rest):
            with anyio.move_on_after(left / 1e9):
                await poller.wait(self.sock)
        # What comes meanwhile may wait as long, and nothing is to be cancelled.
        elif hurried:
            await sleep_until(soonest)
        else:
            await self._rest(poller, now, 0)

    async def _rest(self, poller: Poller, now: int, read: int) -> None:
        """Let gather what comes; `read` datagrams had come since the last look."""
        if now < self._hurried:
            await sleep_until(now + BRIEF_REST_NS)
            return
        if self.changed:
            self._measure()
        rest = self._calm_rest
        longest = rest * PATIENCE[0] // PATIENCE[1] if self._patient else rest
        if read:
            longest = min(longest, max(BRIEF_REST_NS, (now - self._looked) * EXPECTED // read))
        if longest > rest:
            await poller.rest(now + longest, now + rest)
        else:
            await sleep_until(now + longest)

    def _measure(self) -> None:
        """See for how long what comes may lie unread."""
        self.changed = False
        links = self._links.values()
        self._calm_rest = min((link.rest for link in links), default=REST_NS)
        self._patient = all(link.lead.receive is None for link in links)

    def _read(self, now: int) -> int:
        """Read a batch, and give each connection what is its own; returns how many datagrams there were."""
        receive, send, links, negotiator = self.sock.recvfrom, self.sock.sendto, self._links, self._negotiator
        touched: list[Link] = []
        read = 0
        while read < BATCH:
            try:
                data, address = receive(MAX_DATAGRAM)
            except BlockingIOError:
                break
            except OSError:
                # What came back for something that was sent (port unreachable) says nothing of the others.
                read += 1
                continue
            read += 1
            link = links.get(data[12:16])
            try:
                if link is None:
                    # What follows an answer, or comes right behind it, is for the connection that is made by it.
                    negotiator.receive_datagram(data, address, now)
                    self.negotiate(now)
                elif link.connection.address != address:
                    self.dropped += 1
                elif (
                    len(data) == FULL_ACK.size
                    and not link.inbox
                    and (answer := link.connection.answer(data, now)) is not None
                ):
                    link.session.bytes_in += len(data)
                    try:
                        send(answer, address)
                    except OSError:
                        pass  # as `send_run` has it
                else:
                    if not link.inbox:
                        touched.append(link)
                    link.inbox.append(data)
            except Exception as error:  # noqa: BLE001 - one peer's fault in us is not to end all sessions
                if link is None:
                    self._failed(error)
                else:
                    self._break(link, error)
        for link in touched:
            inbox, link.inbox = link.inbox, []
            link.session.bytes_in += sum(map(len, inbox))
            try:
                link.connection.receive_datagrams(inbox, now)
                self.settle(link, now)
            except Exception as error:  # noqa: BLE001 - raised again in the session's own task
                self._break(link, error)
        return read

    def _break(self, link: Link, error: Exception) -> None:
        """Something went wrong in us at one connection: it ends its session, and nobody else's."""
        self.remove(link)
        if link is not link.lead:
            self.forget(link.connection)
            link.end(str(error))
        link.lead.end(str(error), error)

    def _ring(self, now: int) -> None:
        """Do what is due."""
        timers, negotiator = self._timers, self._negotiator
        due = negotiator.next_timeout()
        if due is not None and due <= now:
            try:
                negotiator.handle_timeout(now)
                self.negotiate(now)
            except Exception as error:  # noqa: BLE001 - as where datagrams come
                self._failed(error)
        while timers and timers[0][0] <= now:
            at, _, link = heapq.heappop(timers)
            if at != link.due:
                continue  # it was put off, or is gone
            link.due = 0
            try:
                due = link.connection.next_timeout()
                if due is None or due <= now:
                    link.connection.handle_timeout(now)
                    self.settle(link, now)
                else:
                    self._schedule(link, due)  # what came meanwhile has put it off
            except Exception as error:  # noqa: BLE001 - raised again in the session's own task
                self._break(link, error)

    def settle(self, link: Link, now: int) -> None:
        """Take what a connection has received, send what it has to say, and note when it wants to be looked at."""
        connection = link.connection
        while (event := connection.next_event()) is not None:
            if isinstance(event, Received):
                self._received(link, event)
            elif link.lead.bond is None or not link.lead.bond.open:
                link.lead.end(event.reason)
            elif link is not link.lead:
                self.remove(link)
                self.forget(connection)
                link.end(event.reason)
        if connection.misses:
            # Looked at before what the peer misses is sent again.
            self._hurried = now + MISSED_NS
        datagrams = connection.datagrams_to_send(now)
        if datagrams:
            send_all(self.sock, datagrams, connection.address)
        due = connection.next_timeout()
        if due is not None and link.due >= 0 and (not link.due or due < link.due):
            self._schedule(link, due)

    def _schedule(self, link: Link, due: int) -> None:
        """Look at it again when something is due there."""
        link.due = due
        heapq.heappush(self._timers, (due, next(self._numbers), link))

    def _received(self, link: Link, event: Received) -> None:
        link = link.lead
        if link.receive is None:
            return
        try:
            publisher = link.receive(event.payloads, event.dropped)
        except Exception as error:  # noqa: BLE001 - raised again in the session's own task
            link.receive = None
            link.end(str(error), error)
        else:
            if publisher is not None:
                self._touched[publisher] = None
