"""The description of a presentation as it is now, in the terms of an MPD."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple
from urllib.parse import quote
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
    Track,
    VideoInfo,
    to_ticks,
)
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


class Form(NamedTuple):
    """What descriptions differ in by who reads them."""

    latency: int = 0
    """How far behind live players are asked to be where the segment that is being made is offered, in ns; 0: it is not."""
    anchored: bool = False
    """The first segment of each period is said to start at the presentation's zero."""
    outlasting: bool = False
    """A segment that never comes is told of behind the end."""


@define
class Era:
    """A period: where it starts, in ns of the stream, and the renditions that it has."""

    start: int
    names: set[str]


class Description:
    """What there is of a store, for a presentation that starts at `start`, in ns since 1970."""

    def __init__(self, store: SegmentStore, form: Form, start: int) -> None:
        self._store = store
        self._form = form
        self._start = start
        self._low = bool(form.latency) and not store.ended
        offered = {name: list(self._offered(r)) for name, r in store.renditions.items()}
        self.offered = {name: segments for name, segments in offered.items() if segments}
        """Segments by the names of their renditions."""

    def _offered(self, rendition: Rendition) -> Iterator[Segment]:
        # One that has begun has a start that will not change, although nothing of it is there yet: FFmpeg looks for the next
        # one as soon as it has read the one before, and takes what it is given for a time of its own guess as the one after.
        return (s for s in rendition.listed if not s.gap and (s.complete or (self._low and rendition.begun)))

    @property
    def _name(self) -> str:
        # With ./ since a name may have a colon in it, and be taken for a scheme.
        return f"./{quote(self._store.stream.path.rpartition('/')[2], safe='')}"

    def mpd(self, eras: Sequence[Era], now: int) -> Mpd:
        """In these periods, with `QUERY` and `CLOCK` in it, at `now` in ns since 1970."""
        store, low = self._store, self._low
        target, part = store.target, store.part_target or store.bounds.part
        behind = max(self._form.latency, PARTS_BEHIND * part)
        ends = [segments[-1].time + segments[-1].duration for segments in self.offered.values()]
        there = max((s[-1].end - s[0].dts for s in self.offered.values()), default=0)
        return Mpd(
            self._start,
            now,
            tuple(self._periods(eras)),
            longest=target,
            min_buffer=min(target, behind // 2) if low else target,
            window=store.window,
            update=max(LEAST_UPDATE, min(target // UPDATES, MOST_UPDATE)) if low else target // 2,
            delay=min(DELAY * target, there),
            latency=Latency(behind, behind // 2, 2 * behind) if low else None,
            duration=max(ends, default=0) if store.ended else None,
            location=f"{self._name}.mpd{QUERY}",
            clock=CLOCK,
        )

    def _periods(self, eras: Sequence[Era]) -> Iterator[Period]:
        for number, era in enumerate(eras):
            end = eras[number + 1].start if number + 1 < len(eras) else None
            sets: list[AdaptationSet] = []
            for rendition in self._store.renditions.values():
                # Sound begins with its first frame after the picture's, or half a one before.
                slack = rendition.slack
                segments = [
                    s
                    for s in self.offered.get(rendition.name, ())
                    if s.time + slack >= era.start and (end is None or s.time + slack < end)
                ]
                if segments:
                    outlasts = self._form.outlasting and self._store.ended and end is None
                    template = self._template(rendition, segments, era, outlasts)
                    sets.append(self._set(rendition, segments, template))
            if sets:
                yield Period(f"p{era.start // MS}", era.start, tuple(sets))

    def _set(self, rendition: Rendition, segments: list[Segment], template: SegmentTemplate) -> AdaptationSet:
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
            produced=(self._start + first.time, to_ticks(first.time, track.clock_rate))
            if self._low
            else None,
        )

    def _codecs(self, rendition: Rendition, init: Init, track: Track) -> str:
        if init is rendition.init:
            return ",".join(rendition.writer.codecs)
        info = rendition.store.stream.registry.get(track.codec, INFO)
        return info.codecs_string(track.config) if info is not None and track.config is not None else ""

    def _template(
        self, rendition: Rendition, segments: list[Segment], era: Era, outlasts: bool
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
                end = segment.time + (segment.duration if segment.complete else expected(rendition))
                if segment.complete and following is None:
                    # The stream ended, or the publisher is away. FFmpeg never takes a presentation for ended, and would play the
                    # last segment again and again where that ends within the second in which it begins. How long the
                    # presentation is, is told besides.
                    end = max(end, (segment.time // NS + 1) * NS)
            start = to_ticks(segment.time, rate)
            timeline.append((start, max(1, to_ticks(end, rate) - start)))
        if outlasts:
            # VLC does not read what it has of the last segment that is told of before another one is, and takes a
            # presentation for ended where that one is missing.
            timeline.append((sum(timeline[-1]), to_ticks(rendition.store.target, rate)))
        offset, query = to_ticks(era.start, rate), QUERY
        if self._form.anchored:
            # GStreamer (1.22 to 1.29) adds the start of the first segment to how far into a segment it is, and asks for what is
            # as many segments further on: where that is 0, nothing is added.
            timeline[0] = (0, sum(timeline[0]))
            query += f"&{PERIOD}={offset}"
        initialization = Resource("init", rendition.name, self._start // MS, digest=digest(segments[-1].init))
        media = (
            str(Resource("segment", rendition.name, self._start // MS)).removesuffix("0.m4s") + "$Time$.m4s"
        )
        part = rendition.store.part_target or rendition.store.bounds.part
        return SegmentTemplate(
            rate,
            offset,
            f"{self._name}/dash/{initialization}{QUERY}",
            f"{self._name}/dash/{media}{query}",
            tuple(timeline),
            early=max(0, expected(rendition) - part) // MS * MS if self._low else 0,
        )


def expected(rendition: Rendition) -> int:
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


def digest(init: Init) -> int:
    """What tells init segments apart."""
    return crc32(init.data)


def _bandwidth(rendition: Rendition) -> int:
    """Bits per second of the segment that has most (5.3.5.2)."""
    last = rendition.open
    if not rendition.peak and last is not None and last.end > last.dts:
        return max(1, last.size * 8 * NS // (last.end - last.dts))
    return rendition.peak or _UNKNOWN_BANDWIDTH
