"""A transport stream to frames: its program to a publisher's tracks, its times to the source's clock."""

from __future__ import annotations

from attrs import define

from penstock.media import CodecConfig, Kind, Track
from penstock.publisher import TrackWriter
from penstock.registry import INFO, AudioInfo
from penstock.server import Server
from penstock_formats.language import language_tag
from penstock_formats.mpegts.binding import CLOCK_RATE
from penstock_formats.mpegts.demuxer import Demuxer
from penstock_formats.mpegts.event import Fault, Program, StreamConfig, TsFrame, TsStream

MAX_FAULTS = 100
"""Faults in a row, without a frame between them, before the publisher is refused."""


@define
class _Input:
    stream: TsStream
    track: Track | None = None


class Ingest:
    """What one publisher sends as a transport stream. After each `receive`, call the publisher's `flush`."""

    def __init__(self, publisher: TrackWriter, server: Server) -> None:
        self._publisher = publisher
        self._server = server
        self._demuxer = Demuxer(server.registry)
        self._inputs: dict[int, _Input] = {}
        self._faults = 0
        self._told = False

    def start_segment(self) -> None:
        """What is received next is another file: what is in hand comes out, and counters begin anew."""
        self._demuxer.start_segment()
        self._deliver()

    def receive(self, data: bytes) -> None:
        """Take the next bytes. Raises `ProtocolViolation` where there is no MPEG-TS, or nothing but faults."""
        self._demuxer.receive_data(data)
        self._deliver()

    def end(self) -> None:
        """The stream is over: the last frame of each track comes out."""
        self._demuxer.end()
        self._deliver()

    def _deliver(self) -> None:
        demuxer = self._demuxer
        while (event := demuxer.next_event()) is not None:
            if type(event) is TsFrame:
                self._frame(event)
            elif isinstance(event, StreamConfig):
                self._configure(event.pid, event.config)
            elif isinstance(event, Program):
                self._program(event)
            elif isinstance(event, Fault):
                self._fault(event)

    def _program(self, program: Program) -> None:
        known = self._inputs
        self._inputs = {}
        for stream in program.streams:
            before = known.get(stream.pid)
            kept = before is not None and before.stream.codec is stream.codec
            self._inputs[stream.pid] = _Input(stream, before.track if before is not None and kept else None)
        self._check_complete()

    def _configure(self, pid: int, config: CodecConfig) -> None:
        entry = self._inputs.get(pid)
        if entry is None:
            return
        if entry.track is not None:
            self._publisher.configure(entry.track.id, config)
            return
        stream = entry.stream
        entry.track = self._publisher.add_track(
            stream.codec, self._clock_rate(stream, config), config, language=language_tag(stream.language)
        )
        self._check_complete()

    def _clock_rate(self, stream: TsStream, config: CodecConfig) -> int:
        info = self._server.registry.get(stream.codec, INFO)
        if stream.codec.kind is not Kind.AUDIO or info is None:
            return CLOCK_RATE
        described = info.describe(config)
        return described.sample_rate if isinstance(described, AudioInfo) else CLOCK_RATE

    def _check_complete(self) -> None:
        """Ready once each stream of sound and picture is there; data may never say anything."""
        media = [entry for entry in self._inputs.values() if entry.stream.codec.kind is not Kind.DATA]
        tracks = [entry.track.id for entry in media if entry.track is not None]
        if media and len(tracks) == len(media):
            self._publisher.tracks_complete(tracks)

    def _frame(self, frame: TsFrame) -> None:
        entry = self._inputs.get(frame.pid)
        if entry is None or entry.track is None:
            self._publisher.dropped += 1
            return
        self._faults = 0
        self._publisher.write(entry.track.id, frame.units, pts=frame.pts, dts=frame.dts, key=frame.key)

    def _fault(self, fault: Fault) -> None:
        """What was damaged is left out; the first is logged, and a stream of nothing else is none."""
        self._faults += 1
        self._publisher.dropped += 1
        if self._faults > MAX_FAULTS:
            raise fault.violation
        if not self._told:
            self._told = True
            self._server.log_peer(
                self._publisher.session,
                "damaged transport stream",
                level="warning",
                reason=str(fault.violation),
            )
