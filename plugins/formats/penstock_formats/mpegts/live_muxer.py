"""Frames to a transport stream that never ends, muxed once for all who read it: over HTTP, in datagrams."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence

from penstock.alternatives import Alternatives
from penstock.feed import Cursor
from penstock.media import NS, Event, Frame, Kind, Track, TrackAdded, TrackChanged, TrackRemoved
from penstock.registry import Registry
from penstock.ring import Unit
from penstock_formats.mpegts.muxer import Muxer
from penstock_formats.mpegts.packetizer import datagrams

TABLES = NS // 2
"""How often there are tables at least (ETSI TR 101 290 5.2.1, 1.3); each 100 ms they are a tenth of a stream of 300 kbit/s."""


SLACK = NS // 1000
"""How far sound may be from where the sound before it ends: only the first frame of a PES packet has its time in it."""
GATHER = NS * 40 // 1000
"""For how long sound is put into one PES packet: an AAC frame of 64 kbit/s alone needs two TS packets, and is half of them."""


class LiveMuxer:
    """A feed's muxer. Tables come before each key frame, and where there is none for half a second: a viewer needs
    nothing else to begin.

    Sound waits for the next picture, with which it would go out anyway, or for 40 ms of it. Payloads are of
    `datagrams` packets at most, unless that is 0, and what sound has gathered shares one with the picture.
    """

    def __init__(self, registry: Registry, tracks: Iterable[Track], *, datagrams: int = 0) -> None:
        self._datagrams = datagrams
        self._muxer = Muxer(registry, tables_every=TABLES)
        self._pictures: list[int] = []
        """The ids of the tracks of video: viewers start where the first of them has a key frame."""
        self._sound: dict[int, list[Frame]] = {}
        tracks = tuple(tracks)
        self._alternatives = Alternatives(registry, tracks)
        for track in tracks:
            self._add(track)

    @property
    def key(self) -> Hashable:
        return "ts", self._datagrams

    @property
    def left_out(self) -> Mapping[int, str]:
        return self._muxer.left_out

    @property
    def kinds(self) -> set[Kind]:
        return self._muxer.kinds

    def _add(self, track: Track) -> None:
        if reason := self._alternatives.reason(track):
            self._muxer.left_out[track.id] = reason
            return
        self._muxer.add(track)
        if track.kind is Kind.VIDEO and track.id not in self._pictures and track.id not in self.left_out:
            self._pictures.append(track.id)

    def mux(self, event: Event) -> Sequence[Unit]:
        if isinstance(event, Frame):
            return self._frame(event)
        units = self._gathered()
        if isinstance(event, TrackAdded | TrackChanged):
            self._add(event.track)
        elif isinstance(event, TrackRemoved):
            self._muxer.remove(event.track.id)
            if event.track.id in self._pictures:
                self._pictures.remove(event.track.id)
        return units

    def gathered(self) -> Sequence[Unit]:
        return self._gathered()

    def _frame(self, frame: Frame) -> Sequence[Unit]:
        track = frame.track
        if track.kind is Kind.AUDIO:
            return self._hear(frame)
        units = self._gathered()
        packets = self._muxer.mux(frame)
        if packets:
            video = track.kind is Kind.VIDEO
            key = video and frame.key and self._pictures[:1] == [track.id]
            if self._datagrams and units and video and not key:
                # Nobody starts between the two; datagrams of their own would be half empty.
                packets = b"".join([part for unit in units for part in unit.payloads]) + packets
                units.clear()
            units.append(Unit(track, self._cut(packets), frame.dts, key=key, video=video))
        return units

    def _cut(self, packets: bytes) -> tuple[bytes, ...]:
        return datagrams(packets, self._datagrams) if self._datagrams else (packets,)

    def _hear(self, frame: Frame) -> list[Unit]:
        """Take sound: what does not follow what was gathered, without a gap and in the same config, begins anew."""
        track, units = frame.track, list[Unit]()
        sound = self._sound.get(track.id, [])
        if sound and (
            sound[0].track is not track or abs(sound[-1].dts + (sound[-1].duration or 0) - frame.dts) > SLACK
        ):
            units, sound = self._gathered(track.id), []
        sound.append(frame)
        self._sound[track.id] = sound
        return units + self._gathered(track.id) if frame.dts - sound[0].dts >= GATHER else units

    def _gathered(self, *tracks: int) -> list[Unit]:
        """The sound that was gathered of `tracks`, or of all."""
        units: list[Unit] = []
        for id in tracks or tuple(self._sound):
            first, *more = self._sound.pop(id)
            packets = self._muxer.mux(first, *more)
            if packets:
                units.append(Unit(first.track, self._cut(packets), first.dts))
        return units

    def config(self, track: Track, time: int) -> Unit | None:
        return None

    def preamble(self, cursor: Cursor) -> bytes:
        return b""
