"""Sinks and lanes for datagrams: packets shared by all, or stamped for each."""

from __future__ import annotations

import socket
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import anyio
import structlog
from anyio import wait_writable
from anyio.lowlevel import checkpoint

from penstock.lanes import BATCH, Lane, ReaderSink
from penstock.media import NS
from penstock.muxer import Gathering
from penstock.poller import Nap
from penstock.sink import Source, Spawn
from penstock.udp import Address, Fanout, Run, runs, send_all, send_run

if TYPE_CHECKING:
    from penstock.feed import Feed, Reader
    from penstock.ring import Unit

PACE_SECONDS = 0.01
PACE_BYTES = 64 << 10
"""A backlog is larger than a receiver's socket buffer: at most this much each `PACE_SECONDS`."""
PACE_BATCH = 16
"""Readers with a backlog that are served before the loop is yielded: at most 1 MB, a few milliseconds."""
FULL_SECONDS = 0.02
"""How long a full socket may hold up a frame: its interface then sends less than is asked of it."""
BURST_NS = NS // 2
"""Media time above which one pass would overflow a receiver's socket buffer."""
RIDERS = 32
"""From so many readers with packets of their own on, sound goes with the next picture: what a pass costs for each of them is
mostly that nothing of theirs is in a cache, and half of all passes are for sound."""
MESSAGES = 1024
"""Messages sent before the loop is yielded: a few milliseconds."""
PACE_FACTOR = 4
"""And at most so many times the media's own rate, once the first burst is out."""


class PacedSink:
    """What sinks of datagrams have in common: no backlog of their own, a backlog in the ring is paced."""

    __slots__ = ("_closed", "source", "spawn")

    def __init__(self, spawn: Spawn) -> None:
        self.source: Source | None = None
        self.spawn = spawn
        self._closed = ""

    @property
    def closed(self) -> str:
        return self._closed

    def emit(self, units: Sequence[Unit]) -> None:
        """Send `units` to this peer now."""
        raise NotImplementedError

    def control(self, data: bytes) -> None:
        raise NotImplementedError

    def lane(self, feed: Feed) -> Lane:
        raise NotImplementedError

    def close(self, reason: str) -> None:
        """Nothing more is sent; the reader is told once."""
        if not self._closed:
            self._closed = reason
            source, self.source = self.source, None
            if source is not None:
                source.ended(reason)


Destinations = Mapping[tuple[int, int], tuple[socket.socket, Address]]
"""Socket and address for each (track id, channel): channel 0 is media, 1 its control (RTCP)."""


class DatagramSink(PacedSink):
    """A peer that gets the same packets as all others: RTP with one SSRC and sequence, unicast or multicast.

    `control_to` is where control bytes go that are this peer's own.
    """

    __slots__ = ("_control_to", "destinations")

    def __init__(
        self,
        destinations: Destinations,
        spawn: Spawn,
        control_to: tuple[socket.socket, Address] | None = None,
    ) -> None:
        super().__init__(spawn)
        self.destinations = destinations
        self._control_to = control_to

    def emit(self, units: Sequence[Unit]) -> None:
        for unit in units:
            to = self.destinations.get((unit.track.id, unit.channel)) if unit.track is not None else None
            if to is not None:
                for run in runs(unit.payloads):
                    send_run(to[0], run, to[1])

    def control(self, data: bytes) -> None:
        if self._control_to is not None and data and not self._closed:
            send_run(self._control_to[0], (data, len(data)), self._control_to[1])

    def lane(self, feed: Feed) -> Lane:
        return DatagramLane(feed, self.spawn)


class StampSink(PacedSink):
    """A peer whose packets are its own: headers, sequence, encryption, and what retransmission needs.

    `stamp` is called once per pass with the units that are new; what it returns is sent in few calls.
    """

    __slots__ = ("address", "sock", "stamp")

    def __init__(
        self,
        sock: socket.socket,
        address: Address,
        stamp: Callable[[Sequence[Unit]], Sequence[bytes]],
        spawn: Spawn,
    ) -> None:
        super().__init__(spawn)
        self.sock = sock
        self.address = address
        self.stamp = stamp

    def emit(self, units: Sequence[Unit]) -> None:
        send_all(self.sock, self.stamp(units), self.address)

    def send(self, datagrams: Sequence[bytes]) -> None:
        """Send datagrams to the peer at once: retransmissions, acknowledgements."""
        send_all(self.sock, datagrams, self.address)

    def control(self, data: bytes) -> None:
        if data and not self._closed:
            self.send([data])

    def lane(self, feed: Feed) -> Lane:
        return StampLane(feed, self.spawn)


class PacedLane(Lane):
    """Readers at datagrams: one task paces all who have a backlog."""

    def __init__(self, feed: Feed, window: float | None, spawn: Spawn) -> None:
        super().__init__(feed, window)
        self._spawn = spawn
        self._lagging: dict[Reader, float] = {}
        self._new: deque[Reader] = deque()
        self._pacing = False
        self._nap = Nap()

    def start(self, reader: Reader) -> None:
        # The first burst may be as large as one pass allows, so that the first picture is there at once.
        self._lagging[reader] = PACE_BYTES
        self._new.append(reader)
        if self._pacing:
            self._nap.wake()
        else:
            self._pacing = True
            self._spawn(self._pace)

    def leave(self, reader: Reader) -> None:
        self._lagging.pop(reader, None)

    def _rate(self) -> float:
        """Bytes a second that a reader with a backlog gets."""
        ring = self.feed.ring
        span = (ring[ring.end - 1].time - ring[ring.start].time) / 1e9 if ring.end > ring.start else 0.0
        return PACE_FACTOR * ring.bytes / span if span > 0.1 else PACE_BYTES / PACE_SECONDS

    async def _pace(self) -> None:
        last = time.monotonic()
        try:
            while self._lagging:
                now = time.monotonic()
                allowance = self._rate() * (now - last)
                last = now
                self._begin()
                for n, (reader, saved) in enumerate(tuple(self._lagging.items())):
                    if n % PACE_BATCH == PACE_BATCH - 1:
                        await checkpoint()
                        self._begin()
                    if reader in self._lagging:
                        self._offer(reader, min(PACE_BYTES, saved + allowance))
                await self._pause()
        finally:
            self._pacing = False
            self._new.clear()

    async def _pause(self) -> None:
        """Sleep for `PACE_SECONDS`: who comes meanwhile has the first burst at once."""
        end = time.monotonic_ns() + int(PACE_SECONDS * NS)
        # uvloop's timers are whole milliseconds.
        while end - time.monotonic_ns() > NS // 1000:
            await (checkpoint() if self._new else self._nap.until(end))
            self._begin()

    def _begin(self) -> None:
        """The first burst of those who have just come: their picture does not wait until all others have had their turn."""
        for _ in range(min(PACE_BATCH, len(self._new))):
            reader = self._new.popleft()
            if (budget := self._lagging.get(reader)) is not None:
                self._offer(reader, budget)

    def _offer(self, reader: Reader, budget: float) -> None:
        try:
            self._give(reader, budget)
        except Exception:  # noqa: BLE001 - a stamp's bug ends its reader, not the others
            _failed(reader)

    def _give(self, reader: Reader, budget: float) -> None:
        sink: PacedSink = reader.sink  # type: ignore[assignment]
        while budget > 0 or reader.cursor >= self.head:
            units = reader.next_units(max(1, int(budget)))
            if not units:
                self._lagging.pop(reader, None)
                return
            sink.emit(units)
            budget -= sum(u.size for u in units)
        self._lagging[reader] = budget


class DatagramLane(PacedLane):
    """The same packets for all: a prepared fan-out for each (socket, track, channel), made anew when readers change."""

    def __init__(self, feed: Feed, spawn: Spawn) -> None:
        # Sound rides with the picture as on byte streams, but datagrams are not gathered for longer: what is sent at
        # once must fit a receiver's socket buffer.
        super().__init__(feed, None if feed.window else feed.window, spawn)
        self._fanouts: dict[tuple[int, int], list[Fanout]] = {}
        self._dripping = False

    def takes(self, sink: ReaderSink) -> bool:
        return isinstance(sink, DatagramSink)

    async def flush(self) -> None:
        if self._dripping:
            return
        ring = self.feed.ring
        if self.ready and ring[ring.end - 1].time - ring[max(self.head, ring.start)].time > BURST_NS:
            # A publisher, or this server, had been held up: what came at once is paced, and still for all together. Were
            # each reader to catch up by itself, that would hold up the server again, and so on.
            self._dripping = True
            self._spawn(self._drip)
            return
        await self._serve(self.take())

    async def _drip(self) -> None:
        """Let out what is pending at `PACE_FACTOR` times its own pace."""
        ring, last = self.feed.ring, time.monotonic()
        until = ring[max(self.head, ring.start)].time
        try:
            while self.pending and self.ready:
                now = time.monotonic()
                until, last = until + int(PACE_FACTOR * (now - last) * NS), now
                first = max(self.head, ring.start)
                # A source whose time jumps is neither waited for nor let out all at once.
                ahead = ring[first].time - until
                until += ahead if ahead > BURST_NS else min(0, ahead + BURST_NS)
                end = first
                while end < ring.end and ring[end].time <= until:
                    end += 1
                if end > first:
                    await self._serve(self.take(end))
                await anyio.sleep(PACE_SECONDS)
        finally:
            self._dripping = False

    async def _serve(self, units: list[Unit]) -> None:
        if not self.ready:
            return
        if self.changed:
            self._prepare()
        packets: dict[tuple[int, int], list[bytes]] = {}
        for unit in units:
            self.sent += unit.size
            if unit.track is not None:
                packets.setdefault((unit.track.id, unit.channel), []).extend(unit.payloads)
        sent = 0
        for key, payloads in packets.items():
            for fanout in self._fanouts.get(key, ()):
                for run in runs(payloads):
                    if sent >= MESSAGES:
                        await checkpoint()
                        sent = 0
                    if (done := fanout.send(run)) < len(fanout):
                        await _rest(fanout, run, done)
                    sent += len(fanout)

    def _prepare(self) -> None:
        self.changed = False
        found: dict[tuple[int, int], dict[socket.socket, list[Address]]] = {}
        for reader in self.ready:
            sink: DatagramSink = reader.sink  # type: ignore[assignment]
            for key, (sock, address) in sink.destinations.items():
                found.setdefault(key, {}).setdefault(sock, []).append(address)
        self._fanouts = {key: [Fanout(s, a) for s, a in by.items()] for key, by in found.items()}


async def _rest(fanout: Fanout, run: Run, done: int) -> None:
    """The socket is full: offer the rest as it empties; what it does not take in time is lost, as on any network."""
    # Looked at here as well: what is writable at once is never waited for, and cannot be cancelled.
    deadline = anyio.current_time() + FULL_SECONDS
    with anyio.CancelScope(deadline=deadline):
        while done < len(fanout) and anyio.current_time() < deadline:
            try:
                await wait_writable(fanout.sock)
            except anyio.BusyResourceError:
                # All streams share the socket, and another one waits for it already.
                await anyio.sleep(PACE_SECONDS / 10)
            done = fanout.send(run, done)


class StampLane(PacedLane):
    """Packets of each reader's own, each frame as it comes: one stamp and few calls a reader and pass.

    Where they are many, sound goes with the next picture (docs/adr/0038).
    """

    def __init__(self, feed: Feed, spawn: Spawn) -> None:
        super().__init__(feed, None if feed.window is None else 0, spawn)
        self._gathers = isinstance(feed.muxer, Gathering)
        self._served: list[Reader] = []
        self._emits: list[Callable[[Sequence[Unit]], None]] = []
        """What sends to each of `_served`: the loop over them touches nothing else of theirs, which would be in no cache."""

    def takes(self, sink: ReaderSink) -> bool:
        return isinstance(sink, StampSink)

    @property
    def due_at(self) -> int:
        return super().due_at if self._rides else 0

    @property
    def rest_until(self) -> int:
        # Sound that waits for the next picture, here or in the muxer, need not wake anybody.
        return self._next_picture if self._rides or (self.ready and self._gathers) else 0

    @property
    def _rides(self) -> bool:
        """Whether sound waits here for the next picture: there are pictures, and it is not the muxer that keeps it for them."""
        many = len(self.ready) >= RIDERS
        return many and self._by_picture and self._next_picture > 0 and not self._gathers

    async def flush(self) -> None:
        units = self.take()
        self.sent += sum(u.size for u in units)
        if self.changed:
            self.changed = False
            self._served = list(self.ready)
            self._emits = [reader.sink.emit for reader in self._served]  # type: ignore[attr-defined]
        served = self._served
        for n, emit in enumerate(self._emits):
            if n % BATCH == BATCH - 1:
                await checkpoint()
            if self.changed and served[n].state != "ready":
                continue
            try:
                emit(units)
            except Exception:  # noqa: BLE001 - a stamp's bug ends its reader, not the others
                _failed(served[n])


def _failed(reader: Reader) -> None:
    structlog.get_logger("penstock").exception("a sink failed", session=reader.session.id)
    reader.sink.close("internal error")
