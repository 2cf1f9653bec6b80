"""A stream in segments: one bounded store for each format, shared by everybody who asks for that."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING

import anyio
import structlog

from penstock.errors import NotFound, ProtocolViolation
from penstock.media import NS, Epoch, Event, Frame, Kind, Track, TrackRemoved
from penstock.rendition import LONGEST_STEP, PART_LEAST, PART_TARGETS, Cut, Rendition
from penstock.segment import Part, Segment, SegmentBounds, SegmentFormat, SegmentWriter

if TYPE_CHECKING:
    from penstock.stream import Stream

MAX_SEGMENT_NS = 60 * NS
"""A group of pictures longer than that is cut in its middle: decoders go on, and what is kept stays bounded."""
OPEN_SHARE = 4
"""And one that would fill this part of a store's bytes."""
PART_ROOM = 20
"""Parts may be longer than the aim by one part in so many: times of carriers with coarse clocks are uneven."""
OTHERS_SECONDS = 1.0
"""How long renditions beside the lead are waited for: sound that is late, or never comes."""
LISTED_TARGETS = 6
"""So many target durations are listed at least: six segments, as Apple's authoring specification has it (8.11). RFC 8216bis
6.2.2 asks for three, from which players begin: in the others, who falls behind finds what he missed."""
RARE, RARE_SHARE = 2, 10
"""So many frames that last longest, and those that take less than this part of the time, say nothing of how long parts may be."""


class SegmentStore:
    """The segments of one stream in one format.

    Born by replaying what the stream has kept. All renditions begin their segments at the same times with the same numbers: where
    the store's lead, the first rendition with video, has a key frame and the segment is as long as it should be, or
    where sound alone is. (A second video track begins at its own next key frame; where these are rarer than the lead's
    segments, its numbers are behind.) Numbers go up from the wall clock's seconds divided by the target duration at the
    first frame, so that they do not come again when the server starts anew, and from `first` of the store before.

    Kept while it is asked for (`touch`), while somebody holds it (`held`), and `SegmentBounds.idle` seconds more. In
    memory are the segments listed (``window``, never less than six target durations), some more for players
    that are behind, up to ``bytes``; parts of the last three target durations have their bytes twice.
    """

    def __init__(
        self,
        stream: Stream,
        format: SegmentFormat,
        bounds: SegmentBounds,
        replay: Sequence[Frame] = (),
        first: int = 0,
        derived: Iterable[Track] = (),
    ) -> None:
        """Of the stream's tracks, and `derived` ones in place of their sources."""
        self.stream = stream
        self.format = format
        self.bounds = bounds
        self.renditions: dict[str, Rendition] = {}
        self._heirs: dict[str, str] = {}
        """The names under which renditions go on whose tracks are others now, by those that the format has for them."""
        self.left_out: dict[int, str] = {}
        """Why tracks are not there, by id."""
        self._told: dict[int, str] = {}
        """What the log has of it."""
        self.ended = False
        self.changes = 0
        """Goes up with whatever may change what there is: while it stays, what was answered from here still holds."""
        self.asked = time.monotonic()
        self.bytes = 0
        self.part_target = 0
        """The longest that parts may be, in ns, as it is announced; 0 before there was one."""
        self._longest = 0
        self._holders = 0
        self._tracks: dict[int, Track] = {}
        self._by_track: dict[int, Rendition] = {}
        self._lead: Rendition | None = None
        age = max(0, stream.last_time - replay[0].dts) if replay else 0
        self._number = max(first, -(-(time.time_ns() - age) // bounds.target))
        self._broken = False
        self._regroup = False
        self._renew = False
        """Some rendition has frames that its writer cannot take."""
        self._fitting: dict[int, Track] = {}
        for track in (*stream.tracks, *derived):
            self._tracks[track.id] = track
        self._group()
        self._slow = _slow_steps(replay)
        for frame in replay:
            self.push(frame)

    # -- what carriers ask -------------------------------------------------

    @property
    def lead(self) -> Rendition | None:
        """The rendition that decides where segments begin; None where there is no track to carry."""
        return self._lead

    def has(self, track: Track) -> bool:
        """Whether frames of `track` are for it."""
        return track.id in self._tracks

    @property
    def number(self) -> int:
        """That of the next segment."""
        return self._number

    @property
    def target(self) -> int:
        """The longest that a segment is or is expected to be, in ns: key frames decide, not the aim. It never goes down."""
        self._longest = max(self._longest, self.expected)
        return self._longest

    @property
    def window(self) -> int:
        """How far back lists go at least, in ns."""
        return max(self.bounds.window, LISTED_TARGETS * self.target)

    @property
    def knows_target(self) -> bool:
        """Whether it has been seen how far key frames are apart."""
        lead = self._lead
        return lead is not None and (
            lead.kind is not Kind.VIDEO
            or self._longest > 0
            or self.bounds.longest > 0
            or self.stream.key_interval(lead.lead) > 0
        )

    @property
    def expected(self) -> int:
        """How long the segments are that come, in ns, by how far key frames are apart."""
        lead = self._lead
        if lead is None or lead.kind is not Kind.VIDEO:
            return self.bounds.target
        return self.bounds.length(self.stream.key_interval(lead.lead), lead.frame_interval // 2)

    @property
    def waiting(self) -> int:
        """How many wait for something that is not there yet."""
        return sum(rendition.waiting for rendition in self.renditions.values())

    @property
    def hurried(self) -> bool:
        """Whether anybody waits for a part, or for the first segments."""
        return any(rendition.hurried for rendition in self.renditions.values())

    def is_ready(self, segments: int) -> bool:
        """Whether each rendition has so many that are complete, as `Rendition.is_ready` has it."""
        return self._lead is not None and all(r.is_ready(segments) for r in self.renditions.values())

    async def wait_ready(self, segments: int, patience: float) -> None:
        """Until the lead has so many, waiting for each at most `patience` seconds, and the others have had a moment.

        Raises `NotFound` where nothing comes.
        """
        lead, path = self._lead, self.stream.path
        if lead is None:
            why = "; ".join(self.left_out.values()) or "it has no tracks"
            raise NotFound(f"{path} cannot be played here: {why}")
        for enough in range(min(1, segments), segments + 1):
            # For each as long: where key frames are rare, the second takes as long as the first.
            found = False
            with anyio.move_on_after(patience):
                found = await lead.wait_ready(enough)
            if not found:
                raise NotFound(f"{path} has no segment yet")
        with anyio.move_on_after(OTHERS_SECONDS):
            for rendition in tuple(self.renditions.values()):
                await rendition.wait_ready(segments)

    def touch(self) -> None:
        """Somebody asked for something: keep it."""
        self.asked = time.monotonic()

    @contextmanager
    def held(self) -> Generator[SegmentStore]:
        """Keep it although nobody asks, as for writing it to disk."""
        self._holders += 1
        try:
            yield self
        finally:
            self._holders -= 1
            self.touch()

    def is_idle(self, now: float) -> bool:
        """Whether nobody has asked for anything for so long that it is not worth its memory."""
        return not self._holders and now - self.asked > self.bounds.idle and not self.waiting

    # -- what the stream does -----------------------------------------------

    def push(self, event: Event) -> None:
        """Take one event of the stream."""
        self.changes += 1
        if isinstance(event, Frame):
            self._frame(event)
        elif isinstance(event, Epoch):
            self.interrupt()
        elif isinstance(event, TrackRemoved):
            self._tracks.pop(event.track.id, None)
            rendition = self._by_track.get(event.track.id)
            if rendition is not None:
                if rendition is self._lead:
                    self.interrupt()
                self._change()
        else:
            self._tracks[event.track.id] = event.track
            if event.track.id not in self._by_track:
                self._change()

    def _change(self) -> None:
        """The tracks are others: so are the renditions from the next segment on."""
        self._regroup = True
        if self._lead is None or self._lead.open is None:
            self._group()

    def _frame(self, frame: Frame) -> None:
        track = frame.track
        rendition = self._by_track.get(track.id)
        if rendition is None:
            return
        leads = rendition is self._lead and track.id == rendition.lead
        fits = True
        if self._fitting.get(track.id) is not track:
            self._tracks[track.id] = track
            fits = rendition.writer.fits(track)
            if fits:
                self._fitting[track.id] = track
            else:
                self._renew = self._broken = True
                self.stream.request_key_frame()
                if not leads:
                    rendition.hold(frame)
                    return
        if leads and self._cut(rendition, frame):
            fits = True
            rendition = self._by_track.get(track.id)
            if rendition is None:
                return
        if fits:
            # Not so are pictures of a new config before their first key frame.
            rendition.push(frame)

    def _cut(self, rendition: Rendition, frame: Frame) -> bool:
        """Begin a segment in every rendition, where it is time to."""
        segment = rendition.open
        begins = frame.key or rendition.kind is not Kind.VIDEO
        if segment is not None:
            age = frame.dts - segment.dts
            due = age >= self.bounds.target - rendition.frame_interval // 2
            if due and not begins:
                # Browsers send key frames only when asked: a segment is to end with the next frame that can begin one.
                self.stream.request_key_frame(frame.track)
            longest = self.bounds.longest
            most = longest - rendition.frame_interval // 2 if longest else MAX_SEGMENT_NS
            if not (begins and (due or self._regroup or self._renew)) and not (
                due and (age >= most or segment.size >= self.bounds.bytes // OPEN_SHARE)
            ):
                return False
        elif not begins:
            return False
        if self._regroup or (self._renew and begins):
            self._group()
            if self._lead is not rendition:
                return True
        self._tell()
        cut = Cut(self._number, frame.pts, frame.dts, self.stream.clock.wall(0), self._broken)
        self._number += 1
        self._broken = False
        rendition.begin(cut, frame)
        for other in self.renditions.values():
            if other is not rendition:
                other.schedule(cut)
        return True

    def interrupt(self) -> None:
        """What follows does not continue what was: what is open is complete, and the next segment a discontinuity."""
        self.changes += 1
        self._broken = any(rendition.segments for rendition in self.renditions.values())
        for rendition in self.renditions.values():
            rendition.interrupt()

    def _group(self) -> None:
        """Renditions for the tracks as they are now; what changed is written anew from the next segment on."""
        self._regroup = False
        registry = self.stream.registry
        replaced = {track.source for track in self._tracks.values()}
        known = [t for t in self._tracks.values() if t.config is not None and t.id not in replaced]
        groups, left_out = self.format.group(registry, known)
        groups = self._inherited(groups)
        gone = {name: r for name, r in self.renditions.items() if name not in groups}
        for name, tracks in groups.items():
            rendition = self.renditions.get(name)
            same = rendition is not None and [t.id for t in rendition.tracks] == [t.id for t in tracks]
            if rendition is not None and same and all(map(rendition.writer.fits, tracks)):
                continue
            writer = self._writer(tracks, left_out)
            if writer is None:
                if rendition is not None:
                    gone[name] = rendition
            elif rendition is None:
                self.renditions[name] = Rendition(self, name, tracks, writer)
            else:
                self._broken |= bool(rendition.segments)
                rendition.carry(tracks)
                rendition.renew(writer)
        self._renew = False
        self._fitting.clear()
        for name, rendition in gone.items():
            del self.renditions[name]
            rendition.end()
            self.bytes -= sum(s.size for s in rendition.segments)
        # In the order in which they are to be offered, whatever came first.
        self.renditions = {name: self.renditions[name] for name in groups if name in self.renditions}
        self.left_out = left_out
        self._tell()
        self._by_track = {t.id: r for r in self.renditions.values() for t in r.tracks}
        self._choose_lead()

    def _inherited(self, groups: dict[str, list[Track]]) -> dict[str, list[Track]]:
        """Groups under the names that players know: where a track comes as another of its codec goes, as sound of another
        rate does with the next publisher, their rendition goes on.
        """
        self._heirs = {
            name: heir for name, heir in self._heirs.items() if name in groups and heir not in groups
        }
        gone = {n: r for n, r in self.renditions.items() if n not in groups and n not in self._heirs.values()}
        for name, tracks in groups.items():
            known = self.renditions.get(name)
            if name in self._heirs or (known is not None and known.segments):
                continue
            codecs = [track.codec for track in tracks]
            heir = next((n for n, r in gone.items() if [t.codec for t in r.tracks] == codecs), None)
            if heir is not None:
                self._heirs[name] = heir
                del gone[heir]
        return {self._heirs.get(name, name): tracks for name, tracks in groups.items()}

    def _writer(self, tracks: list[Track], left_out: dict[int, str]) -> SegmentWriter | None:
        try:
            return self.format.writer(self.stream.registry, tracks)
        except ProtocolViolation as e:
            left_out.update(dict.fromkeys((t.id for t in tracks), str(e)))
            return None

    def _tell(self) -> None:
        """Log what is left out, once the stream is ready: before that, tracks of an earlier publisher may be in the way."""
        if self._told == self.left_out or not (self.stream.is_ready or self.stream.ended):
            return
        for id, reason in sorted(self.left_out.items()):
            track = self._tracks.get(id)
            if track is None or track.codec.incidental:
                continue
            if self._told.get(id) != reason:
                structlog.get_logger("penstock").info(
                    "track left out",
                    path=self.stream.path,
                    format=str(self.format.key),
                    track=id,
                    codec=track.codec.name,
                    reason=reason,
                )
        self._told = dict(self.left_out)

    def _choose_lead(self) -> None:
        every = self.renditions.values()
        lead = next((r for r in every if r.kind is Kind.VIDEO), next(iter(every), None))
        if lead is not self._lead:
            if self._lead is not None:
                self.interrupt()
            self._lead = lead

    def end(self, reason: str) -> None:
        """The stream is over; what is there may still be asked for."""
        self.ended = True
        self.changes += 1
        for rendition in self.renditions.values():
            rendition.end()

    # -- what renditions tell --------------------------------------------------

    def part_limit(self, so_far: int) -> int:
        """How long a part may become; decided when the first is as long as the aim, and `so_far` tells how long one is.

        It does not change any more (RFC 8216bis 6.2.1): a frame that lasts longer is a part that is said to be as long as that.
        """
        if not self.part_target:
            if so_far < self.bounds.part * PART_LEAST:
                return so_far + MAX_SEGMENT_NS
            self.part_target = self._part_target()
        return self.part_target

    def part_duration(self, duration: int) -> int:
        """What a part is said to last that lasts so long."""
        return min(duration, self.part_target) if self.part_target else duration

    def _part_target(self) -> int:
        """The shortest duration from the aim on into which frames of every rendition go, at no less than 85 %."""
        limit = self.bounds.part + self.bounds.part // PART_ROOM
        steps = {r.frame_interval for r in self.renditions.values()} | self._slow
        for _ in range(8):
            before = limit
            for step in steps:
                if limit // step * step < limit * PART_LEAST:
                    limit = (limit // step + 1) * step
                    limit += limit // PART_ROOM
            if limit == before:
                break
        # Whole milliseconds, as it is written in playlists.
        return -(-limit // 1_000_000) * 1_000_000

    def wrote(self, rendition: Rendition, part: Part) -> None:
        """A part is there."""
        self.bytes += part.size

    def completed(self, rendition: Rendition, segment: Segment) -> None:
        """A segment is there: others have to go."""
        self._longest = max(self._longest, segment.duration)
        bounds = self.bounds
        # RFC 8216bis 6.2.2: what is listed no more is served for as long as it and the list last; or, as there is memory for
        # that, for as long again as a list has to last.
        kept = max(self.window + 2 * self.target, 2 * max(bounds.window, PART_TARGETS * self.target))
        self.bytes -= rendition.expire(self.window, kept, bounds.count)
        rendition.shed(PART_TARGETS * self.target if self.format.parts else 0)
        while self.bytes > bounds.bytes:
            full = [r for r in self.renditions.values() if len(r.segments) > 1]
            if not full:
                break
            self.bytes -= min(full, key=lambda r: r.segments[0].dts).drop()


def _slow_steps(frames: Iterable[Frame]) -> set[int]:
    """For each track of pictures the distance in ns of those that are far apart, but for the rare ones."""
    times: dict[int, list[int]] = {}
    for frame in frames:
        if frame.track.kind is Kind.VIDEO:
            times.setdefault(frame.track.id, []).append(frame.dts)
    found: set[int] = set()
    for track in times.values():
        left = (track[-1] - track[0]) // RARE_SHARE
        for further, step in enumerate(sorted((b - a for a, b in pairwise(track)), reverse=True)):
            left -= step
            if left < 0 and further >= RARE:
                found.add(step)
                break
    return {step for step in found if 0 < step < LONGEST_STEP}
