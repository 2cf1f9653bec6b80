"""Tags to frames: tags to tracks, sequence headers to configs, milliseconds to the stream's clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from attrs import define

from penstock.errors import ProtocolViolation
from penstock.media import Codec, CodecConfig, Kind, Track
from penstock.publisher import MAX_TRACKS, TrackWriter
from penstock.registry import INFO, AudioInfo
from penstock.server import Server
from penstock_formats.amf import amf0
from penstock_formats.flv.binding import FLV, FlvBinding
from penstock_formats.flv.clock import TagClock
from penstock_formats.flv.packet import KEY_FRAME, AudioPacket, PacketType, TagType, VideoPacket
from penstock_formats.flv.script import SCRIPT, ScriptConfig
from penstock_formats.flv.tag import parse_audio, parse_video

VIDEO_CLOCK = 90_000
MS_NS = 1_000_000
MAX_BAD_FRAMES = 100
"""Frames that their codec cannot read, in a row, before the publisher is refused."""


@define
class _Input:
    codec: Codec
    binding: FlvBinding
    name: int | str
    """What its tags call the codec."""
    track: Track | None = None
    config: CodecConfig | None = None
    foretold: bool = False
    """Whether the config is what onMetaData says, until the first frame says it itself."""


class Ingest:
    """What one publisher sends as tags, on an RTMP message stream or in an FLV file."""

    def __init__(self, publisher: TrackWriter, server: Server) -> None:
        self._publisher = publisher
        self._server = server
        self._registry = registry = server.registry
        self._clock = TagClock()
        self._inputs: dict[tuple[Kind, int], _Input] = {}
        self._expected: set[Kind] | None = None
        self._script: Track | None = None
        self._unknown: set[tuple[Kind, int | str]] = set()
        self._bad = 0
        self._codecs: dict[tuple[Kind, int | str], tuple[Codec, FlvBinding]] = {}
        for codec, binding in registry.having(FLV):
            for name in (binding.legacy_id, binding.fourcc):
                if name is not None:
                    self._codecs[codec.kind, name] = codec, binding

    def metadata(self, values: Mapping[str, Any]) -> None:
        """onMetaData, made harmless: passed on, and what it says of the tracks is believed until they are there."""
        config = ScriptConfig(values)
        if self._script is None:
            self._script = self._publisher.add_track(SCRIPT, 1000, config)
        else:
            self._publisher.configure(self._script.id, config)
        named = {Kind.VIDEO: "videocodecid", Kind.AUDIO: "audiocodecid"}
        self._expected = {kind for kind, key in named.items() if values.get(key)}
        self._foretell(values)
        self._check_complete()

    def _foretell(self, values: Mapping[str, Any]) -> None:
        """Declare sound without sequence header (G.711, MP3), of which the metadata says all there is to know.

        Its first frame comes with the first picture, which is 2 s late with x264's defaults: too long to wait for.
        """
        number, rate, stereo = (values.get(key) for key in ("audiocodecid", "audiosamplerate", "stereo"))
        if (
            (Kind.AUDIO, 0) in self._inputs
            or not isinstance(stereo, bool)
            or not isinstance(rate, int | float)
        ):
            return
        name = int(number) if isinstance(number, int | float) else ""
        found = self._codecs.get((Kind.AUDIO, name))
        if found is None:
            return
        try:
            implied = found[1].implied_config(b"", int(rate), 1 + stereo)
        except ProtocolViolation:
            # What cannot be may still be said wrongly: the first frame tells.
            return
        if implied is not None:
            entry = self._inputs[Kind.AUDIO, 0] = _Input(*found, name, foretold=True)
            self._configure(entry, implied)

    def script(self, timestamp: int, name: str, values: Iterable[Any]) -> None:
        """Another data message, such as onCuePoint: a frame of the data track."""
        if self._script is None:
            self._script = self._publisher.add_track(SCRIPT, 1000, ScriptConfig())
        time = self._clock.unwrap(timestamp) * MS_NS
        self._publisher.write(self._script.id, (amf0.encode(name, *values),), pts=time)

    def media(self, type: int, timestamp: int, body: bytes) -> None:
        """One audio or video tag; `timestamp` in ms wraps. Raises `ProtocolViolation` for what can't be read."""
        time = self._clock.unwrap(timestamp) * MS_NS
        if type == TagType.VIDEO:
            for video in parse_video(body):
                key = video.frame_type == KEY_FRAME
                self._packet(Kind.VIDEO, video, time, video.composition_time * MS_NS, key)
        else:
            for audio in parse_audio(body):
                self._packet(Kind.AUDIO, audio, time, 0, True)

    def _packet(
        self, kind: Kind, packet: VideoPacket | AudioPacket, time: int, offset: int, key: bool
    ) -> None:
        if packet.type not in (PacketType.SEQUENCE_START, PacketType.CODED_FRAMES):
            return
        entry = self._inputs.get((kind, packet.track_id))
        if entry is None or entry.name != packet.codec:
            entry = self._input(kind, packet)
            if entry is None:
                return
        if packet.type is PacketType.SEQUENCE_START:
            if not packet.data:
                # FFmpeg sends an empty one first where its input (MPEG-TS) has no config up front.
                return
            self._configure(entry, entry.binding.parse_config(packet.data))
            return
        if entry.config is None or entry.foretold:
            rate, channels = (
                (packet.sample_rate, packet.channels) if isinstance(packet, AudioPacket) else (0, 0)
            )
            implied = entry.binding.implied_config(packet.data, rate, channels)
            if implied is None:
                self._publisher.dropped += 1
                return
            entry.foretold = False
            self._configure(entry, implied)
        if entry.config is None or entry.track is None:
            return
        try:
            unit = entry.binding.decode(packet.data, key, entry.config)
        except ProtocolViolation:
            # One frame that can't be read is no reason to end a stream: encoders have hiccups.
            self._bad += 1
            self._publisher.dropped += 1
            if self._bad > MAX_BAD_FRAMES:
                raise
            return
        self._bad = 0
        if unit.config is not None:
            self._configure(entry, unit.config)
        dts = time + packet.nanoseconds
        self._publisher.write(entry.track.id, unit.units, pts=dts + offset, dts=dts, key=unit.key)

    def _input(self, kind: Kind, packet: VideoPacket | AudioPacket) -> _Input | None:
        entry = self._inputs.get((kind, packet.track_id))
        found = self._codecs.get((kind, packet.codec))
        if found is None:
            if (kind, packet.codec) not in self._unknown and len(self._unknown) < MAX_TRACKS:
                self._unknown.add((kind, packet.codec))
                reason = f"no plugin knows {kind} codec {packet.codec!r}"
                self._server.log_peer(
                    self._publisher.session, "track left out", level="warning", reason=reason
                )
            return None
        if entry is None or entry.codec is not found[0]:
            if len(self._inputs) >= MAX_TRACKS:
                raise ProtocolViolation(f"more than {MAX_TRACKS} tracks")
            entry = self._inputs[kind, packet.track_id] = _Input(*found, packet.codec)
        entry.name = packet.codec
        return entry

    def _configure(self, entry: _Input, config: CodecConfig) -> None:
        previous, entry.config = entry.config, config
        if entry.track is None:
            entry.track = self._publisher.add_track(
                entry.codec, self._clock_rate(entry.codec, config), config
            )
            self._check_complete()
        elif previous != config:
            self._publisher.configure(entry.track.id, config)

    def _clock_rate(self, codec: Codec, config: CodecConfig) -> int:
        if codec.kind is Kind.VIDEO:
            return VIDEO_CLOCK
        info: Any = self._registry.get(codec, INFO)
        described = info.describe(config) if info is not None else None
        return described.sample_rate if isinstance(described, AudioInfo) else 48_000

    def _check_complete(self) -> None:
        here = {kind for (kind, _), entry in self._inputs.items() if entry.track is not None}
        if here and (
            here >= {Kind.VIDEO, Kind.AUDIO} or (self._expected is not None and here >= self._expected)
        ):
            self._publisher.tracks_complete()
