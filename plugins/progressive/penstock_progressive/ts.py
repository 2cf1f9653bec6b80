"""Frames to a transport stream, for a response that never ends."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence

from penstock.feed import Cursor
from penstock.media import NS, Event, Frame, Kind, Track, TrackAdded, TrackChanged, TrackRemoved
from penstock.registry import Registry
from penstock.ring import Unit
from penstock_formats.mpegts import Muxer

TABLES = NS // 2
"""How often there are tables at least (ETSI TR 101 290 5.2.1, 1.3); each 100 ms they are a tenth of a stream of 300 kbit/s."""


class TsMuxer:
    """Tables come before each key frame, and where there is none for half a second: a viewer needs nothing else to begin."""

    def __init__(self, registry: Registry, tracks: Iterable[Track]) -> None:
        self._muxer = Muxer(registry, tables_every=TABLES)
        self._pictures: list[int] = []
        """The ids of the tracks of video: viewers start where the first of them has a key frame."""
        for track in tracks:
            self._add(track)

    @property
    def key(self) -> Hashable:
        return "ts"

    @property
    def left_out(self) -> Mapping[int, str]:
        return self._muxer.left_out

    @property
    def kinds(self) -> set[Kind]:
        return self._muxer.kinds

    def _add(self, track: Track) -> None:
        self._muxer.add(track)
        if track.kind is Kind.VIDEO and track.id not in self._pictures and track.id not in self.left_out:
            self._pictures.append(track.id)

    def mux(self, event: Event) -> Sequence[Unit]:
        if isinstance(event, Frame):
            return self._frame(event)
        if isinstance(event, TrackAdded | TrackChanged):
            self._add(event.track)
        elif isinstance(event, TrackRemoved):
            self._muxer.remove(event.track.id)
            if event.track.id in self._pictures:
                self._pictures.remove(event.track.id)
        return ()

    def _frame(self, frame: Frame) -> Sequence[Unit]:
        packets = self._muxer.mux(frame)
        if not packets:
            return ()
        track = frame.track
        video = track.kind is Kind.VIDEO
        key = video and frame.key and self._pictures[:1] == [track.id]
        return (Unit(track, (packets,), frame.dts, key=key, video=video),)

    def config(self, track: Track, time: int) -> Unit | None:
        return None

    def preamble(self, cursor: Cursor) -> bytes:
        return b""
