"""Derived tracks: what a plugin makes out of a publisher's track, for readers whose carrier cannot take that one."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from functools import partial
from heapq import merge
from typing import TYPE_CHECKING

import anyio
import structlog
from attrs import field, frozen
from attrs.validators import instance_of, is_callable

from penstock.media import (
    Codec,
    CodecConfig,
    Epoch,
    Event,
    Frame,
    Kind,
    Track,
    TrackChanged,
    TrackRemoved,
)
from penstock.queue import FrameQueue

if TYPE_CHECKING:
    from penstock.feed import Feed
    from penstock.stream import Stream

MAX_WAITING = 512
"""Frames of the source that wait for a maker: one that is slower than its source misses some."""
START_SECONDS = 4.0
"""How long a reader waits for what is made of the GOP cache; a maker that takes longer is too slow for it. Pictures of ten
seconds, as x264 has them by itself, take one or two to be decoded, and more on a busy machine.
"""
LINGER_SECONDS = 5.0
"""How long a maker goes on after its last reader: players come back, and peers shake hands before they read."""
RESTART_SECONDS = (1.0, 2.0, 5.0, 10.0, 30.0)
"""How long a maker that failed is left alone, by how often it did without having made anything."""


@frozen
class Derivation:
    """What a plugin can make out of a track: the hook `derive` answers with these.

    Codec, clock rate and config are what readers are told before anything runs. `run` makes it: it reads the source's
    frames from the `DerivedTrack` that it is given and writes its own to it, until it has read an empty list.
    """

    codec: Codec = field(validator=instance_of(Codec))
    clock_rate: int = field(validator=instance_of(int))
    config: CodecConfig = field(validator=instance_of(CodecConfig))
    run: Callable[[DerivedTrack], Awaitable[None]] = field(validator=is_callable())


class DerivedTrack:
    """A track that is made while somebody reads it, once for all readers of the stream that want it."""

    def __init__(self, stream: Stream, source: Track, track: Track, derivation: Derivation) -> None:
        self.source = source
        """What it is made of, as that was at first: each frame has the value in force."""
        self.track = track
        self.frames: deque[Frame] = deque()
        """What readers begin with: sound from where segments begin, pictures from their own last key frame on."""
        self.on_key_frame_request: Callable[[], None] | None = None
        """Set by a maker that can give readers a key frame when they ask; else the source's publisher is asked."""
        self.failed = ""
        """Why nothing is made at the moment."""
        self.missed = 0
        """Frames of the source that its maker did not get, because it was too slow."""
        self._stream = stream
        self._derivation = derivation
        self._queue: FrameQueue | None = None
        self._scope: anyio.CancelScope | None = None
        self._has_read = False
        self._caught_up = anyio.Event()
        self._asked = 0.0
        self._failures = 0
        self._last = 0

    # -- for who makes it ----------------------------------------------------

    async def read(self) -> list[Event]:
        """What has come of the source since: its frames and changes, and the stream's epochs; empty once it is over.

        The first are those that the stream has kept. Where the maker is too slow, frames are missed up to a key frame.
        """
        queue, found = self._queue, list[Event]()
        if queue is None:
            return found
        # Who is too slow is never without work, and is read all the same: what it misses is left out.
        if self._has_read or not len(queue):
            self._caught_up.set()
        self._has_read = True
        while not found or len(queue):
            event = await queue.get()
            if event is None:
                break
            found.append(event)
        return found

    def write(
        self,
        units: tuple[bytes, ...],
        *,
        pts: int,
        dts: int | None = None,
        key: bool = True,
        duration: int | None = None,
    ) -> None:
        """One frame in its codec's normal form, on the stream's clock, as the source's frames are.

        One that is not later than that before it is left out.
        """
        stream, dts = self._stream, pts if dts is None else dts
        if dts <= self._last:
            return
        self._last, self._failures, self.failed = dts, 0, ""
        frame = Frame(self.track, pts, dts, units, key, duration, time.monotonic_ns())
        self._keep(frame)
        stream.send_derived(frame, self)

    def _keep(self, frame: Frame) -> None:
        frames, start = self.frames, self._stream.replayed_from
        if self.track.kind is not Kind.VIDEO:
            frames.append(frame)
            while frames and (start is None or frames[0].dts < start):
                frames.popleft()
            return
        # Key frames need not be where the source has them.
        if frame.key or len(frames) >= self._stream.options.bounds.frames:
            frames.clear()
        if frame.key or frames:
            frames.append(frame)

    def configure(self, config: CodecConfig) -> None:
        """The config of what is written from now on."""
        if config != self.track.config:
            self.track = self.track.with_config(config)
            self._stream.send_derived(TrackChanged(self.track), self)

    async def flush(self) -> None:
        """Let readers have what was written and is due."""
        now = time.monotonic_ns()
        for feed in self.feeds:
            if (due := feed.due_at) is not None and due <= now:
                await feed.flush(now)
                due = feed.due_at
            if due is not None:
                self._stream.host.late(feed)

    # -- for the stream ------------------------------------------------------

    @property
    def feeds(self) -> list[Feed]:
        """Those whose readers get it."""
        return [feed for feed in self._stream.feeds if self in feed.derived]

    @property
    def running(self) -> bool:
        return self._scope is not None

    def put(self, event: Event) -> None:
        """One event of the stream."""
        if self._queue is not None and (isinstance(event, Epoch) or event.track.id == self.source.id):
            self._queue.put(event)

    def start(self) -> None:
        """Somebody wants it."""
        self._asked = time.monotonic()
        if self._scope is None:
            self._scope = anyio.CancelScope()
            self._caught_up = anyio.Event()
            self._last, self._failures, self.failed = 0, 0, ""
            self._stream.host.spawn(partial(self._run, self._scope))

    def stop(self) -> None:
        if self._scope is not None:
            self._scope.cancel()
            self._scope = self._queue = self.on_key_frame_request = None
            self.frames.clear()

    def stop_idle(self, now: float) -> None:
        """Let go of what nobody has read for a while; `now` in monotonic seconds."""
        if self.feeds or any(store.has(self.track) for store in self._stream.stores):
            self._asked = now
        elif now - self._asked > LINGER_SECONDS:
            self.stop()

    async def ready(self) -> bool:
        """Whether it is being made, and what there is of it goes as far back as the GOP cache."""
        self.start()
        with anyio.move_on_after(START_SECONDS):
            await self._caught_up.wait()
        return self._caught_up.is_set() and not self.failed

    async def _run(self, scope: anyio.CancelScope) -> None:
        """Have it made until it is wanted no more. Where that fails it is tried again, from where the stream is then."""
        with scope:
            cached: Iterable[Frame] = (f for f in self._stream.replayed if f.track.id == self.source.id)
            while True:
                self._queue = queue = FrameQueue(MAX_WAITING, cached)
                self._has_read = False
                self.failed = await self._make()
                self.missed += queue.skipped
                self._queue, cached = None, ()
                self._caught_up.set()
                delay = RESTART_SECONDS[min(self._failures, len(RESTART_SECONDS) - 1)]
                self._failures += 1
                await anyio.sleep(delay)

    async def _make(self) -> str:
        """One run of its maker; returns why it ended."""
        log = structlog.get_logger("penstock")
        told = {"path": self._stream.path, "track": self.source.id, "codec": self.track.codec.name}
        try:
            await self._derivation.run(self)
        except (KeyboardInterrupt, anyio.get_cancelled_exc_class()):
            raise
        except BaseException as e:
            # Whatever it is, the stream and its readers go on.
            log.exception("a derived track failed", **told)
            return str(e) or type(e).__name__
        if self._queue is None:
            return ""  # it was stopped
        log.error("a derived track ended before its source", **told)
        return "it ended before its source"


class DerivedTracks:
    """Those of one stream."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.known: dict[tuple[int, Codec], DerivedTrack] = {}
        """By the id of what they are made of, and their codec."""

    def __iter__(self) -> Iterator[DerivedTrack]:
        return iter(tuple(self.known.values()))

    def __bool__(self) -> bool:
        return bool(self.known)

    async def chosen(self, tracks: Iterable[Track], takes: Callable[[Track], bool]) -> tuple[Track, ...]:
        """See `Stream.tracks_for`."""
        tracks = tuple(tracks)
        served = {track.kind for track in tracks if takes(track)}
        found: list[Track] = []
        for track in tracks:
            made = None
            if track.kind not in served and track.kind is not Kind.DATA and track.config is not None:
                made = await self._made(track, takes)
            found.append(track if made is None else made)
            served |= set() if made is None else {track.kind}
        return tuple(found)

    async def _made(self, source: Track, takes: Callable[[Track], bool]) -> Track | None:
        """The first that some plugin makes of `source`, and that a reader takes."""
        for derivation in self._stream.host.derivations(self._stream, source):
            key = source.id, derivation.codec
            derived = self.known.get(key)
            if derived is None:
                track = Track(
                    self._stream.new_id(),
                    derivation.codec,
                    derivation.clock_rate,
                    derivation.config,
                    language=source.language,
                    source=source.id,
                )
                derived = DerivedTrack(self._stream, source, track, derivation)
            if takes(derived.track):
                self.known[key] = derived
                if await derived.ready():
                    return derived.track
        return None

    def pending(self, takes: Callable[[Track], bool]) -> bool:
        """Whether something is being made that a reader takes: who was not given it may ask again soon."""
        return any(derived.running and not derived.failed and takes(derived.track) for derived in self)

    def of(self, tracks: Iterable[Track]) -> tuple[DerivedTrack, ...]:
        """Those among a reader's tracks."""
        ids = {track.id for track in tracks}
        return tuple(derived for derived in self if derived.track.id in ids)

    def put(self, event: Event) -> None:
        """One event of the stream; where a source is gone, so is what was made of it."""
        for key, derived in tuple(self.known.items()):
            derived.put(event)
            if isinstance(event, TrackRemoved) and event.track.id == derived.source.id:
                del self.known[key]
                derived.stop()
                self._stream.send_derived(TrackRemoved(derived.track), derived)

    def stop_idle(self, now: float) -> None:
        for derived in self:
            derived.stop_idle(now)

    def stop(self) -> None:
        """The stream is over."""
        for derived in self:
            derived.stop()


def in_order(
    kept: Iterable[Frame], derived: Iterable[DerivedTrack], since: int | None = None
) -> Iterator[Frame]:
    """What a feed or segments begin with: what is kept of the stream, and what was made of it; sound from `since` on."""
    made = (
        [f for f in d.frames if since is None or f.dts >= since or d.track.kind is Kind.VIDEO]
        for d in derived
    )
    return merge(kept, *made, key=lambda frame: frame.dts)
