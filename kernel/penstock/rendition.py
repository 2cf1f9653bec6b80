"""One rendition of a stream in segments: its frames cut into parts and segments, those kept, and who waits for more."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from penstock.clock import FrameInterval
from penstock.media import NS, Frame, Kind, Track
from penstock.segment import Init, Segment, SegmentWriter
from penstock.waiters import Waiters

if TYPE_CHECKING:
    from penstock.segments import SegmentStore

MAX_HELD = 1024
"""Frames of a track with a new config that wait for the next key frame of the video beside it."""
PART_TARGETS = 3
"""For so many target durations parts are served on their own (RFC 8216bis 6.2.2 lists them for as long)."""
PART_LEAST = 0.85
"""RFC 8216bis 4.4.3.7: but for a segment's last, parts last at least this share of what is announced."""
LONGEST_STEP = 10 * NS
"""Two frames that are further apart say nothing of how far frames are apart: cameras that watch send one each few seconds."""
SLACK_NS = NS // 4
"""More than any carrier's clock is off, and less than a segment lasts."""
NEVER = (1 << 62, 0)
"""A position that no rendition reaches."""


@frozen
class Cut:
    """Where a segment begins in every rendition: number, and time (pts) and dts in ns. `zero` is the wall time of the stream's
    time 0 by then, the same for all.
    """

    number: int
    time: int
    dts: int
    zero: int
    discontinuity: bool


class Rendition:
    """Tracks that are written together. `lead` is the track that decides where its parts and segments are cut.

    `segments` are all that are kept, oldest first, the last of them open while the stream goes on; `listed` are those
    of them that a playlist should name. `version` changes with each part, segment and end.
    """

    def __init__(
        self, store: SegmentStore, name: str, tracks: Sequence[Track], writer: SegmentWriter
    ) -> None:
        self.store = store
        self.name = name
        self.tracks: tuple[Track, ...] = ()
        self.lead: int = 0
        self.kind = Kind.AUDIO
        self.segments: deque[Segment] = deque()
        self.listed_from = 0
        """The number of the first segment that is listed."""
        self.discontinuity_sequence = 0
        self.version = 0
        self.ended = False
        self.peak = 0
        """Bits per second of the segment that has most."""
        self.completed = 0
        """How many segments it has had that were complete."""
        self.writer = writer
        self._next_writer: SegmentWriter | None = None
        self._init: Init | None = None
        self._steps = FrameInterval(most=LONGEST_STEP)
        self._pending: list[Frame] = []
        self._part_start: int | None = None
        self._last: Frame | None = None
        self._cuts: deque[Cut] = deque()
        self._held: list[Frame] = []
        self._waiters = Waiters()
        self._starters = Waiters()
        self.carry(tracks)

    # -- what carriers ask -------------------------------------------------

    @property
    def open(self) -> Segment | None:
        """The segment that is being written."""
        return self.segments[-1] if self.segments and not self.segments[-1].complete else None

    @property
    def begun(self) -> bool:
        """Whether the segment that is being written has frames, even if they do not make a part yet."""
        segment = self.open
        return segment is not None and bool(segment.parts or self._pending)

    @property
    def last(self) -> Segment | None:
        """The newest segment, open or complete."""
        return self.segments[-1] if self.segments else None

    @property
    def listed(self) -> Iterator[Segment]:
        """Segments within the window, oldest first, and the open one."""
        first = self.segments[0].number if self.segments else 0
        return islice(self.segments, max(0, self.listed_from - first), None)

    @property
    def position(self) -> tuple[int, int]:
        """The number of the segment that is being written or comes next, and how many parts of it are there."""
        last = self.last
        if last is None:
            return (0, 0)
        return (last.number + 1, 0) if last.complete else (last.number, len(last.parts))

    @property
    def frame_interval(self) -> int:
        """The usual distance of its lead's frames, in ns."""
        return self._steps.value

    @property
    def slack(self) -> int:
        """By how many ns a time may be off that means the beginning of one of its segments."""
        return min(self._steps.value, SLACK_NS)

    @property
    def init(self) -> Init | None:
        """What the newest segment refers to."""
        return self._init

    @property
    def hurried(self) -> bool:
        """Whether anybody waits for a part, or for the first of all."""
        return bool(len(self._starters)) or any(part for _, part in self._waiters.positions)

    @property
    def waiting(self) -> int:
        return len(self._waiters) + len(self._starters)

    def get(self, number: int) -> Segment | None:
        """The segment of a number, where it is kept."""
        if not self.segments:
            return None
        index = number - self.segments[0].number
        return self.segments[index] if 0 <= index < len(self.segments) else None

    def init_of(self, number: int) -> Init | None:
        """The init segment of a number, where some segment refers to it."""
        return next((s.init for s in reversed(self.segments) if s.init.number == number), None)

    def missing(self, number: int, part: int | None = None) -> tuple[int, int] | None:
        """The position to wait for until a segment is complete, or `part` of it is there (or the next segment's first,
        where it has fewer); None where there is nothing to wait for: it is there, or the stream ended.

        What was there once and is no longer kept counts as there.
        """
        wanted = self._wanted(number, part)
        return None if self.ended or self.position >= wanted else wanted

    def _wanted(self, number: int, part: int | None) -> tuple[int, int]:
        segment = self.get(number)
        if part is not None and segment is not None and segment.complete and part >= len(segment.parts):
            number, part = number + 1, 0
        return (number + 1, 0) if part is None else (number, part + 1)

    async def wait(self, number: int, part: int | None = None) -> bool:
        """Until there is nothing `missing`. False where the stream ended before it was there."""
        while (missing := self.missing(number, part)) is not None:
            await self.reached(missing)
        return self.position >= self._wanted(number, part)

    async def reached(self, position: tuple[int, int]) -> None:
        """Until `position` is reached, or the stream ends."""
        await self._waiters.wait(position)

    def when(self, position: tuple[int, int], call: Callable[[], None]) -> Callable[[], None]:
        """Have `call` called, once, when `position` is reached or the stream ends; what is returned takes that back.

        It is called in the publisher's step, as one of thousands: it only notes that it was.
        """
        return self._waiters.when(position, call)

    async def wait_ready(self, segments: int = 1) -> bool:
        """Until so many segments were complete, or, for 0, a playlist has a part to name.

        The first part alone will do only where it is known how long segments are going to be. At the end of the stream one
        segment is enough; False where there is none.
        """
        while not self.is_ready(segments):
            if self.ended:
                return False
            await self._starters.wait(_readiness(segments))
        return True

    def is_ready(self, segments: int = 1) -> bool:
        """Whether `wait_ready` has nothing to wait for, and finds it."""
        return self._readiness >= _readiness(segments) or (self.ended and self.completed > 0)

    @property
    def _readiness(self) -> tuple[int, int]:
        """How many segments were complete, and whether a part may be named."""
        last = self.last
        return self.completed, int(last is not None and bool(last.parts) and self.store.knows_target)

    # -- what the store does -----------------------------------------------

    def carry(self, tracks: Sequence[Track]) -> None:
        """These are its tracks from now on."""
        self.tracks = tuple(tracks)
        lead: Track = next((t for t in tracks if t.kind is Kind.VIDEO), tracks[0])
        self.kind = lead.kind
        if lead.id != self.lead:
            self.lead = lead.id
            self._steps = FrameInterval(
                self.store.stream.frame_interval if lead.kind is Kind.VIDEO else NS // 47, LONGEST_STEP
            )

    def renew(self, writer: SegmentWriter) -> None:
        """The next segment is written by another writer."""
        self._next_writer = writer

    def hold(self, frame: Frame) -> None:
        """A frame that its writer cannot take: it opens the next segment, if that comes in time."""
        if len(self._held) < MAX_HELD:
            self._held.append(frame)

    def schedule(self, cut: Cut) -> None:
        """The lead of the store begins a segment: this rendition does at its first frame from that time on."""
        while self._cuts and self.kind is not Kind.VIDEO:
            # It had nothing to begin the one before with: numbers stay those of the others.
            late = self._cuts.popleft()
            self._begin(late, late.time, late.dts)
        self._cuts.append(cut)
        if self._next_writer is not None:
            # Nothing more can be written as before.
            held = self._held
            self._begin(self._cuts.popleft(), *((held[0].pts, held[0].dts) if held else (cut.time, cut.dts)))
        self._take_held()

    def begin(self, cut: Cut, frame: Frame) -> None:
        """A segment begins with `frame`, which is to be pushed next."""
        self._begin(cut, frame.pts, frame.dts)
        self._take_held()

    def _take_held(self) -> None:
        held, self._held = self._held, []
        for frame in held:
            self.push(frame)

    def _begin(self, cut: Cut, time: int, dts: int) -> None:
        self.close(dts)
        if self._next_writer is not None:
            self.writer, self._next_writer, self._init = self._next_writer, None, None
        number = self.segments[-1].number + 1 if self.segments else cut.number
        if self._init is None:
            self._init = Init(number, self.writer.init, self.writer.tracks)
        self.segments.append(
            Segment(
                number,
                self._init,
                time=time,
                dts=dts,
                wall=cut.zero + time if cut.zero else 0,
                discontinuity=cut.discontinuity,
                independent=True,
            )
        )
        if len(self.segments) == 1:
            self.listed_from = number

    def push(self, frame: Frame) -> None:
        leads = frame.track.id == self.lead
        if self._cuts and leads and self._may_begin(frame):
            cut = self._cuts.popleft()
            discontinuity = cut.discontinuity
            while self._cuts and self._may_begin(frame):
                discontinuity |= self._cuts[0].discontinuity
                cut = self._cuts.popleft()
            self.begin(evolve(cut, discontinuity=discontinuity), frame)
        segment = self.open
        if segment is None:
            return
        if leads:
            self._steps.add(frame.dts)
            self._make_room(frame)
        if not segment.parts and not self._pending:
            segment.independent = frame.key or not leads
        elif leads and self.kind is Kind.VIDEO and frame.pts < segment.time:
            # Shown before the key frame that it comes after: of an open group, it refers to pictures of the segment before.
            segment.independent = False
        self._pending.append(frame)
        if not leads:
            return
        self._last = frame
        if self._part_start is None:
            self._part_start = frame.dts
        step = frame.duration or self._steps.value
        length = frame.dts + step - self._part_start
        limit = self.store.part_limit(length)
        # A part ends before the frame that would make it too long, without waiting for that, where it is known when that comes.
        if (frame.duration or self._steps.even) and length + step > limit and length >= limit * PART_LEAST:
            self._flush(frame.dts + step, {})

    def _make_room(self, frame: Frame) -> None:
        """End the part that is pending, where `frame` came too late for it, or would make it too long and it is long enough."""
        start, last = self._part_start, self._last
        if start is None or last is None:
            return
        length, limit = frame.dts - start, self.store.part_limit(frame.dts - start)
        full = length + self._steps.value > limit and length >= limit * PART_LEAST
        if length > limit or full:
            self._flush(frame.dts, {} if last.duration else {self.lead: frame.dts})

    def _may_begin(self, frame: Frame) -> bool:
        early = self._steps.value // 2
        return frame.pts + early >= self._cuts[0].time and (frame.key or self.kind is not Kind.VIDEO)

    def _flush(self, end: int, ends: dict[int, int]) -> None:
        """A part of what is pending, up to the dts `end`."""
        segment, frames = self.segments[-1], self._pending
        self._pending = []
        start = self._part_start if self._part_start is not None else segment.end
        self._part_start = None
        head = b"" if segment.parts else self.writer.start(segment)
        data = head + self.writer.write(frames, ends)
        key = any(frame.key for frame in frames if frame.track.id == self.lead)
        segment.add(data, start, self.store.part_duration(max(0, end - start)), key)
        self.store.wrote(self, segment.parts[-1])
        self.version += 1
        self._waiters.release(self.position)
        self._starters.release(self._readiness)

    def close(self, end: int | None = None) -> None:
        """The open segment is complete; it ends at the dts `end` where that is known."""
        segment = self.open
        if segment is None:
            return
        last = self._last
        if end is not None:
            known = {self.lead: end}
        else:
            known = {}
            end = segment.end
            if last is not None and last.dts >= segment.dts:
                end = max(end, last.dts + (last.duration or self._steps.value))
        if self._pending:
            self._flush(end, known)
        segment.close(end)
        if segment.duration >= NS // 10:
            self.peak = max(self.peak, segment.size * 8 * NS // segment.duration)
        self.version += 1
        self.completed += 1
        self.store.completed(self, segment)
        self._waiters.release(self.position)
        self._starters.release(self._readiness)

    def interrupt(self) -> None:
        """What follows does not continue what was: the open segment is complete, and nothing begins before the next cut."""
        self.close()
        self._cuts.clear()
        self._held.clear()

    def end(self) -> None:
        """Nothing more comes: the open segment is complete, and nobody waits any longer."""
        self.interrupt()
        self.ended = True
        self.version += 1
        self._waiters.release(NEVER)
        self._starters.release(NEVER)

    # -- what is kept --------------------------------------------------------

    def expire(self, window: int, kept: int, count: int) -> int:
        """List the last `window` ns, and keep what ended `kept` ns and its own length ago; returns how many bytes went."""
        complete = [s for s in self.listed if s.complete]
        total = sum(s.duration for s in complete)
        for left, segment in zip(range(len(complete), 0, -1), complete, strict=True):
            if total - segment.duration < window and left <= count:
                break
            total -= segment.duration
            self._unlist(segment)
        newest = self.segments[-1].end if self.segments else 0
        freed = 0
        while len(self.segments) > 1:
            oldest = self.segments[0]
            if oldest.number >= self.listed_from or (
                newest - oldest.end <= kept + oldest.duration and len(self.segments) <= 2 * count
            ):
                break
            freed += self.drop()
        return freed

    def shed(self, age: int) -> None:
        """Keep parts that ended `age` ns before the newest in their segments only."""
        newest = self.segments[-1].end if self.segments else 0
        for segment in reversed(self.segments):
            if segment.complete and newest - segment.end >= age:
                if not segment.parts or not segment.parts[0].held:
                    break
                for part in segment.parts:
                    part.shed()

    def drop(self) -> int:
        """Let go of the oldest segment; returns its bytes."""
        segment = self.segments.popleft()
        if segment.number >= self.listed_from:
            self._unlist(segment)
        return segment.size

    def _unlist(self, segment: Segment) -> None:
        self.listed_from = segment.number + 1
        self.discontinuity_sequence += segment.discontinuity
        self.version += 1


def _readiness(segments: int) -> tuple[int, int]:
    """What `Rendition._readiness` has to be for so many."""
    return (segments, 0) if segments else (0, 1)
