"""Frames to a fragmented MP4, for a response that never ends."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence

from penstock.alternatives import Alternatives
from penstock.errors import Closed
from penstock.feed import Cursor
from penstock.fixed_tracks import FixedTracks
from penstock.media import NS, Event, Frame, Kind, Track, TrackAdded, TrackChanged
from penstock.registry import Registry
from penstock.ring import Unit
from penstock_formats.isobmff import FragmentMuxer

GATHER = NS * 40 // 1000
"""For how long sound waits for a picture, with which it would go out anyway: a fragment of its own is a third of it."""


class Mp4Muxer:
    """A fragment for each picture, with the sound before it, or for 40 ms of sound.

    The tracks are those that there are when its first viewer comes: a movie cannot get more. Where a config changes, viewers
    are let go, to ask anew: FFmpeg passes over a second movie, and VLC has no picture where pictures tell of their config
    themselves (``avc3``); see ADR 0018.
    """

    def __init__(self, registry: Registry, tracks: Iterable[Track]) -> None:
        self._registry = registry
        tracks = tuple(tracks)
        alternatives = Alternatives(registry, tracks)
        reasons = {track.id: alternatives.reason(track) for track in tracks}
        self._muxer = FragmentMuxer(registry, (track for track in tracks if not reasons[track.id]))
        self._muxer.left_out.update((id, reason) for id, reason in reasons.items() if reason)
        self._picture = next((track.id for track in self._muxer.tracks if track.kind is Kind.VIDEO), None)
        self._ids = frozenset(track.id for track in self._muxer.tracks)
        self._fixed = FixedTracks(self._muxer.tracks)
        self._frames: list[Frame] = []
        """Sound that waits for a picture."""
        self._awaited: frozenset[int] = frozenset()
        """Tracks of which nothing has come since the last key frame, at which viewers begin."""

    @property
    def key(self) -> Hashable:
        return ("mp4", self._ids)

    @property
    def left_out(self) -> Mapping[int, str]:
        return self._muxer.left_out

    @property
    def kinds(self) -> set[Kind]:
        return {track.kind for track in self._muxer.tracks}

    def mux(self, event: Event) -> Sequence[Unit]:
        if not isinstance(event, Frame):
            self._fixed.note(event)
        if isinstance(event, TrackAdded) and event.track.kind is not Kind.DATA:
            self._muxer.left_out[event.track.id] = "viewers of MP4 know the tracks of its beginning only"
        if not isinstance(event, Frame | TrackChanged) or event.track.id not in self._ids:
            return ()
        track = event.track
        fits = self._muxer.fits(track)
        if isinstance(event, TrackChanged):
            if not fits:
                raise Closed(f"MP4 cannot tell of a new config of {track.codec.name} in mid-stream")
            return ()
        if not fits:
            # In the GOP cache at the feed's birth, from before the config that all its viewers are told.
            return ()
        self._frames.append(event)
        if track.kind is not Kind.VIDEO and event.dts - self._frames[0].dts < GATHER:
            return ()
        return self.gathered()

    def gathered(self) -> Sequence[Unit]:
        if not self._frames:
            return ()
        frames, self._frames = self._frames, []
        last = frames[-1]
        key = last.key and last.track.id == self._picture
        there = {frame.track.id for frame in frames}
        if key:
            self._awaited = self._ids - there
        elif self._awaited & there:
            # VLC 3 believes decode times only where a fragment's number does not follow the one before: a track that comes later
            # than in a viewer's first fragment would begin at zero for it. ISO/IEC 14496-12 8.8.5: numbers increase.
            self._awaited -= there
            self._muxer.leave_out_number()
        fragment = tuple(self._muxer.fragment(frames))
        return (Unit(last.track, fragment, last.dts, key=key, video=last.track.kind is Kind.VIDEO),)

    def config(self, track: Track, time: int) -> Unit | None:
        return None

    def preamble(self, cursor: Cursor) -> bytes:
        """The init segment of the tracks as they are configured at the cursor."""
        tracks = [track for track in cursor.tracks if track.id in self._ids]
        return FragmentMuxer(self._registry, tracks).init
