"""Streams: one publisher, tracks, a GOP cache, and the feeds and queues of its readers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

import anyio
import structlog

from penstock.clock import StreamClock
from penstock.derived import DerivedTrack, DerivedTracks, in_order
from penstock.errors import Closed
from penstock.feed import Feed, Reader, feed_key
from penstock.frames import Frames
from penstock.gop import GopCache
from penstock.host import StreamHost
from penstock.media import (
    NS,
    Codec,
    CodecConfig,
    Epoch,
    Event,
    Frame,
    Kind,
    Track,
    TrackAdded,
    TrackChanged,
    TrackRemoved,
)
from penstock.muxer import Muxer
from penstock.path import StreamPath
from penstock.poller import Nap
from penstock.publisher import Publisher
from penstock.queue import FrameQueue
from penstock.registry import Registry
from penstock.segment import SegmentFormat
from penstock.segments import SegmentStore
from penstock.stores import SegmentStores
from penstock.stream_options import StreamOptions
from penstock.wishes import Wishes

if TYPE_CHECKING:
    from penstock.session import Session

TIMER_NS = 1_000_000
"""What is due so soon goes out now: uvloop's timers are whole milliseconds, so that a window's sleep may end early, and
what was not sent then waited for the next frame to come."""

__all__ = ["Publisher", "Stream", "StreamOptions"]


class Stream:
    """What is published under one path."""

    def __init__(
        self, path: StreamPath, registry: Registry, options: StreamOptions, host: StreamHost
    ) -> None:
        self.path = path
        self.registry = registry
        self.options = options
        self.publisher: Publisher | None = None
        self.clock = StreamClock()
        self.epoch = 0
        self.created = time.time()
        self.frame_interval = NS // 25
        self.last_time = NS
        self.rested = False
        """Whether the ingest slept before what it flushes now."""
        self.left_at = 0.0
        """Monotonic seconds at which the publisher left."""
        self._last_arrival = 0
        self.host = host
        self._tracks: dict[int, Track] = {}
        self._next_id = 1
        self.nap = Nap()
        """The ingest's, while a window gathers or nobody reads frames: who comes to read ends it."""
        self._cache = GopCache(options.bounds, options.segments, host.serves_segments)
        self._feeds: dict[object, Feed] = {}
        self._queues: set[FrameQueue] = set()
        self.stores = SegmentStores(self)
        """What is kept of it in segments at the moment."""
        self.derived = DerivedTracks(self)
        self.wishes = Wishes(self)
        self._ready = anyio.Event()
        self._ended = anyio.Event()
        self.has_frames = False
        self.frames_in = 0
        self.bytes_in = 0
        self.end_reason = ""

    # -- what readers ask -------------------------------------------------

    @property
    def tracks(self) -> tuple[Track, ...]:
        """The tracks as they are now, as the source lists them, or else in order of declaration."""
        return tuple(self._tracks.values())

    @property
    def has_video(self) -> bool:
        return any(t.codec.kind is Kind.VIDEO for t in self._tracks.values())

    @property
    def published(self) -> bool:
        """Whether it has a publisher at the moment."""
        return self.publisher is not None

    @property
    def readers(self) -> int:
        return sum(len(f.readers) for f in self._feeds.values()) + len(self._queues)

    @property
    def full(self) -> str:
        """Why there is no room for another reader; empty where there is."""
        most = self.options.max_readers
        taken = most and self.readers + self.host.viewers(self.path)
        return f"{self.path} has its {most} readers already" if taken >= most > 0 else ""

    @property
    def in_use(self) -> bool:
        """Whether somebody reads it, or asked for segments of it not long ago."""
        return self.readers > 0 or bool(self.stores)

    @property
    def feeds(self) -> tuple[Feed, ...]:
        return tuple(self._feeds.values())

    @property
    def cached_bytes(self) -> int:
        return self._cache.bytes

    @property
    def cached(self) -> tuple[Frame, ...]:
        """What a reader begins with: see `GopCache`."""
        return self._cache.frames

    @property
    def replayed(self) -> tuple[Frame, ...]:
        """What segments begin with: these, and what is kept of before."""
        return self._cache.replay

    @property
    def replayed_from(self) -> int | None:
        """The dts of the first of these."""
        return self._cache.replay_start

    @property
    def is_ready(self) -> bool:
        """Every declared track has its config, or it was waited for long enough."""
        return self._ready.is_set()

    @property
    def ended(self) -> bool:
        return self._ended.is_set()

    async def wait_ready(self) -> None:
        await self._ready.wait()

    async def tracks_for(self, takes: Callable[[Track], bool]) -> tuple[Track, ...]:
        """The tracks for a reader of whose carrier `takes` tells what it can have: where it takes none of a kind, and a
        plugin makes one of it that it does take, that one stands in place of its source, and is being made.

        Give what comes to the muxer, and to `feed`.
        """
        return await self.derived.chosen(self.tracks, takes)

    def derivable(self, track: Track) -> tuple[Codec, ...]:
        """The codecs that plugins make of that track for readers that need them."""
        return tuple(derivation.codec for derivation in self.host.derivations(self, track))

    def feed(self, muxer: Muxer, max_backlog: float | None = None, tracks: Iterable[Track] = ()) -> Feed:
        """The feed of `muxer`'s key, born by replaying the GOP cache where there is none.

        Its readers skip when they are `max_backlog` seconds behind, of which the first who asks decides; None is
        what the server has for all. Of derived tracks, which `tracks_for` gave, it has those among `tracks`.
        """
        derived = self.derived.of(tracks)
        key = feed_key(muxer, derived)
        feed = self._feeds.get(key)
        if feed is None:
            o = self.options
            backlog = o.max_backlog if max_backlog is None else max_backlog
            feed = Feed(self, muxer, o.bounds, backlog, o.window, derived)
            for made in derived:
                made.start()
            for frame in in_order(self._cache.frames, derived, since=self._cache.start):
                feed.push(frame)
            self._feeds[key] = feed
            self.nap.wake()
        return feed

    def segments(self, format: SegmentFormat, tracks: Iterable[Track] = ()) -> SegmentStore:
        """The store of `format`'s key, kept while it is asked for; where there is none it is born by replaying the GOP cache
        and what is kept of before that. Of derived tracks it has those that anybody gave among `tracks`.

        Of a stream that has ended it is what was there at the end, if anything was.
        """
        return self.stores.of(format, self.derived.of(tracks))

    async def segments_for(self, format: SegmentFormat) -> SegmentStore:
        """As `segments`, with what plugins make of tracks that `format` does not take."""
        tracks = () if self.ended else await self.tracks_for(partial(format.takes, self.registry))
        return self.segments(format, tracks)

    def drop_idle(self, now: float) -> None:
        """Let go of segments that nobody has asked for in a while, and of derived tracks; `now` in monotonic seconds."""
        self.derived.stop_idle(now)
        if self.stores.drop_idle(now):
            self._unused()

    def key_interval(self, track_id: int) -> int:
        """The longest that two key frames of a video track were apart lately, in ns; 0 where it is not known."""
        return self._cache.key_intervals.get(track_id, 0)

    def _unused(self) -> None:
        """Somebody left: without a publisher, the last one takes the stream along."""
        if not self.published and not self.in_use:
            self.end(self.end_reason)

    def read(self, session: Session | None = None, *, max_frames: int = 512) -> Frames:
        """Frames and track events from the newest key frame on, through a queue of `max_frames`.

        A reader that falls behind misses frames up to the next key frame. Ends with the stream.
        """
        # What is there already comes on top of the bound: a long group of pictures is no reason to start in its middle.
        queue = FrameQueue(max_frames, [*map(TrackAdded, self.tracks), *self._cache.frames])
        if self.ended:
            queue = FrameQueue(max_frames)
            queue.end()
        return Frames(self, queue, session)

    def join(self, queue: FrameQueue, session: Session | None) -> None:
        """`queue` gets every event from now on."""
        self._queues.add(queue)
        self.nap.wake()
        if session is not None:
            self.host.changed("reader_joined", stream=self, session=session)

    def leave(self, queue: FrameQueue, session: Session | None) -> None:
        self._queues.discard(queue)
        if session is not None:
            self.host.changed("reader_left", stream=self, session=session, reason="left")
        self._unused()

    def request_key_frame(self, track: Track | None = None) -> None:
        """Ask the publisher for a key frame of `track` (of every video track by default), or who makes a derived one; at
        most once a second.
        """
        self.wishes.key_frame(track)

    def bitrate_hint(self, track: Track, bits_per_second: int) -> None:
        """Tell the publisher what its readers can take, where it can act on that."""
        self.wishes.bitrate(track, bits_per_second)

    # -- what publishers do -----------------------------------------------

    def take_over(self, publisher: Publisher) -> None:
        """`publisher` is the stream's from now on; times go on, and an epoch marks the seam."""
        again = self.has_frames
        self.publisher = publisher
        self._ready = anyio.Event()
        self.wishes.clear()
        if again:
            self.new_epoch()
        self.host.changed("stream_published", stream=self)

    def new_epoch(self) -> None:
        """What follows is no continuation of what came before, though times go on."""
        self.epoch += 1
        self.clock.reset()
        self._cache.clear()
        self._send(Epoch(self.epoch))

    def add_track(
        self,
        codec: Codec,
        clock_rate: int,
        config: CodecConfig | None,
        group: str | None,
        language: str | None,
        taken: set[int],
    ) -> Track:
        """A new track, or the one of the publisher before that it continues (same codec and clock)."""
        alike = [
            t
            for t in self._tracks.values()
            if t.id not in taken and (t.codec, t.clock_rate, t.group) == (codec, clock_rate, group)
        ]
        # Of those that are alike the one of that language, whatever the order in which they are declared.
        old = next((t for t in alike if t.language == language), alike[0] if alike else None)
        if old is not None:
            track = Track(old.id, codec, clock_rate, config, group, language)
            self._tracks[track.id] = track
            if config is not None and track != old:
                self._tell_change(track)
            return track
        track = Track(self.new_id(), codec, clock_rate, config, group, language)
        self._tracks[track.id] = track
        self._send(TrackAdded(track))
        self.host.changed("track_added", stream=self, track=track)
        return track

    def new_id(self) -> int:
        """The id of a track that none had before."""
        self._next_id += 1
        return self._next_id - 1

    def change_track(self, track: Track) -> None:
        """A track has a new config, in force from its next frame on."""
        self._tracks[track.id] = track
        self._tell_change(track)
        self.check_ready(self.publisher)

    def _tell_change(self, track: Track) -> None:
        self._send(TrackChanged(track))
        self.host.changed("track_changed", stream=self, track=track)

    def order_tracks(self, order: Iterable[int]) -> None:
        """List these first, in that order; once readers have seen the tracks they stay as they are."""
        if not self._ready.is_set():
            self._tracks = {i: self._tracks[i] for i in (*order, *self._tracks)}

    def check_ready(self, publisher: Publisher | None) -> None:
        if (
            publisher is not None
            and publisher.complete
            and all(t.config is not None for t in self._tracks.values() if t.id in publisher.track_ids)
        ):
            self.set_ready()

    def set_ready(self) -> None:
        """Serve readers with what is there; tracks of an earlier publisher that nobody declared again are gone."""
        publisher = self.publisher
        if self._ready.is_set() or publisher is None:
            return
        for track in self.tracks:
            if track.id not in publisher.track_ids:
                del self._tracks[track.id]
                self._send(TrackRemoved(track))
        if self._tracks:
            self._ready.set()

    def start_offset(self, dts: int, arrival: int) -> int:
        """Whole seconds to add to a source's times: from one second on at first, later on from where the stream is."""
        target = NS
        if self.has_frames:
            target = self.last_time + max(0, arrival - self._last_arrival)
        return -((dts - target) // NS) * NS

    def emit(self, frame: Frame) -> None:
        """One frame for all readers: muxed once for each feed; nothing is sent before `flush`."""
        self.has_frames = True
        self.frames_in += 1
        if frame.dts > self.last_time:
            self.last_time = frame.dts
        if frame.arrival != self._last_arrival:
            # Once for all that one read brought.
            self._last_arrival = frame.arrival
            if frame.track.kind is not Kind.DATA:
                # Subtitles and the like come before they are due.
                self.clock.arrival(frame.dts, time.time_ns() - time.monotonic_ns() + frame.arrival)
        self.bytes_in += self._cache.add(frame)
        self._send(frame)

    def _send(self, event: Event) -> None:
        self.send(event, self._feeds.values())
        for queue in self._queues:
            queue.put(event)
        if self.stores.known:
            self.stores.put(event)
        if self.derived.known:
            self.derived.put(event)

    def send_derived(self, event: Event, derived: DerivedTrack) -> None:
        """One event of a derived track for those who read it."""
        self.send(event, derived.feeds)
        self.stores.put(event, derived.track)

    def send(self, event: Event, feeds: Iterable[Feed]) -> None:
        """Mux one event for these feeds."""
        failed: list[tuple[Feed, str]] = []
        for feed in feeds:
            try:
                feed.push(event)
            except Closed as e:
                failed.append((feed, str(e)))
            except Exception:  # noqa: BLE001 - a muxer's bug ends its readers, not the publisher
                structlog.get_logger("penstock").exception("a muxer failed", path=self.path)
                failed.append((feed, "internal error"))
        for feed, reason in failed:
            self.drop(feed)
            feed.end(reason)

    def drop(self, feed: Feed) -> None:
        """`feed` is of no use: nothing more is muxed for it."""
        if self._feeds.get(feed.key) is feed:
            del self._feeds[feed.key]

    async def flush(self, *, rest: bool = False, idle: bool = False) -> bool:
        """Serve the feeds that are due. With `rest`, sleep through the window that every feed allows, or with `idle` where
        there is none while frames gather that nobody reads; whether it did.
        """
        feeds = tuple(self._feeds.values())
        if not feeds:
            self.rested = False
            return idle and await self._rest()
        now = time.monotonic_ns()
        for feed in feeds:
            due = feed.due_at
            if due is not None and due <= now + TIMER_NS:
                await feed.flush(now + TIMER_NS)
                due = feed.due_at
            if due is not None:
                self.host.late(feed)
        self.host.awake()
        if rest:
            moment = feeds[0].rest_until if len(feeds) == 1 else min(feed.rest_until for feed in feeds)
            if moment > now:
                await self.nap.until(moment)
                self.rested = True
                return True
        self.rested = False
        return False

    async def _rest(self) -> bool:
        """Sleep until frames have gathered, or somebody comes who reads them, where nobody does; whether it did (ADR 0036)."""
        publisher = self.publisher
        if publisher is None or publisher.awaited or self._queues or self.derived:
            return False
        if self.options.window == 0 or not self.is_ready:
            return False
        length = self.stores.patience
        if not length:
            return False
        await self.nap.until(time.monotonic_ns() + length)
        return True

    def publisher_left(self, publisher: Publisher, reason: str) -> None:
        """Wait for a new publisher while there are readers; otherwise end now."""
        if self.publisher is not publisher:
            return
        self.publisher = None
        self.left_at = time.monotonic()
        self.end_reason = reason
        self._ready = anyio.Event()
        for feed in self._feeds.values():
            feed.release()
            self.host.late(feed)
        self.stores.interrupt()
        self.host.changed("stream_unpublished", stream=self, reason=reason)
        # Without grace it ends all the same only when what has gathered is gone, at the server's next look at it.
        if not self.in_use or not (self.options.reconnect_grace or self._pending):
            self.end(reason)

    @property
    def _pending(self) -> bool:
        """Whether something that was published has not gone out."""
        return any(feed.due_at is not None for feed in self._feeds.values())

    def end_if_left(self, now: float) -> None:
        """End where readers have waited long enough for a new publisher; `now` in monotonic seconds."""
        if self.publisher is None and now - self.left_at > self.options.reconnect_grace and not self._pending:
            self.end(self.end_reason)

    def end(self, reason: str) -> None:
        """The stream is over: every reader is told."""
        if self._ended.is_set():
            return
        self._ended.set()
        self.end_reason = reason
        for feed in self.feeds:
            feed.end(reason)
        for queue in tuple(self._queues):
            queue.end()
        self.stores.end(reason)
        self.derived.stop()
        self.host.gone(self)

    # -- what feeds tell ----------------------------------------------------

    def joined(self, feed: Feed, reader: Reader) -> None:
        self.host.changed("reader_joined", stream=self, session=reader.session)

    def left_out(self, feed: Feed, track: Track, reason: str) -> None:
        """A feed does not carry a track that was added since its readers came."""
        self.host.left_out(feed, track, reason)

    def skipped(self, reader: Reader, frames: int) -> None:
        self.host.changed("reader_skipped", stream=self, session=reader.session, frames=frames)

    def left(self, feed: Feed, reader: Reader, reason: str) -> None:
        reader.session.count("skipped_frames", sum(reader.skipped.values()))
        if not feed.readers:
            self.drop(feed)
        self.host.changed("reader_left", stream=self, session=reader.session, reason=reason)
        if self.publisher is None and not self.in_use:
            self.end(reason)
