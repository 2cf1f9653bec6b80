"""A fragmented file to frames: its tracks to a publisher's, its samples to frames on the source's clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from attrs import define

from penstock.errors import ProtocolViolation
from penstock.media import Codec, CodecConfig, Kind, Track, to_ns
from penstock.registry import INFO, AudioInfo, Registry
from penstock_formats.isobmff.binding import IsobmffBinding, accept
from penstock_formats.isobmff.demuxer import Demuxer
from penstock_formats.isobmff.movie import Movie
from penstock_formats.isobmff.sample import Sample
from penstock_formats.isobmff.track import MovieTrack
from penstock_formats.language import language_tag

if TYPE_CHECKING:
    from penstock.publisher import TrackWriter

VIDEO_CLOCK = 90_000
MAX_BAD_FRAMES = 100
"""Frames that their codec cannot read, in a row, before the publisher is refused."""


@define
class _Input:
    """One track of the file; `description` is the number of the sample entry in force."""

    codec: Codec
    binding: IsobmffBinding
    track: Track
    description: int
    config: CodecConfig | None


class Ingest:
    """What one publisher sends as a fragmented file, or as init and media segments one after the other.

    `whole` says that one movie has all tracks of the publisher: the stream is ready with it. After each `receive`,
    call the publisher's `flush`.
    """

    def __init__(self, publisher: TrackWriter, registry: Registry, *, whole: bool = True) -> None:
        self._publisher = publisher
        self._registry = registry
        self._whole = whole
        self._demuxer = Demuxer()
        self._inputs: dict[int, _Input] = {}
        self._bad = 0

    def start_segment(self) -> None:
        """What is received next is another file."""
        self._demuxer.start_segment()

    def receive(self, data: bytes) -> None:
        """Take the next bytes. Raises `ProtocolViolation` for what cannot be read."""
        demuxer = self._demuxer
        demuxer.receive_data(data)
        while (event := demuxer.next_event()) is not None:
            if isinstance(event, Sample):
                self._sample(event)
            elif isinstance(event, Movie):
                self._movie(event)

    def end(self) -> None:
        """The body is over; every sample whose data came has gone on already."""

    def _movie(self, movie: Movie) -> None:
        for track in movie.tracks:
            try:
                self._describe(track, 1)
            except ProtocolViolation as violation:
                # What is not understood of one track is no reason to leave out the others.
                self._inputs.pop(track.id, None)
                structlog.get_logger("penstock").warning(
                    "track left out", path=self._publisher.session.path, reason=violation.reason
                )
        if not self._inputs:
            raise ProtocolViolation("no track that any plugin knows")
        if self._whole:
            self._publisher.tracks_complete()

    def _describe(self, track: MovieTrack, description: int) -> _Input:
        """Take up a track with one of its sample entries, which are numbered from 1."""
        if not 0 < description <= len(track.entries):
            raise ProtocolViolation(f"there is no sample entry {description}", "ISO 14496-12 8.5.2")
        codec, config, binding = accept(self._registry, track.entries[description - 1])
        known = self._inputs.get(track.id)
        if known is not None and known.codec is codec:
            known.description = description
            self._configure(known, config)
            return known
        rate = VIDEO_CLOCK if codec.kind is Kind.VIDEO else self._sample_rate(codec, config, track)
        added = self._publisher.add_track(codec, rate, config, language=language_tag(track.language))
        found = self._inputs[track.id] = _Input(codec, binding, added, description, config)
        return found

    def _sample_rate(self, codec: Codec, config: CodecConfig | None, track: MovieTrack) -> int:
        info = self._registry.get(codec, INFO)
        described = info.describe(config) if info is not None and config is not None else None
        return described.sample_rate if isinstance(described, AudioInfo) else track.timescale

    def _configure(self, entry: _Input, config: CodecConfig | None) -> None:
        if config is not None and config != entry.config:
            entry.config = config
            self._publisher.configure(entry.track.id, config)

    def _sample(self, sample: Sample) -> None:
        track = sample.track
        entry = self._inputs.get(track.id)
        if entry is None:
            return
        try:
            if sample.description != entry.description:
                entry = self._describe(track, sample.description)
            unit = entry.binding.decode(sample.data, sample.key, entry.config)
        except ProtocolViolation:
            # One frame that can't be read is no reason to end a stream: encoders have hiccups.
            self._bad += 1
            self._publisher.dropped += 1
            if self._bad > MAX_BAD_FRAMES:
                raise
            return
        self._bad = 0
        self._configure(entry, unit.config)
        rate = track.timescale
        # How long sound lasts its codec knows; what the file says is when the next frame comes.
        duration = to_ns(sample.duration, rate) if entry.codec.kind is Kind.VIDEO else None
        self._publisher.write(
            entry.track.id,
            unit.units,
            pts=to_ns(sample.pts, rate),
            dts=to_ns(sample.dts, rate),
            key=unit.key,
            duration=duration or None,
        )
