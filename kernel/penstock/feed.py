"""Feeds: each frame is muxed once into units that all readers of the feed share."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Self

import anyio
import structlog

from penstock.errors import Full
from penstock.media import NS, Event, Kind, Track, TrackAdded
from penstock.muxer import Gathering, Muxer, Selective
from penstock.ring import Bounds, Ring, Unit

if TYPE_CHECKING:
    from penstock.derived import DerivedTrack
    from penstock.lanes import Lane, ReaderSink
    from penstock.session import Session
    from penstock.stream import Stream

CATCH_UP_BYTES = 128 << 10
"""What a lagging reader is given at a time: enough for few calls, little enough to keep the loop free."""


class Cursor:
    """What is true at the place where a reader starts: the tracks as configured there, and the first units of each."""

    __slots__ = ("_feed", "index")

    def __init__(self, feed: Feed, index: int) -> None:
        self._feed = feed
        self.index = index

    def first(self, track_id: int) -> Unit | None:
        """The first unit of a track at or after the cursor; None where the next is still to come."""
        ring = self._feed.ring
        for i in range(self.index, ring.end):
            unit = ring[i]
            if unit.track is not None and unit.track.id == track_id:
                return unit
        return None

    def first_frame(self, track_id: int) -> Unit | None:
        """As `first`, passing over configs and controls."""
        ring = self._feed.ring
        return next((ring[i] for i in range(self.index, ring.end) if ring[i].of == track_id), None)

    @property
    def time(self) -> int:
        """The stream's time at the cursor, in ns; where no frame has come yet, one that none will be before."""
        ring = self._feed.ring
        return ring[self.index].time if self.index < ring.end else self._feed.stream.last_time

    @property
    def tracks(self) -> list[Track]:
        """The feed's tracks with the config in force at the cursor."""
        found: list[Track] = []
        for track in self._feed.tracks:
            unit = self.first(track.id)
            found.append(unit.track if unit is not None and unit.track is not None else track)
        return found


class Reader:
    """One sink's place in a feed; used in a ``with`` statement it is detached at the end."""

    __slots__ = (
        "_bytes",
        "_generation",
        "_place",
        "_resume",
        "_since",
        "cursor",
        "feed",
        "lane",
        "on_end",
        "session",
        "sink",
        "skipped",
        "state",
    )

    def __init__(
        self, feed: Feed, lane: Lane, sink: ReaderSink, session: Session, on_end: Callable[[str], None]
    ) -> None:
        self.feed = feed
        self.lane = lane
        self.sink = sink
        self.session = session
        self.on_end = on_end
        self.cursor = 0
        self.state = "new"
        self.skipped: dict[int, int] = {}
        """Frames that it missed, by track id, because it could not keep up."""
        self._bytes = 0
        self._since = 0
        self._place: dict[int, int] = {}
        self._generation = 0
        self._resume: list[Unit] = []

    def move(self, index: int) -> None:
        """Put the cursor at `index`, without counting what lies between."""
        self.cursor = index
        feed = self.feed
        self._place = feed.before(index)
        self._generation = feed.generation_at(index)

    def ready(self) -> None:
        """It is at the head of its lane: the pump serves it from now on."""
        lane = self.lane
        self.state = "ready"
        self._since = lane.sent
        lane.ready[self] = None
        lane.changed = True

    def lag(self, index: int, unsent: int = 0) -> None:
        """It could not take what the pump offered, `unsent` bytes of it; from `index` on it catches up by itself."""
        lane = self.lane
        self._bytes += lane.sent - self._since - unsent
        lane.ready.pop(self, None)
        lane.changed = True
        self.state = "lagging"
        self.move(index)

    @property
    def bytes_out(self) -> int:
        return self._bytes + (self.lane.sent - self._since if self.state == "ready" else 0)

    def next_units(self, most: int = CATCH_UP_BYTES) -> list[Unit]:
        """The next units to catch up on, moving the cursor; empty once it is at the head (and then it is ready)."""
        ring, head = self.feed.ring, self.lane.head
        self._skip(ring, head)
        if self.state == "waiting":
            return []
        last, size = self.cursor, 0
        while last < head and size < most:
            size += ring[last].size
            last += 1
        if last == self.cursor:
            self.ready()
            return []
        units = ring.slice(self.cursor, last)
        self._generation = units[-1].generation
        self.cursor = last
        self._bytes += size
        place = self._place
        for unit in units:
            if (track_id := unit.of) is not None:
                place[track_id] = place.get(track_id, 0) + 1
        if self._resume:
            units, self._resume = self._resume + units, []
        return units

    def catch_up(self) -> bytes | None:
        if self.state != "lagging":
            return None
        units = self.next_units()
        if not units:
            return None
        return b"".join([p for unit in units for p in unit.payloads])

    def _skip(self, ring: Ring, head: int) -> None:
        """Over its bound, or where the ring has let go of its place, a reader goes on at a key unit."""
        feed, cursor = self.feed, self.cursor
        if cursor >= head:
            return
        lost = cursor < ring.start
        first = ring[max(cursor, ring.start)]
        if not lost and ring[head - 1].time - first.time <= feed.max_backlog:
            return
        key = ring.last_key
        if key is not None and cursor < key < head:
            target = key
        elif lost:
            target = head
            if feed.has_video:
                self.wait()
        else:
            return
        self.leap(target)

    def leap(self, target: int) -> None:
        """Go on at `target`: with the configs that changed on the way, and what was missed counted."""
        left_off, generation = self._place, self._generation
        self.move(target)
        if generation != self._generation:
            self._resume = self.feed.configs_at(target)
        if not self.bytes_out:
            return  # it has only just joined
        missed = 0
        for track_id, number in self._place.items():
            number -= left_off.get(track_id, 0)
            self.skipped[track_id] = self.skipped.get(track_id, 0) + number
            missed += number
        self.feed.stream.skipped(self, missed)

    def held(self) -> None:
        self.lane.disturbed = True

    def wait(self) -> None:
        """Nothing to start from is at hand: wait for the next key unit."""
        self.state = "waiting"
        self.lane.waiting[self] = time.monotonic()
        self.feed.stream.request_key_frame()

    def ended(self, reason: str) -> None:
        """The sink is closed, or the feed ended."""
        if self.state == "closed":
            return
        if self.state == "ready":
            self._bytes += self.lane.sent - self._since
        self.state = "closed"
        # The session keeps the number, and not the reader, which has the session.
        total = self._bytes
        self.session.count_out = lambda: total
        lane = self.lane
        lane.ready.pop(self, None)
        lane.waiting.pop(self, None)
        lane.changed = True
        self.feed.left(self, reason)
        try:
            self.on_end(reason)
        except Exception:  # noqa: BLE001 - its protocol's bug is not the other readers'
            structlog.get_logger("penstock").exception("a reader failed", session=self.session.id)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.detach()

    def detach(self, reason: str = "left") -> None:
        """Take the sink out of the feed, leaving it open; what the socket has begun is still finished."""
        self.sink.source = None
        self.on_end = _nothing
        self.ended(reason)


def feed_key(muxer: Muxer, derived: Iterable[DerivedTrack]) -> Hashable:
    """What readers share a feed by: equal bytes of the same tracks."""
    return muxer.key, *(d.track.id for d in derived)


def _nothing(_reason: str) -> None:
    pass


class Feed:
    """One muxer's units of one stream, and the lanes on which they reach its readers.

    Born with its first reader by replaying the GOP cache. The pump is `flush`: it runs in the publisher's task,
    one pass at a time, and yields the loop between batches of sockets.
    """

    def __init__(
        self,
        stream: Stream,
        muxer: Muxer,
        bounds: Bounds,
        max_backlog: float,
        window: float | None,
        derived: tuple[DerivedTrack, ...] = (),
    ) -> None:
        self.stream = stream
        self.muxer = muxer
        self.derived = derived
        """Derived tracks that its readers get, which no other feed is told of."""
        self.key = feed_key(muxer, derived)
        self.max_backlog = int(max_backlog * NS)
        self.ring = Ring(bounds, self.max_backlog)
        self.window = window
        self.lanes: list[Lane] = []
        self.readers: set[Reader] = set()
        self._flushing = False
        self.end_reason = ""
        """Why its readers were let go, once they were."""
        self._counts: dict[int, int] = {}
        self._generation = 0

    def push(self, event: Event) -> None:
        """Mux one event into the ring; costs nothing per reader."""
        self._append(self.muxer.mux(event))
        if isinstance(event, TrackAdded):
            self._added(event.track)

    def release(self) -> None:
        """The publisher has left: what the muxer holds back goes out."""
        if isinstance(self.muxer, Gathering):
            self._append(self.muxer.gathered())

    def _append(self, units: Sequence[Unit]) -> None:
        for unit in units:
            # Events have no time of their own: they happen where the stream is.
            unit.time = unit.time or self.stream.last_time
            self._generation += unit.config
            unit.generation = self._generation
            self.ring.append(unit)
            if (track_id := unit.of) is not None:
                self._counts[track_id] = self._counts.get(track_id, 0) + 1
            for lane in self.lanes:
                lane.note(unit)

    def _added(self, track: Track) -> None:
        """A late track is left out with a reason, or not at all."""
        reason = self._left_out.get(track.id)
        if reason is not None and not track.codec.incidental:
            for reader in self.readers:
                reader.session.leave_out(track.id, reason)
            self.stream.left_out(self, track, reason)

    @property
    def _left_out(self) -> Mapping[int, str]:
        return self.muxer.left_out if isinstance(self.muxer, Selective) else {}

    @property
    def tracks(self) -> tuple[Track, ...]:
        """The stream's, and the derived ones that its readers get."""
        return (*self.stream.tracks, *(d.track for d in self.derived)) if self.derived else self.stream.tracks

    @property
    def has_video(self) -> bool:
        """Whether its readers get pictures: those of sound alone have no key frame to wait for."""
        left_out = self._left_out
        return any(t.kind is Kind.VIDEO and t.id not in left_out for t in self.tracks)

    @property
    def due_at(self) -> int | None:
        """The moment (monotonic ns) at which some lane should be served; None where nothing is pending."""
        due: int | None = None
        end = self.ring.end
        for lane in self.lanes:
            if lane.head < end and (due is None or lane.due_at < due):
                due = lane.due_at
        # Without a publisher there is nothing to wait for.
        return due if due is None or self.stream.published else 0

    @property
    def rest_until(self) -> int:
        """Until when (monotonic ns) every lane lets frames gather at the ingest; 0 where some lane wants each at once."""
        if self.derived and self.window is None:
            # What is read with a picture is made anew when that has gone, and would wait for the next as well.
            return 0
        lanes = self.lanes
        return lanes[0].rest_until if len(lanes) == 1 else min((lane.rest_until for lane in lanes), default=0)

    async def flush(self, now: int) -> None:
        """Serve every lane that is due; one pass at a time."""
        if self._flushing:
            return
        self._flushing = True
        try:
            for lane in self.lanes:
                if lane.pending and (lane.due_at <= now or not self.stream.published):
                    await lane.flush()
        except Exception:  # noqa: BLE001 - whatever it is, it is this feed's and not the publisher's
            structlog.get_logger("penstock").exception("a feed failed", path=self.stream.path)
            self.end("internal error")
        finally:
            self._flushing = False

    def attach(
        self,
        sink: ReaderSink,
        session: Session,
        *,
        preamble: Callable[[Cursor], bytes] | None = None,
        start: str = "key",
        on_end: Callable[[str], None] | None = None,
    ) -> Reader:
        """Let `sink` read from here on: its start reply and its place in the ring are set in one step.

        `preamble` makes the start reply from what is true at the cursor. `start` is ``key`` (the newest key unit,
        so that there is a picture at once) or ``live`` (now). `on_end` is called once with the reason.
        """
        stream = self.stream
        if full := stream.full:
            if not self.readers:
                stream.drop(self)
            raise Full(full)
        lane = self._lane(sink)
        reader = Reader(self, lane, sink, session, on_end or session.kick)
        if stream.ended:
            reader.state = "closed"
            reader.on_end(stream.end_reason or "the stream ended")
            return reader
        ring = self.ring
        key = ring.last_key if start == "key" else None
        if key is not None:
            # Where the key unit has not gone out yet, the reader waits for the pass that it goes with.
            reader.move(key)
            if key > lane.head:
                reader.wait()
        elif start == "key" and stream.has_frames and self.has_video:
            reader.move(ring.end)
            reader.wait()
        else:
            reader.move(lane.head)
        reader.session.count_out = lambda: reader.bytes_out
        self.readers.add(reader)
        if preamble is not None:
            try:
                reply = preamble(Cursor(self, reader.cursor))
            except BaseException:
                reader.on_end = _nothing
                reader.ended("it could not be told what there is")
                raise
            sink.control(reply)
        if sink.closed:
            reader.ended(sink.closed)
            return reader
        sink.source = reader
        if reader.state != "waiting":
            reader.state = "lagging"
            lane.start(reader)
        self.stream.joined(self, reader)
        return reader

    async def pour(self, sink: ReaderSink, session: Session, *, start: str = "key") -> str:
        """Attach `sink` and wait until it or the stream ends; returns why."""
        done = anyio.Event()
        why: list[str] = []

        def end(reason: str) -> None:
            why.append(reason)
            done.set()

        reader = self.attach(sink, session, start=start, on_end=end)
        try:
            await done.wait()
        finally:
            reader.detach()
        return why[0] if why else ""

    def left(self, reader: Reader, reason: str) -> None:
        self.readers.discard(reader)
        reader.lane.leave(reader)
        self.stream.left(self, reader, reason)
        if not self.readers:
            # Feed and lanes refer to each other: a storm of joins would fill memory until they are collected.
            self.lanes.clear()
            self.ring.clear()

    def before(self, index: int) -> dict[int, int]:
        """How many frames of each track were pushed before a ring index."""
        counts = dict(self._counts)
        ring = self.ring
        for i in range(max(index, ring.start), ring.end):
            if (track_id := ring[i].of) is not None:
                counts[track_id] -= 1
        return counts

    def generation_at(self, index: int) -> int:
        """How often a config had changed before the unit at a ring index."""
        ring = self.ring
        if index < ring.end and index >= ring.start:
            unit = ring[index]
            return unit.generation - unit.config
        return self._generation

    def configs_at(self, index: int) -> list[Unit]:
        """What tells a reader that goes on at a ring index of the configs that it missed."""
        time = self.ring[index].time if index < self.ring.end else self.stream.last_time
        found = [self.muxer.config(track, time) for track in Cursor(self, index).tracks]
        return [unit for unit in found if unit is not None]

    def end(self, reason: str) -> None:
        """The stream is over for all readers."""
        self.end_reason = reason
        for reader in tuple(self.readers):
            reader.sink.source = None
            reader.ended(reason)

    def _lane(self, sink: ReaderSink) -> Lane:
        for lane in self.lanes:
            if lane.takes(sink):
                return lane
        lane = sink.lane(self)
        self.lanes.append(lane)
        return lane
