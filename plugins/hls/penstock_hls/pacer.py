"""Frames that come a segment at a time, held until they are due, and written to a publisher then."""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Callable, Hashable, Sequence
from functools import partial

import anyio
from attrs import define, field

from penstock import NS, Codec, CodecConfig, Publisher, Session, Stream, Track

MAX_BYTES = 32 << 20
"""Of frames that wait: five seconds at 50 Mbit/s. Whoever brings more waits, and TCP with it."""
FRAME_COST = 300
"""What a frame takes beside its payload."""
LATE = NS // 2
"""Where frames are later than this, so is what follows: all of it is played from now on."""
EARLY = 2_000_000
"""What is due so soon is written with what is due now."""
JUMP = 10 * NS
"""A frame that is further than this from the others is on another clock, which is not waited for."""
SPAN = NS // 2
"""How much of a new timeline is looked at before its first frame is known: sound and picture need not come in order."""
GRID = 10_000_000
"""Timelines are moved by whole multiples of so many ns: exact on 90 kHz and on every usual sample rate."""
FIRST_SECONDS = 5.0
"""How long the first frame waits for the first of every other playlist."""
HURRY = 200
"""Where we have fallen behind, frames come faster by one part in so many until we have not."""
MAX_TIMELINES = 8
"""Those that playlists may be in at a time."""
BEFORE = -(1 << 80)
"""Earlier than every frame."""


@define(eq=False)
class _Held:
    """A track as an ingest knows it; `id` is the publisher's, once it is declared there. Times are on the output's clock."""

    period: Hashable
    codec: Codec
    last: int
    id: int | None = None


@define(eq=False)
class _Step:
    """Something to be done at `time` of its own timeline, or right after what was before it; `act` takes the offset."""

    input: Input
    held: _Held
    time: int | None
    size: int
    act: Callable[[int], None]


@define(eq=False)
class _Timeline:
    """What has one clock: how far it is moved, None until its first frame is known, and what waits for that."""

    offset: int | None
    waiting: list[_Step] = field(factory=list[_Step])
    size: int = 0
    low: int | None = None
    high: int = 0

    def add(self, step: _Step) -> None:
        self.waiting.append(step)
        self.size += step.size
        if step.time is not None:
            self.low, self.high = (
                (step.time, step.time)
                if self.low is None
                else (min(self.low, step.time), max(self.high, step.time))
            )

    @property
    def is_known(self) -> bool:
        """Enough of it is there to tell where it begins."""
        return self.low is not None and (self.high - self.low >= SPAN or self.size > MAX_BYTES // 8)


class Pacer:
    """The frames of one source's playlists in the order of their decoding times."""

    def __init__(self, publish: Callable[[Session], Publisher], session: Session) -> None:
        self.session = session
        self.hurry = False
        self._publish = publish
        self._publisher: Publisher | None = None
        self._inputs: list[Input] = []
        self._timelines: dict[Hashable, _Timeline] = {}
        self._heap: list[tuple[int, int, _Step, int]] = []
        self._count = itertools.count()
        self._bytes = 0
        self._high = BEFORE
        """The end of all frames so far."""
        self._clock: tuple[int, int] | None = None
        """A time of the output, and when it was due."""
        self._last = BEFORE
        self._ended = False
        self._begun = anyio.Event()
        self._complete = anyio.Event()
        self._news = anyio.Event()
        self._drained = anyio.Event()

    @property
    def publisher(self) -> Publisher:
        """The stream's, from the first call on."""
        if self._publisher is None:
            self._publisher = self._publish(self.session)
        return self._publisher

    def input(self, language: str | None = None) -> Input:
        """One playlist's way in; all are made before the first frame."""
        made = Input(self, language)
        self._inputs.append(made)
        return made

    def end(self) -> None:
        """Nothing more comes: `run` returns once all has been written."""
        for timeline in self._timelines.values():
            self._settle(timeline)
        self._ended = True
        for event in (self._begun, self._complete, self._news):
            event.set()

    async def room(self) -> None:
        """Wait until no more than `MAX_BYTES` are held."""
        while self._bytes > MAX_BYTES:
            self._complete.set()
            self._drained = anyio.Event()
            await self._drained.wait()

    def position(self) -> int | None:
        """Where the output is, None before it begins."""
        if self._clock is None:
            return None
        media, wall = self._clock
        return media + time.monotonic_ns() - wall

    async def run(self) -> None:
        """Write what is due until `end`. Raises what the publisher does."""
        await self._begun.wait()
        with anyio.move_on_after(FIRST_SECONDS):
            await self._complete.wait()
        while self._heap or not self._ended:
            self._news = anyio.Event()
            wait = self._write_due()
            if self._publisher is not None:
                await self._publisher.flush()
            if wait is None and not self._ended:
                await self._news.wait()
            elif wait:
                with anyio.move_on_after(wait / NS):
                    await self._news.wait()

    def _write_due(self) -> int | None:
        """Do what is due; ns until the next, None where there is none."""
        while self._heap:
            key = self._heap[0][0]
            wait = self._wait(key)
            if wait > EARLY:
                return wait
            _, _, step, offset = heapq.heappop(self._heap)
            self._last = max(self._last, key)
            self._bytes -= step.size
            if self._bytes <= MAX_BYTES:
                self._drained.set()
            step.act(offset)
        return None

    def _wait(self, key: int) -> int:
        """Ns until `key` is due; the clock is set where it is not right for what comes."""
        if key == BEFORE:
            return 0
        now = time.monotonic_ns()
        if self._clock is None:
            self._clock = key, now
            return 0
        media, wall = self._clock
        if self.hurry:
            media += (now - wall) // HURRY
        media, wall = self._clock = media + now - wall, now
        wait = key - media
        leads = key >= self._last
        if (wait > JUMP and key - self._last > JUMP) or (wait < -LATE and (leads or wait > -JUMP)):
            self._clock = key, now
            return 0
        return wait

    # -- what inputs do -----------------------------------------------------

    def hold(self, step: _Step) -> None:
        """Keep a step until its time."""
        period = step.held.period
        timeline = self._timelines.get(period)
        if timeline is None:
            timeline = self._timelines[period] = _Timeline(None if self._timelines else 0)
            if len(self._timelines) > MAX_TIMELINES:
                self._timelines.pop(next(iter(self._timelines)))
        self._bytes += step.size
        if timeline.offset is not None:
            self._place(step, timeline.offset)
            return
        timeline.add(step)
        if timeline.is_known:
            self._settle(timeline)

    def settle(self, period: Hashable) -> None:
        """The end of a segment: where nothing of a timeline was before, it begins with what there is."""
        timeline = self._timelines.get(period)
        if timeline is not None:
            self._settle(timeline)

    def _settle(self, timeline: _Timeline) -> None:
        if timeline.offset is not None or timeline.low is None:
            return
        # It goes on where the one before it ended, and readers are told that it is another.
        timeline.offset = -((timeline.low - self._high) // GRID) * GRID
        first = timeline.waiting[0]
        seam = _Step(first.input, first.held, None, 0, lambda _: self.publisher.stream.new_epoch())
        begins = timeline.low + timeline.offset
        self._push(begins, seam, 0)
        for step in timeline.waiting:
            step.held.last = max(step.held.last, begins)
            self._place(step, timeline.offset)
        timeline.waiting.clear()

    def _place(self, step: _Step, offset: int) -> None:
        held = step.held
        if step.time is not None:
            interval = max(0, step.time + offset - held.last) if held.last != BEFORE else 0
            held.last = max(held.last, step.time + offset)
            step.input.high = max(step.input.high, held.last)
            if interval < NS:
                self._high = max(self._high, held.last + interval)
            self._begin(step.input)
        self._push(held.last, step, offset)

    def _push(self, key: int, step: _Step, offset: int) -> None:
        first = not self._heap or key < self._heap[0][0]
        heapq.heappush(self._heap, (key, next(self._count), step, offset))
        if first:
            self._news.set()

    def check_complete(self) -> None:
        """The stream is ready once every playlist has declared its tracks."""
        if all(each.complete for each in self._inputs):
            self.publisher.tracks_complete([i for each in self._inputs for i in each.order])

    def _begin(self, input: Input) -> None:
        if not input.begun:
            input.begun = True
            input.low = input.high
            self._begun.set()
            if all(each.begun for each in self._inputs):
                self._complete.set()


class Input:
    """One playlist's tracks and frames, as its ingest writes them; see `penstock.publisher.TrackWriter`."""

    def __init__(self, pacer: Pacer, language: str | None) -> None:
        self.dropped = 0
        self.frames = 0
        self.begun = False
        self.complete = False
        self.low = self.high = BEFORE
        self._pacer = pacer
        self._language = language
        self._period: Hashable = None
        self._held: dict[int, _Held] = {}
        self._declared: set[int] = set()
        self._taken: set[int] = set()
        self._taken_in: Hashable = None
        self._ids = itertools.count(1)
        self._ordered: list[_Held] = []

    @property
    def stream(self) -> Stream:
        return self._pacer.publisher.stream

    @property
    def session(self) -> Session:
        return self._pacer.session

    @property
    def order(self) -> list[int]:
        """The tracks as the source lists them, so far as they have been declared."""
        return [held.id for held in self._ordered if held.id is not None]

    @property
    def ahead(self) -> float:
        """Seconds of frames that wait."""
        position = self._pacer.position()
        return (self.high - (self.low if position is None else position)) / NS if self.begun else 0.0

    def begin(self, period: Hashable) -> None:
        """What is written next is of that timeline, by an ingest of its own."""
        self._period = period
        self._held = {}

    def end_segment(self) -> None:
        """All of a segment has been written."""
        self._pacer.settle(self._period)

    def add_track(
        self,
        codec: Codec,
        clock_rate: int,
        config: CodecConfig | None = None,
        *,
        group: str | None = None,
        language: str | None = None,
    ) -> Track:
        number = next(self._ids)
        held = self._held[number] = _Held(self._period, codec, self.high)
        track = Track(number, codec, clock_rate, config, group, self._language or language)
        self._hold(held, partial(self._declare, held, track))
        return track

    def _declare(self, held: _Held, track: Track, _: int) -> None:
        """Declare a track, or go on with one that was declared in an earlier period."""
        publisher = self._pacer.publisher
        if held.period != self._taken_in:
            self._taken_in = held.period
            self._taken.clear()
        for other in publisher.stream.tracks:
            if other.id not in self._declared - self._taken:
                continue
            if (other.codec, other.clock_rate) == (track.codec, track.clock_rate):
                held.id = other.id
                if track.config is not None:
                    publisher.configure(other.id, track.config)
                break
        else:
            held.id = publisher.add_track(
                track.codec, track.clock_rate, track.config, group=track.group, language=track.language
            ).id
            self._declared.add(held.id)
        self._taken.add(held.id)

    def configure(self, track_id: int, config: CodecConfig) -> None:
        held = self._held[track_id]
        self._hold(held, partial(self._configure, held, config))

    def _configure(self, held: _Held, config: CodecConfig, _: int) -> None:
        if held.id is not None:
            self._pacer.publisher.configure(held.id, config)

    def tracks_complete(self, order: Sequence[int] = ()) -> None:
        self._ordered = [self._held[number] for number in order]
        self.complete = not self._held
        if self._held:
            # After the last that was declared.
            self._hold(next(reversed(self._held.values())), self._completed)

    def _completed(self, _: int) -> None:
        self.complete = True
        self._pacer.check_complete()

    def write(
        self,
        track_id: int,
        units: tuple[bytes, ...],
        *,
        pts: int,
        dts: int | None = None,
        key: bool = True,
        duration: int | None = None,
    ) -> None:
        held = self._held[track_id]
        self.frames += 1

        def act(offset: int) -> None:
            if held.id is not None:
                moved = None if dts is None else dts + offset
                self._pacer.publisher.write(
                    held.id, units, pts=pts + offset, dts=moved, key=key, duration=duration
                )

        size = sum(map(len, units)) + FRAME_COST
        self._pacer.hold(_Step(self, held, pts if dts is None else dts, size, act))

    def _hold(self, held: _Held, act: Callable[[int], None]) -> None:
        self._pacer.hold(_Step(self, held, None, FRAME_COST, act))
