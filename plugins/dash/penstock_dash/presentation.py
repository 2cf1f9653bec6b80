"""A stream's segments as a presentation: its zero, its periods, and the descriptions of what is there."""

from __future__ import annotations

from typing import NamedTuple

from penstock import Segment, SegmentStore, Stream
from penstock_dash.description import MS, Description, Era, Form


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
        self._eras: list[Era] = []
        self._written: dict[Form, tuple[_State, bytes]] = {}

    @property
    def id(self) -> int:
        """In the names of its files."""
        return self.start // MS

    def description(self, store: SegmentStore, form: Form, now: int) -> bytes:
        """The MPD of what is there, as `Description.mpd` has it."""
        state = _state(store)
        known = self._written.get(form)
        if known is None or known[0] != state:
            description = Description(store, form, self.start)
            self._follow(store, description.offered)
            known = self._written[form] = state, description.mpd(self._eras, now).write()
        return known[1]

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
            self._eras.append(Era(0, set(offered)))
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
            self._eras.append(Era(start, set(offered)))


def _zero(stream: Stream, now: int) -> int:
    """Wall time of the stream's time 0: nothing that is there may be told to be available later than that."""
    return min(stream.clock.wall(0), now - stream.last_time)


def _state(store: SegmentStore) -> _State:
    found: list[tuple[str, int, int, bool, bool]] = []
    for name, rendition in store.renditions.items():
        last = rendition.last
        if last is not None:
            found.append((name, rendition.listed_from, last.number, last.complete, rendition.begun))
    return _State(store.ended, store.target, store.part_target, tuple(found))
