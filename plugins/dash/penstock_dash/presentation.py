"""A stream's segments as a presentation: its zero, its periods, and the description of what is there."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple
from zlib import crc32

from attrs import define

from penstock import (
    INFO,
    NS,
    AudioInfo,
    Init,
    Kind,
    Rendition,
    Segment,
    SegmentStore,
    Stream,
    Track,
    VideoInfo,
    to_ticks,
)
from penstock_dash.config import DashConfig
from penstock_dash.mpd import AdaptationSet, Latency, Mpd, Period, SegmentTemplate
from penstock_dash.number import format_rate
from penstock_dash.resource import Resource
from penstock_formats.language import language_tag

MS = 1_000_000
DELAY = 2
"""Target durations from live at which players that fetch whole segments begin: the one that is made, and one at hand."""
UPDATES = 4
"""How often a description changes in a target duration, where the segment that is being made is offered: a player
learns of the next one within a part or two of its beginning."""
LEAST_UPDATE, MOST_UPDATE = NS // 4, NS
PARTS_BEHIND = 4
"""Parts that a player of low latency is behind at least: one that is being made, one on its way, two at hand."""
_UNKNOWN_BANDWIDTH = 100_000
PERIOD = "period"
"""A field in the query of segments of an anchored description: the period's start in ticks."""

QUERY = "@query@"
CLOCK = "@clock@"
"""Stand in a description, for all viewers alike, for what each has in its URLs, and for the time of the answer. Neither is
in what is percent-encoded."""


@define
class _Era:
    """A period: where it starts, in ns of the stream, and the renditions that it has."""

    start: int
    names: set[str]


class _State(NamedTuple):
    """What a description depends on."""

    ended: bool
    target: int
    part_target: int
    renditions: tuple[tuple[str, int, int, bool, bool], ...]


class Presentation:
    """One stream's presentation: the same zero and the same periods for as long as the stream lives."""

    def __init__(self, stream: Stream, now: int) -> None:
        """`now` in ns since 1970."""
        self.start = _zero(stream, now) // MS * MS
        """Wall time of the stream's time 0, in ns since 1970."""
        self._eras: list[_Era] = []
        self._written: dict[tuple[bool, bool, bool], tuple[_State, str, bytes]] = {}

    @property
    def id(self) -> int:
        """In the names of its files."""
        return self.start // MS

    def description(
        self,
        store: SegmentStore,
        config: DashConfig,
        folder: str,
        location: str,
        now: int,
        *,
        anchored: bool = False,
        outlasting: bool = False,
    ) -> bytes:
        """The MPD of what is there, with `QUERY` and `CLOCK` in it; files are in `folder`, itself it is at `location`.

        In one that is `anchored` the first segment of each period is said to start at the presentation's zero; in one that
        is `outlasting` a segment that never comes is told of behind the end.
        """
        state, kind = _state(store), (config.low_latency, anchored, outlasting)
        known = self._written.get(kind)
        if known is None or known[:2] != (state, location):
            mpd = self._mpd(store, config, folder, location, now, anchored, outlasting)
            known = state, location, mpd.write()
            self._written[kind] = known
        return known[2]

    def expected(self, rendition: Rendition) -> int:
        """How long the segment that is being made lasts at least, in ns: what is told of it until it is complete.

        A guess that is too long costs VLC the next segment, whose start it takes for a part of this one. One of less than
        a second costs FFmpeg as much, which goes by whole seconds: there it is what segments were lately.
        """
        store, last = rendition.store, rendition.open
        lead = store.lead.frame_interval if store.lead is not None else 0
        found = store.bounds.target - lead - rendition.frame_interval
        if found < NS:
            complete = [s for s in rendition.listed if s.complete and not s.gap]
            steps = [b.time - a.time for a, b in pairwise(complete) if b.number == a.number + 1]
            found = min([*steps, *(s.duration for s in complete[-1:])], default=store.target)
        return max(found, last.end - last.dts) if last is not None else found

    # -- periods -----------------------------------------------------------

    def _follow(self, store: SegmentStore, offered: dict[str, list[Segment]]) -> None:
        """Periods for what is offered: a new one for each discontinuity, and where tracks come or go."""
        lead = store.lead
        segments = offered.get(lead.name, []) if lead is not None else []
        if not segments:
            return
        if not self._eras:
            # From the stream's zero, although nothing is there of its beginning: GStreamer refuses a presentation in which
            # the time that it wants to begin at is before the first period.
            self._eras.append(_Era(0, set(offered)))
        for segment in segments:
            if segment.discontinuity:
                self._begin(segment.time, offered)
        current = self._eras[-1]
        names = set(offered)
        if names - current.names:
            first = min(offered[name][0].time for name in names - current.names)
            if first < segments[0].time + store.target // 2:
                current.names |= names
            else:
                self._begin(first, offered)
        if self._eras[-1].names - names:
            self._begin(segments[-1].time, offered)
        while len(self._eras) > 1 and self._eras[1].start <= segments[0].time:
            del self._eras[0]

    def _begin(self, time: int, offered: dict[str, list[Segment]]) -> None:
        start = time // MS * MS
        if start > self._eras[-1].start:
            self._eras.append(_Era(start, set(offered)))

    # -- the description -----------------------------------------------------

    def _mpd(
        self,
        store: SegmentStore,
        config: DashConfig,
        folder: str,
        location: str,
        now: int,
        anchored: bool,
        outlasting: bool,
    ) -> Mpd:
        low = config.low_latency and not store.ended
        offered = {name: list(_offered(r, low)) for name, r in store.renditions.items()}
        offered = {name: segments for name, segments in offered.items() if segments}
        self._follow(store, offered)
        target, part = store.target, store.part_target or store.bounds.part
        behind = max(int(config.latency * NS), PARTS_BEHIND * part)
        ends = [segments[-1].time + segments[-1].duration for segments in offered.values()]
        there = max((s[-1].end - s[0].dts for s in offered.values()), default=0)
        return Mpd(
            self.start,
            now,
            tuple(self._periods(store, offered, low, folder, anchored, outlasting)),
            longest=target,
            min_buffer=min(target, behind // 2) if low else target,
            window=max(store.bounds.window, 3 * target),
            update=max(LEAST_UPDATE, min(target // UPDATES, MOST_UPDATE)) if low else target // 2,
            delay=min(DELAY * target, there),
            latency=Latency(behind, behind // 2, 2 * behind) if low else None,
            duration=max(ends, default=0) if store.ended else None,
            location=location + QUERY,
            clock=CLOCK,
        )

    def _periods(
        self,
        store: SegmentStore,
        offered: dict[str, list[Segment]],
        low: bool,
        folder: str,
        anchored: bool,
        outlasting: bool,
    ) -> Iterator[Period]:
        for number, era in enumerate(self._eras):
            end = self._eras[number + 1].start if number + 1 < len(self._eras) else None
            sets: list[AdaptationSet] = []
            for rendition in store.renditions.values():
                # Sound begins with its first frame after the picture's, or half a one before.
                slack = rendition.frame_interval
                segments = [
                    s
                    for s in offered.get(rendition.name, ())
                    if s.time + slack >= era.start and (end is None or s.time + slack < end)
                ]
                if segments:
                    outlasts = outlasting and store.ended and end is None
                    template = self._template(rendition, segments, era, low, folder, anchored, outlasts)
                    sets.append(self._set(rendition, segments, template, low))
            if sets:
                yield Period(f"p{era.start // MS}", era.start, tuple(sets))

    def _set(
        self, rendition: Rendition, segments: list[Segment], template: SegmentTemplate, low: bool
    ) -> AdaptationSet:
        store = rendition.store
        init = segments[-1].init
        track = init.tracks[0]
        info = store.stream.registry.get(track.codec, INFO)
        described = info.describe(track.config) if info is not None and track.config is not None else None
        video = described if isinstance(described, VideoInfo) else None
        audio = described if isinstance(described, AudioInfo) else None
        rate = (video.frame_rate if video is not None else None) or NS / rendition.frame_interval
        alike = next(r for r in store.renditions.values() if r.kind is rendition.kind)
        first = segments[0]
        return AdaptationSet(
            track.id,
            "video" if rendition.kind is Kind.VIDEO else "audio",
            rendition.name,
            self._codecs(rendition, init, track),
            _bandwidth(rendition),
            template,
            main=rendition is alike,
            starts_with_key=all(s.independent for s in segments),
            language=language_tag(track.language),
            width=video.width if video is not None else 0,
            height=video.height if video is not None else 0,
            frame_rate=format_rate(rate) if video is not None else "",
            sample_rate=audio.sample_rate if audio is not None else 0,
            channels=audio.channels if audio is not None else 0,
            produced=(self.start + first.time, to_ticks(first.time, track.clock_rate)) if low else None,
        )

    def _codecs(self, rendition: Rendition, init: Init, track: Track) -> str:
        if init is rendition.init:
            return ",".join(rendition.writer.codecs)
        info = rendition.store.stream.registry.get(track.codec, INFO)
        return info.codecs_string(track.config) if info is not None and track.config is not None else ""

    def _template(
        self,
        rendition: Rendition,
        segments: list[Segment],
        era: _Era,
        low: bool,
        folder: str,
        anchored: bool,
        outlasts: bool,
    ) -> SegmentTemplate:
        rate = segments[-1].init.tracks[0].clock_rate
        timeline: list[tuple[int, int]] = []
        for segment in segments:
            following = rendition.get(segment.number + 1)
            if following is not None and not (following.gap or following.discontinuity):
                # Also where it is not told of yet: what lies between two dts is not what lies between two pts where frames are
                # not as far apart, and VLC takes what starts within the last entry for a part of that.
                end = following.time
            else:
                end = segment.time + (segment.duration if segment.complete else self.expected(rendition))
                if rendition.store.ended and following is None:
                    # FFmpeg never takes a presentation for ended, and would play the last segment for ever where that
                    # ends within the second in which it begins. The presentation's duration is told besides.
                    end = max(end, (segment.time // NS + 1) * NS)
            start = to_ticks(segment.time, rate)
            timeline.append((start, max(1, to_ticks(end, rate) - start)))
        if outlasts:
            # VLC does not read what it has of the last segment that is told of before another one is, and takes a
            # presentation for ended where that one is missing.
            timeline.append((sum(timeline[-1]), to_ticks(rendition.store.target, rate)))
        offset, query = to_ticks(era.start, rate), QUERY
        if anchored:
            # GStreamer (1.22 to 1.29) adds the start of the first segment to how far into a segment it is, and asks for what is
            # as many segments further on: where that is 0, nothing is added.
            timeline[0] = (0, sum(timeline[0]))
            query += f"&{PERIOD}={offset}"
        initialization = Resource("init", rendition.name, self.id, digest=digest(segments[-1].init))
        media = str(Resource("segment", rendition.name, self.id)).removesuffix("0.m4s") + "$Time$.m4s"
        part = rendition.store.part_target or rendition.store.bounds.part
        return SegmentTemplate(
            rate,
            offset,
            f"{folder}{initialization}{QUERY}",
            f"{folder}{media}{query}",
            tuple(timeline),
            early=max(0, self.expected(rendition) - part) // MS * MS if low else 0,
        )


def digest(init: Init) -> int:
    """What tells init segments apart."""
    return crc32(init.data)


def _zero(stream: Stream, now: int) -> int:
    """Wall time of the stream's time 0: nothing that is there may be told to be available later than that."""
    return min(stream.clock.wall(0), now - stream.last_time)


def _offered(rendition: Rendition, low: bool) -> Iterator[Segment]:
    # One that has begun has a start that will not change, although nothing of it is there yet: FFmpeg looks for the next one
    # as soon as it has read the one before, and takes what it is given for a time of its own guess as the one after that.
    return (s for s in rendition.listed if not s.gap and (s.complete or (low and rendition.begun)))


def _state(store: SegmentStore) -> _State:
    found: list[tuple[str, int, int, bool, bool]] = []
    for name, rendition in store.renditions.items():
        last = rendition.last
        if last is not None:
            found.append((name, rendition.listed_from, last.number, last.complete, rendition.begun))
    return _State(store.ended, store.target, store.part_target, tuple(found))


def _bandwidth(rendition: Rendition) -> int:
    """Bits per second of the segment that has most (5.3.5.2)."""
    last = rendition.open
    if not rendition.peak and last is not None and last.end > last.dts:
        return max(1, last.size * 8 * NS // (last.end - last.dts))
    return rendition.peak or _UNKNOWN_BANDWIDTH
