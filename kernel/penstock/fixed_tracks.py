"""The tracks of which a carrier's readers were told once and for all."""

from __future__ import annotations

from collections.abc import Iterable

from penstock.errors import Closed
from penstock.media import Event, Kind, Track, TrackAdded, TrackChanged, TrackRemoved


class FixedTracks:
    """For a muxer that cannot tell its readers of another codec: lets them go where a track of theirs is replaced.

    Another publisher may send H.265 where the one before sent H.264. Who had that picture, and has no other, asks anew
    and gets the new one; a track that is only one more lets nobody go. Data is not missed so much.
    """

    def __init__(self, tracks: Iterable[Track]) -> None:
        self._carried = {track.id: track for track in tracks if track.kind is not Kind.DATA}
        self._gone: dict[Kind, Track] = {}
        self._new: dict[int, Track] = {}
        """Those that came since, once their config is known: before that they could not be described anew."""

    def add(self, track: Track) -> None:
        """A late track that readers do get: of a kind of which they had none."""
        if track.kind is not Kind.DATA and track.kind not in self._gone:
            self._carried[track.id] = track
            self._new.pop(track.id, None)

    def note(self, event: Event) -> None:
        """Take one event of the stream. Raises `Closed` where the last track of a kind is gone and another there."""
        if isinstance(event, TrackAdded | TrackChanged):
            track = event.track
            if track.id in self._carried or track.config is None:
                return
            self._new[track.id] = track
        elif isinstance(event, TrackRemoved):
            track = event.track
            self._new.pop(track.id, None)
            if self._carried.pop(track.id, None) is not None:
                self._gone[track.kind] = track
        else:
            return
        self._check()

    def _check(self) -> None:
        left = {track.kind for track in self._carried.values()}
        for track in self._new.values():
            before = self._gone.get(track.kind)
            if before is None or track.kind in left:
                continue
            if before.codec == track.codec:
                raise Closed(f"the stream's {track.codec.name} was replaced by another track of it")
            raise Closed(f"the stream's codec changed to {track.codec.name}")
