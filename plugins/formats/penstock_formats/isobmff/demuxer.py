"""Fragmented files as a stream of bytes: an HTTP request body, or segments one after the other.

`Demuxer.next_event` returns an event, returns None for need-more, or raises `ProtocolViolation`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from penstock.errors import ProtocolViolation
from penstock_formats.isobmff.box import Box, BoxHeader, parse_header
from penstock_formats.isobmff.event_message import EventMessage, parse_event_message
from penstock_formats.isobmff.fragment import parse_moof
from penstock_formats.isobmff.movie import Movie, parse_movie
from penstock_formats.isobmff.producer_time import ProducerTime, parse_producer_time
from penstock_formats.isobmff.sample import Place, Sample, TrackClock, fragment_places, table_places

MAX_BOX = 8 << 20
"""Bytes of a box other than ``mdat``: the tables of an hour of progressive MP4 take less, a ``moof`` a few KB."""

MAX_FRAGMENT = 64 << 20
"""Bytes of the media data of one fragment: ten seconds at 50 Mbit/s, as much as a GOP cache holds."""

DemuxerEvent = Movie | Sample | ProducerTime | EventMessage

_WHOLE = frozenset({"moov", "moof", "prft", "emsg"})
_LEADING = _WHOLE | {"ftyp", "styp", "sidx", "free", "skip", "wide", "pdin", "uuid", "mdat", "meta"}
"""What may come before the movie; other types there say that this is no ISO media file."""


class Demuxer:
    """Bytes in; a `Movie` for each ``moov``, then samples, event messages and producer times out.

    The samples of a fragment come in the order of their decode times, whatever their order in the file; those of
    tables (of files that are only in part fragmented, or whose tables come first) in the order of the file.
    """

    def __init__(self, max_fragment: int = MAX_FRAGMENT) -> None:
        self._max_fragment = max_fragment
        self._buffer = bytearray()
        self._base = 0
        self._skip: int | None = 0
        self._media_end: int | None = None
        self._movie: Movie | None = None
        self._clocks: dict[int, TrackClock] = {}
        self._places: Iterator[Place] = iter(())
        self._place: Place | None = None
        self._ordered = True
        self._events: deque[DemuxerEvent] = deque()

    def start_segment(self) -> None:
        """What comes next is another file: offsets count from its start. What is left of the one before is dropped."""
        self._buffer.clear()
        self._base = 0
        self._skip = 0
        self._media_end = None
        self._places, self._place = iter(()), None

    def receive_data(self, data: bytes) -> None:
        """Take the next bytes of the file."""
        if self._skip is None:
            return
        skipped = min(self._skip, len(data))
        self._skip -= skipped
        self._base += skipped
        self._buffer += memoryview(data)[skipped:]

    def next_event(self) -> DemuxerEvent | None:
        """The next event, None where more bytes are needed. Raises `ProtocolViolation`."""
        while not self._events:
            if not (self._next_box() if self._media_end is None else self._next_samples()):
                return None
        return self._events.popleft()

    def _next_box(self) -> bool:
        """Take one box, or the header of one that is not kept whole; False where more bytes are needed."""
        header = parse_header(self._buffer)
        if header is None:
            return False
        size = header.size
        if self._movie is None and header.type not in _LEADING:
            raise ProtocolViolation(f"not an ISO media file: it has {header.type!a}", offset=self._base)
        if header.type == "mdat":
            self._start_media(header)
            return True
        if header.type not in _WHOLE:
            self._drop(size)
            return True
        if size is None or size > MAX_BOX:
            raise ProtocolViolation(f"a {header.type} box of {size} bytes", "ISO 14496-12 4.2", self._base)
        if len(self._buffer) < size:
            return False
        self._box(Box(header.type, bytes(self._buffer[:size]), header.length, size))
        self._drop(size)
        return True

    def _box(self, box: Box) -> None:
        if box.type == "moov":
            self._movie = parse_movie(box)
            self._clocks.clear()
            self._events.append(self._movie)
            self._set_places(table_places(self._movie), ordered=True)
        elif box.type == "moof":
            self._fragment(box)
        elif box.type == "prft":
            self._events.append(parse_producer_time(box))
        else:
            self._events.append(parse_event_message(box))

    def _fragment(self, moof: Box) -> None:
        movie = self._movie
        if movie is None:
            raise ProtocolViolation("a fragment before the movie", "ISO 14496-12 8.8.4", self._base)
        if self._place is not None:
            raise ProtocolViolation("a fragment before the data of the one before it", offset=self._base)
        fragments = parse_moof(moof, lambda id: movie.track(id).defaults)
        places = fragment_places(fragments, movie, self._base, self._clocks)
        if sum(place.size for place in places) > self._max_fragment:
            raise ProtocolViolation(f"a fragment of more than {self._max_fragment} bytes", offset=self._base)
        ends = [0, *(place.end for place in places)]
        ordered = all(place.offset >= end for place, end in zip(places, ends, strict=False))
        self._set_places(iter(places), ordered=ordered)

    def _set_places(self, places: Iterator[Place], *, ordered: bool) -> None:
        self._places = places
        self._place = next(places, None)
        self._ordered = ordered

    def _start_media(self, header: BoxHeader) -> None:
        if self._movie is None:
            raise ProtocolViolation(
                "media data before the movie: the file is not made for streaming", offset=self._base
            )
        if header.size is None:
            raise ProtocolViolation("media data without a size", "ISO 14496-12 4.2", self._base)
        end = self._base + header.size
        self._drop(header.length)
        if self._place is None:
            self._drop(end - self._base)
            return
        if not self._ordered and end - self._base > self._max_fragment:
            raise ProtocolViolation(f"a fragment of more than {self._max_fragment} bytes", offset=self._base)
        self._media_end = end

    def _next_samples(self) -> bool:
        """The samples whose data are there; False where more bytes are needed."""
        end, place = self._media_end, self._place
        start, available = self._base, self._base + len(self._buffer)
        if end is None:
            return True
        with memoryview(self._buffer) as buffer:
            while place is not None and place.offset < end:
                if place.offset < start or place.end > end:
                    raise ProtocolViolation("a sample is not in its media data", "ISO 14496-12 8.8.8", start)
                if place.end > available:
                    break
                data = bytes(buffer[place.offset - start : place.end - start])
                self._events.append(place.sample(data))
                place = next(self._places, None)
        self._place = place
        if place is None or place.offset >= end:
            self._media_end = None
            self._drop(end - start)
        elif self._ordered:
            self._drop(place.offset - start)
            if place.size > self._max_fragment:
                raise ProtocolViolation(f"a sample of {place.size} bytes", offset=self._base)
            return bool(self._events)
        else:
            return bool(self._events)
        return True

    def _drop(self, size: int | None) -> None:
        """Pass over `size` bytes, or all that is to come, those that are not there yet included."""
        if size is None:
            self._buffer.clear()
            self._skip = None
            return
        there = min(size, len(self._buffer))
        del self._buffer[:there]
        self._base += there
        self._skip = size - there
