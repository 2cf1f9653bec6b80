"""The publishing side of a stream: tracks declared, frames written, times put on the stream's own clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, Self

import anyio
import structlog

from penstock.clock import STEP_NS, DecodingTimes, FrameInterval, SampleGrid
from penstock.errors import Closed
from penstock.media import NS, Codec, CodecConfig, Frame, Kind, Track
from penstock.registry import INFO, CodecInfo, VideoInfo

if TYPE_CHECKING:
    from penstock.session import Session
    from penstock.stream import Stream

MAX_TRACKS = 32
"""Tracks of one publisher."""

JUMP_NS = 10 * NS
"""A step forward in a track's times beyond this, or back beyond `BACK_NS`, is a new epoch and not a gap."""
BACK_NS = NS


class _Input:
    """What is kept of one track while its frames come in."""

    __slots__ = ("dts", "grid", "info", "interval", "jump", "kind", "last", "offset", "placed", "track")

    def __init__(self, track: Track) -> None:
        self.track = track
        self.kind = track.kind
        self.info: CodecInfo | None = None
        self.last: int | None = None
        """The dts of its last frame; `placed` is where that would have been if times need not go up."""
        self.placed = 0
        self.offset: int | None = None
        self.jump = 0
        """The last of the source's jumps that it took part in."""
        self.dts: DecodingTimes | None = None
        self.grid = SampleGrid(track.clock_rate) if self.kind is Kind.AUDIO else None
        self.interval = FrameInterval()


class TrackWriter(Protocol):
    """What a container's ingest writes to: a `Publisher`, or what holds frames back until they are due."""

    dropped: int
    """Frames that could not be used."""

    @property
    def stream(self) -> Stream: ...

    @property
    def session(self) -> Session: ...

    def add_track(
        self,
        codec: Codec,
        clock_rate: int,
        config: CodecConfig | None = None,
        *,
        group: str | None = None,
        language: str | None = None,
    ) -> Track: ...

    def configure(self, track_id: int, config: CodecConfig) -> None: ...

    def tracks_complete(self, order: Sequence[int] = ()) -> None: ...

    def write(
        self,
        track_id: int,
        units: tuple[bytes, ...],
        *,
        pts: int,
        dts: int | None = None,
        key: bool = True,
        duration: int | None = None,
    ) -> None: ...


class Publisher:
    """One session that feeds a stream. Times given to `write` are ns on the source's own clock.

    They are moved by whole seconds to the stream's clock, so that any wire clock's ticks stay exact. Used in a
    ``with`` statement it is closed at the end. After the frames of each read from the peer, call `flush`.
    """

    def __init__(self, stream: Stream, session: Session) -> None:
        self.stream = stream
        self.session = session
        self.since = time.monotonic()
        self.last_arrival = time.monotonic_ns()
        self.on_key_frame_request: Callable[[Track], None] | None = None
        """Set where the session can ask its peer for a key frame."""
        self.on_bitrate_hint: Callable[[Track, int], None] | None = None
        self.dropped = 0
        """Frames that could not be used, such as those before their track's config."""
        self.awaited = 0
        """How many wait for its first frames, which are read as they come meanwhile."""
        self._first = anyio.Event()
        """Set with the first frame of a track, and at the end; then there is another."""
        self._inputs: dict[int, _Input] = {}
        self._offset: int | None = None
        self._old_offset: int | None = None
        self._jump = 0
        self._jumped_at = 0
        # A track that goes on from the publisher before it does not go back behind what was sent of it.
        self._floor = stream.last_time if stream.has_frames else 0
        self._complete = False
        self._closed = False

    def add_track(
        self,
        codec: Codec,
        clock_rate: int,
        config: CodecConfig | None = None,
        *,
        group: str | None = None,
        language: str | None = None,
    ) -> Track:
        """Declare a track; its `id` is what `write` takes. Raises `Closed` after the end."""
        self._check()
        if len(self._inputs) >= MAX_TRACKS:
            raise Closed(f"more than {MAX_TRACKS} tracks")
        track = self.stream.add_track(codec, clock_rate, config, group, language, taken=set(self._inputs))
        self._inputs[track.id] = _Input(track)
        self._configured(self._inputs[track.id])
        self.stream.check_ready(self)
        return track

    def configure(self, track_id: int, config: CodecConfig) -> None:
        """The config of the track's next frames."""
        entry = self._inputs[track_id]
        if entry.track.config == config:
            return
        entry.track = entry.track.with_config(config)
        self._configured(entry)
        self.stream.change_track(entry.track)

    def _configured(self, entry: _Input) -> None:
        config = entry.track.config
        entry.info = info = self.stream.registry.get(entry.track.codec, INFO)
        if config is None or info is None:
            return
        if entry.track.kind is Kind.VIDEO:
            depth = info.reorder(config)
            if entry.dts is None:
                entry.dts = DecodingTimes(depth)
            else:
                entry.dts.declare(depth)
            described = info.describe(config)
            if isinstance(described, VideoInfo) and described.frame_rate and described.frame_rate > 0:
                # A config may claim any rate: what is expected stays between 1 ms and 1 s.
                entry.interval.value = int(min(NS, max(NS / 1000, NS / described.frame_rate)))

    def tracks_complete(self, order: Sequence[int] = ()) -> None:
        """Every track has been declared: the stream is ready once each has its config.

        `order` has ids as the source lists them, where they were declared as their configs came: the first sound is
        what players begin with.
        """
        self.stream.order_tracks(order)
        self._complete = True
        self.stream.check_ready(self)

    @property
    def track_ids(self) -> set[int]:
        return set(self._inputs)

    def has_begun(self, track_ids: Iterable[int]) -> bool:
        """Whether each of its tracks among these has had a frame."""
        return all(entry.last is not None for i in track_ids if (entry := self._inputs.get(i)) is not None)

    async def begun(self, track_ids: Iterable[int]) -> None:
        """Wait until each of its tracks among these has had a frame, or it has left."""
        ids = tuple(track_ids)
        self.awaited += 1
        self.stream.nap.wake()
        try:
            while not self._closed and not self.has_begun(ids):
                await self._first.wait()
        finally:
            self.awaited -= 1

    def _begins(self) -> None:
        self._first.set()
        self._first = anyio.Event()

    @property
    def complete(self) -> bool:
        return self._complete

    def write(
        self,
        track_id: int,
        units: tuple[bytes, ...],
        *,
        pts: int,
        dts: int | None = None,
        key: bool = True,
        duration: int | None = None,
        arrival: int | None = None,
    ) -> None:
        """Take one frame in its codec's normal form. Without `dts` it is derived from the codec's reordering."""
        if self._closed:
            raise Closed("the publisher was closed")
        entry = self._inputs[track_id]
        self.last_arrival = arrival = arrival or time.monotonic_ns()
        track = entry.track
        if track.config is None or not units:
            self.dropped += 1
            return
        kind, last = entry.kind, entry.last
        # Placed first, so that decoding times are made on the stream's clock, which has no jumps.
        source = pts if dts is None else dts
        offset = self._offset
        if (
            offset is None
            or last is None
            or offset != entry.offset
            or entry.jump != self._jump
            or not entry.placed <= last
            or not 0 <= source + offset - entry.placed <= JUMP_NS
        ):
            offset = self._place(entry, source, arrival)
        entry.placed = offset + source
        pts += offset
        if dts is not None:
            dts += offset
        elif entry.dts is not None and kind is Kind.VIDEO:
            dts = entry.dts.dts(pts, entry.interval.value)
        else:
            dts = pts
        if entry.grid is not None and entry.info is not None:
            samples = entry.info.samples(units, track.config)
            if samples:
                pts = dts = entry.grid.snap(pts, samples)
                duration = duration or samples * NS // track.clock_rate
        if last is None:
            last = self._floor
            self._begins()
        if dts <= last and kind is not Kind.DATA:
            dts = last + STEP_NS
        if pts < dts:
            pts = dts
        entry.last = dts
        if kind is Kind.VIDEO:
            entry.interval.add(dts)
            self.stream.frame_interval = entry.interval.value
        self.stream.emit(Frame(track, pts, dts, units, key, duration, arrival))

    def _place(self, entry: _Input, time: int, arrival: int) -> int:
        """What to add to the source's times: whole seconds, anew where the source's clock jumped.

        Tracks jump one after the other, or stay on clocks of their own: one offset after the other is tried. One that
        has yet to jump may send its last frames from before; one that has jumped follows where the others are put.
        """
        if self._offset is None:
            self._offset = entry.offset = self.stream.start_offset(time, arrival)
            return entry.offset
        jumped = entry.jump == self._jump
        first, second = (self._offset, entry.offset) if jumped else (entry.offset, self._offset)
        for offset in (first, second, self._old_offset):
            if offset is not None and self._fits(entry, time + offset, BACK_NS if jumped else BACK_NS // 2):
                break
        else:
            if entry.track.kind is Kind.DATA:
                # Data may come without a time worth the name (RTMP: 0): it belongs where the stream is.
                return -((time - self.stream.last_time) // NS) * NS
            if entry.offset is None:
                # A track that comes late on a clock of its own is no jump of the others.
                entry.offset = self.stream.start_offset(time, arrival)
                return entry.offset
            offset = self._start_anew(entry, time, arrival)
        if entry.offset is not None and offset != entry.offset and entry.dts is not None:
            entry.dts = DecodingTimes(entry.dts.depth)
        entry.offset = offset
        if offset == self._offset:
            entry.jump = self._jump
        return offset

    def _fits(self, entry: _Input, time: int, back: int) -> bool:
        """Whether a track can be expected to be at `time` of the stream, or `back` before."""
        last = entry.last
        if last is None:
            return abs(time - self.stream.last_time) <= JUMP_NS
        step = time - min(last, entry.placed)
        if step < -back or time < last - JUMP_NS:
            return False
        # One that was silent for longer goes on where the others are.
        return step <= JUMP_NS or abs(time - self.stream.last_time) <= JUMP_NS

    def _start_anew(self, entry: _Input, time: int, arrival: int) -> int:
        """The source's clock jumped, as this track shows, or showed in another track before: one epoch for all of them."""
        stream = self.stream
        if entry.jump == self._jump or stream.last_time - self._jumped_at > JUMP_NS:
            self._jump += 1
            self._jumped_at = stream.last_time
            stream.new_epoch()
        self._old_offset = self._offset
        self._offset = stream.start_offset(time, arrival)
        return self._offset

    def flush(self, *, rest: bool = False, idle: bool = False) -> Coroutine[Any, Any, bool]:
        """Let the readers have what is due. With `rest` the caller's socket may wait while a window gathers:
        the task then sleeps here instead of waking for each frame. Returns whether it slept.

        With `idle` it may also sleep where there are no readers: not for carriers whose times are placed by when frames came.
        """
        return self.stream.flush(rest=rest, idle=idle)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close(self.session.reason or "the publisher left")

    def _check(self) -> None:
        if self._closed:
            raise Closed("the publisher was closed")

    @property
    def closed(self) -> bool:
        return self._closed

    def close(self, reason: str = "the publisher left") -> None:
        """No more frames: the stream waits a while for a new publisher if it has readers, and then ends."""
        if not self._closed:
            self._closed = True
            self._begins()
            self.session.count("dropped_frames", self.dropped)
            self.stream.publisher_left(self, reason)


async def flush_all(publishers: Iterable[Publisher]) -> None:
    """Let the readers of each have what is due, as what was read at a socket that many share is done with.

    An exception of one ends its session, and not who serves them all.
    """
    for publisher in publishers:
        try:
            await publisher.flush()
        except Exception:  # noqa: BLE001 - one session's bug must not end the port of all
            structlog.get_logger("penstock").exception("flush failed", session=publisher.session.id)
            publisher.session.kick("internal error")
