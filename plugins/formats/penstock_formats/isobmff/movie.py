"""The movie box (ISO/IEC 14496-12 8.2.1): what tracks there are."""

from __future__ import annotations

from attrs import evolve, frozen

from penstock.errors import ProtocolViolation
from penstock_formats.isobmff.box import Box
from penstock_formats.isobmff.track import MovieTrack, SampleDefaults, parse_track

MAX_TRACKS = 32
"""Tracks of one file: as many as a publisher may have."""


@frozen
class Movie:
    """All tracks of a file, or of the init segment of a stream of fragments."""

    tracks: tuple[MovieTrack, ...]

    def track(self, id: int) -> MovieTrack:
        """The track of that id. Raises `ProtocolViolation` where there is none."""
        for track in self.tracks:
            if track.id == id:
                return track
        raise ProtocolViolation(f"track {id} is not in the movie", "ISO 14496-12 8.8.7.3")


def parse_movie(moov: Box) -> Movie:
    """The movie of a ``moov`` box. Raises `ProtocolViolation`."""
    timescale = _timescale(moov.only("mvhd"))
    tracks: dict[int, MovieTrack] = {}
    defaults: dict[int, SampleDefaults] = {}
    for box in moov.children:
        if box.type == "trak":
            track = parse_track(box, timescale)
            if track.id in tracks or len(tracks) == MAX_TRACKS:
                raise ProtocolViolation(
                    f"track {track.id} twice, or more than {MAX_TRACKS} tracks", "ISO 14496-12 8.3.2.3"
                )
            tracks[track.id] = track
        elif box.type == "mvex":
            for trex in box.children:
                if trex.type == "trex":
                    fields = trex.fields
                    fields.full()
                    id = fields.u(4)
                    defaults[id] = SampleDefaults(fields.u(4), fields.u(4), fields.u(4), fields.u(4))
    if not tracks:
        raise ProtocolViolation("a movie without tracks", "ISO 14496-12 8.3.1")
    return Movie(tuple(evolve(t, defaults=defaults.get(t.id, t.defaults)) for t in tracks.values()))


def _timescale(mvhd: Box) -> int:
    fields = mvhd.fields
    version, _ = fields.full()
    fields.skip(16 if version == 1 else 8)
    timescale = fields.u(4)
    if not timescale:
        raise ProtocolViolation("a movie with a timescale of 0", "ISO 14496-12 8.2.2.3")
    return timescale
