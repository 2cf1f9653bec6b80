"""A whole file in memory, fragmented or not, its movie before or behind the data."""

from __future__ import annotations

from collections.abc import Iterator

from penstock.errors import ProtocolViolation
from penstock_formats.isobmff.box import Box, parse_header
from penstock_formats.isobmff.fragment import parse_moof
from penstock_formats.isobmff.movie import Movie, parse_movie
from penstock_formats.isobmff.sample import Place, Sample, TrackClock, fragment_places, table_places


class MovieFile:
    """The movie of a file, and its samples one by one: those of tables in the order of the file, then each fragment's.

    A recording that was cut short is read up to where its data end. The constructor and `samples` raise
    `ProtocolViolation`.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        boxes = list(_top_level(data))
        movie = next((box for _, box in boxes if box.type == "moov"), None)
        if movie is None:
            raise ProtocolViolation("no movie in the file", "ISO 14496-12 8.2.1")
        self.movie: Movie = parse_movie(movie)
        self._fragments = [(start, box) for start, box in boxes if box.type == "moof"]

    def samples(self) -> Iterator[Sample]:
        """Every sample whose data are in the file."""
        for place in self._places():
            if place.offset < 0:
                raise ProtocolViolation("a sample before the start of the file", "ISO 14496-12 8.8.8")
            if place.end > len(self._data):
                return
            yield place.sample(self._data[place.offset : place.end])

    def _places(self) -> Iterator[Place]:
        yield from table_places(self.movie)
        clocks: dict[int, TrackClock] = {}
        for start, moof in self._fragments:
            fragments = parse_moof(moof, lambda id: self.movie.track(id).defaults)
            places = fragment_places(fragments, self.movie, start, clocks)
            if sum(place.size for place in places) > len(self._data):
                return
            yield from places


def _top_level(data: bytes) -> Iterator[tuple[int, Box]]:
    """Where each box of a file starts, and the box, up to the first that is not whole."""
    start = 0
    while (header := parse_header(data, start)) is not None:
        end = len(data) if header.size is None else start + header.size
        if end > len(data):
            return
        yield start, Box(header.type, data, start + header.length, end)
        start = end
