"""Samples as they come out of a file, and where those of a fragment or of a movie's tables are in it."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from operator import attrgetter
from typing import NamedTuple

from attrs import define, frozen

from penstock.errors import ProtocolViolation
from penstock_formats.isobmff.fragment import NOT_SYNC_BIT, TrackFragment
from penstock_formats.isobmff.movie import Movie
from penstock_formats.isobmff.track import MovieTrack


@frozen
class Sample:
    """One sample. `dts`, `pts` and `duration` are ticks of the track's timescale, moved as its edit list says.

    Where the file has negative composition offsets its decode times are moved down by as much as they are seen to
    need, so that `dts` is never above `pts`. `key` is true for sync samples; `description` is the number of its
    sample entry, from 1.
    """

    track: MovieTrack
    dts: int
    pts: int
    duration: int
    key: bool
    description: int
    data: bytes


@define
class TrackClock:
    """`following` is the decode time of a track's next fragment; `lag` how far below composition times it has to be."""

    following: int = 0
    lag: int = 0


class Place(NamedTuple):
    """Where a sample's data are in the file, and what else is known of it."""

    offset: int
    size: int
    track: MovieTrack
    dts: int
    composition: int
    duration: int
    key: bool
    description: int

    @property
    def end(self) -> int:
        return self.offset + self.size

    def sample(self, data: bytes) -> Sample:
        dts = self.dts + self.track.shift
        return Sample(
            self.track, dts, dts + self.composition, self.duration, self.key, self.description, data
        )


def fragment_places(
    fragments: list[TrackFragment], movie: Movie, start: int, clocks: dict[int, TrackClock]
) -> list[Place]:
    """The samples of a ``moof`` that begins at `start`, in the order of their decode times.

    `clocks` are those of the tracks by id, and are moved on. Empty samples are left out.
    """
    places: list[Place] = []
    end = start
    for fragment in fragments:
        track = movie.track(fragment.track_id)
        clock = clocks.setdefault(track.id, TrackClock())
        dts = clock.following if fragment.decode_time is None else fragment.decode_time
        lag = clock.lag = max([clock.lag, *(-min(run.composition, default=0) for run in fragment.runs)])
        base = fragment.base
        if base is None:
            base = start if fragment.from_moof else end
        end = base
        for run in fragment.runs:
            if run.data_offset is not None:
                end = base + run.data_offset
            for duration, size, flags, composition in zip(
                run.durations, run.sizes, run.flags, run.composition, strict=True
            ):
                if size:
                    key = not flags & NOT_SYNC_BIT
                    places.append(
                        Place(
                            end,
                            size,
                            track,
                            dts - lag,
                            composition + lag,
                            duration,
                            key,
                            fragment.description,
                        )
                    )
                    end += size
                dts += duration
        clock.following = dts
    if len(fragments) > 1:
        places.sort(key=_seconds)
    return places


def _seconds(place: Place) -> float:
    # A file may claim times beyond what a float tells apart: their order is then of no meaning.
    return (place.dts + place.track.shift) / place.track.timescale


def table_places(movie: Movie) -> Iterator[Place]:
    """The samples of a movie's tables in the order of the file, found as they are asked for.

    Raises `ProtocolViolation` where they overlap or a track's own are not in the order of the file.
    """
    merged = heapq.merge(*map(_track_places, movie.tracks), key=attrgetter("offset"))
    end = 0
    for place in merged:
        if place.offset < end:
            raise ProtocolViolation(
                "samples overlap, or are not in the order of the file", "ISO 14496-12 8.7.4"
            )
        end = place.end
        yield place


def _track_places(track: MovieTrack) -> Iterator[Place]:
    table = track.table
    lag = table.lag if table is not None else 0
    for found in table or ():
        if found.size:
            yield Place(
                found.offset,
                found.size,
                track,
                found.dts - lag,
                found.composition + lag,
                found.duration,
                found.key,
                found.description,
            )
