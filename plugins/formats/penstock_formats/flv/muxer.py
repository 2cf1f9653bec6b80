"""Frames to tags: what a carrier of FLV wraps, once for all its readers."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any

from attrs import define, field

from penstock.alternatives import Alternatives
from penstock.feed import Cursor
from penstock.fixed_tracks import FixedTracks
from penstock.media import CodecConfig, Event, Frame, Kind, Track, TrackAdded, TrackChanged, to_ticks
from penstock.registry import INFO, AudioInfo, Registry, VideoInfo
from penstock.ring import Unit
from penstock_formats.amf import amf0
from penstock_formats.flv.binding import FLV, FlvBinding
from penstock_formats.flv.build import audio_header, video_header
from penstock_formats.flv.packet import AAC, PacketType, TagType
from penstock_formats.flv.script import SCRIPT, ScriptConfig

MS = 1000
MAX_TAGS = 64
"""Headers of pictures that are kept: with a steady rate there are some ten."""


def surely_takes(registry: Registry, fourccs: frozenset[str] | None, track: Track) -> bool:
    """Whether a reader that announced `fourccs` knows that codec: one that announced nothing knows legacy FLV."""
    binding = registry.get(track.codec, FLV)
    if binding is None:
        return False
    known = fourccs or frozenset()
    return _legacy_id(binding) is not None or binding.fourcc in known or "*" in known


def _legacy_id(binding: FlvBinding) -> int | None:
    """Legacy FLV has no number for HEVC that all agree on."""
    return None if binding.fourcc == "hvc1" else binding.legacy_id


@define
class _Slot:
    """One track's place in the messages: its codec as the reader knows it, and the config that was sent last."""

    binding: FlvBinding
    codec: int | str
    kind: Kind
    number: int
    config: CodecConfig | None = None
    tag: bytes = b""
    """What is before each sound frame, once known."""
    flags: dict[str, Any] = field(factory=dict[str, Any])
    tags: dict[tuple[bool, int], bytes] = field(factory=dict[tuple[bool, int], bytes])
    """What is before each picture, by whether it is key and its composition time: there are few."""
    in_band: bool = False
    """Whether the config has changed, since when key frames have it as well: VLC does not look at a second header."""


class FlvMuxer:
    """A feed's muxer of tags; how one is wrapped its carrier says. `left_out` says which tracks are not there, and why.

    `fourccs` is what the reader announced: None where it announced nothing, and is then sent everything.

    A late track of a kind that the reader does not have yet is added. Of another codec in place of the one it has its
    tags could tell, but FFmpeg's demuxer makes a second stream of that, which players do not show: it is let go.
    """

    carrier = "FLV"

    def __init__(
        self,
        registry: Registry,
        tracks: Iterable[Track],
        *,
        fourccs: frozenset[str] | None = None,
        multitrack: bool = False,
    ) -> None:
        self._registry = registry
        self._fourccs = fourccs
        self._multitrack = multitrack
        self._slots: dict[int, _Slot | None] = {}
        self._time = 0
        self.left_out: dict[int, str] = {}
        self._fixed = FixedTracks(())
        tracks = tuple(tracks)
        self._alternatives = Alternatives(registry, tracks)
        for track in tracks:
            self._add(track)
            if (slot := self._slots[track.id]) is not None:
                # Every reader's preamble has it; that of a late track comes with its first frame.
                slot.config = track.config

    @property
    def key(self) -> Hashable:
        """See `penstock.feed.Muxer`."""
        raise NotImplementedError

    def wrap(self, type: TagType, time: int, body: bytes) -> bytes:
        """One tag's body as the carrier has it; `time` in ms."""
        raise NotImplementedError

    @property
    def kinds(self) -> set[Kind]:
        """What there is of sound and picture."""
        return {slot.kind for slot in self._slots.values() if slot is not None}

    def _add(self, track: Track) -> None:
        slot = self._slot(track)
        # Readers begin at key frames of the first of a kind: without it they have nothing to begin with.
        if slot is not None and not slot.number:
            self._fixed.add(track)

    def _slot(self, track: Track) -> _Slot | None:
        if track.id in self._slots:
            return self._slots[track.id]
        slot: _Slot | None = None
        reason = ""
        binding = self._registry.get(track.codec, FLV)
        if track.codec is SCRIPT:
            pass
        elif binding is None:
            reason = f"{self.carrier} cannot carry {track.codec.name}"
        elif not (reason := self._alternatives.reason(track)):
            number = sum(1 for s in self._slots.values() if s is not None and s.kind is track.kind)
            codec = self._codec(binding, number)
            if codec is None:
                reason = f"the reader does not take {track.codec.name}"
            elif number and not self._multitrack:
                reason = "the reader takes one track of a kind"
            else:
                slot = _Slot(binding, codec, track.kind, number)
                if track.kind is Kind.AUDIO:
                    slot.flags = self._sound_flags(codec, track)
        self._slots[track.id] = slot
        if reason:
            self.left_out[track.id] = reason
        return slot

    def _codec(self, binding: FlvBinding, number: int) -> int | str | None:
        """How the reader is told the codec: the legacy number where there is one, else the FourCC it takes."""
        fourcc, known = binding.fourcc, self._fourccs
        taken = fourcc is not None and (known is None or fourcc in known or "*" in known)
        # Legacy FLV has no second track.
        if (legacy := _legacy_id(binding)) is not None and not number:
            return legacy
        return fourcc if taken else None

    def _note(self, event: Event) -> Sequence[Unit]:
        self._fixed.note(event)
        if isinstance(event, TrackAdded):
            self._add(event.track)
        if isinstance(event, TrackAdded | TrackChanged) and event.track.codec is SCRIPT:
            config = event.track.config
            if isinstance(config, ScriptConfig) and config.metadata:
                body = amf0.encode("onMetaData", dict(config.metadata))
                # FFmpeg's demuxer (and VLC with it) takes onMetaData at another time than 0 for the first of a track of
                # subtitles, which nothing follows. The unit is at the time of its neighbours: a ring is measured in time.
                message = self.wrap(TagType.SCRIPT, 0, body)
                return (Unit(event.track, (message,), self._time),)
        return ()

    def mux(self, event: Event) -> Sequence[Unit]:
        if not isinstance(event, Frame):
            return self._note(event)
        frame, track = event, event.track
        self._time = dts = frame.dts
        time = to_ticks(dts, MS)
        slot = self._slots.get(track.id) or self._slot(track)
        if slot is None:
            if track.codec is SCRIPT:
                return (Unit(track, (self.wrap(TagType.SCRIPT, time, frame.units[0]),), dts),)
            return ()
        changed = self._changed(slot, track, dts) if slot.config is not track.config else None
        if slot.kind is Kind.VIDEO:
            later = frame.pts != dts and slot.binding.has_composition_time
            kind = frame.key, to_ticks(frame.pts, MS) - time if later else 0
            tag = slot.tags.get(kind) or self._tag(slot, *kind)
            in_band = slot.in_band and (frame.key or changed is not None)
            message = self.wrap(TagType.VIDEO, time, tag + slot.binding.encode(frame, in_band))
            unit = Unit(track, (message,), dts, key=frame.key and not slot.number, video=True)
        else:
            if not slot.tag:
                slot.tag = audio_header(
                    slot.codec, PacketType.CODED_FRAMES, track_id=slot.number, **slot.flags
                )
            message = self.wrap(TagType.AUDIO, time, slot.tag + slot.binding.encode(frame))
            unit = Unit(track, (message,), dts)
        return (unit,) if changed is None else (changed, unit)

    def _tag(self, slot: _Slot, key: bool, composition_time: int) -> bytes:
        if len(slot.tags) >= MAX_TAGS:
            slot.tags.clear()
        tag = slot.tags[key, composition_time] = video_header(
            slot.codec,
            PacketType.CODED_FRAMES,
            key=key,
            composition_time=composition_time,
            track_id=slot.number,
        )
        return tag

    def _changed(self, slot: _Slot, track: Track, time: int) -> Unit | None:
        """What tells of a config that is another than the one before, or that no preamble had."""
        before, slot.config, slot.tag = slot.config, track.config, b""
        if before == track.config:
            return None
        slot.in_band = before is not None
        return self.config(track, time)

    def config(self, track: Track, time: int) -> Unit | None:
        slot = self._slot(track)
        header = self._sequence_header(slot, track, to_ticks(time, MS)) if slot is not None else b""
        return Unit(track, (header,), time, config=True) if header else None

    def _sequence_header(self, slot: _Slot, track: Track, time: int) -> bytes:
        config = track.config
        if config is None:
            return b""
        if slot.kind is Kind.AUDIO:
            slot.flags = self._sound_flags(slot.codec, track)
        record = slot.binding.config_record(config)
        if record is None:
            return b""
        if slot.kind is Kind.VIDEO:
            tag = video_header(slot.codec, PacketType.SEQUENCE_START, key=True, track_id=slot.number)
            return self.wrap(TagType.VIDEO, time, tag + record)
        tag = audio_header(slot.codec, PacketType.SEQUENCE_START, track_id=slot.number, **slot.flags)
        return self.wrap(TagType.AUDIO, time, tag + record)

    def _sound_flags(self, codec: int | str, track: Track) -> dict[str, Any]:
        """The rate and channels of legacy FLV; AAC's are always the same and mean nothing (FLV E.4.2.1)."""
        info = self._registry.get(track.codec, INFO)
        described = info.describe(track.config) if info is not None and track.config is not None else None
        if codec == AAC or not isinstance(described, AudioInfo):
            return {}
        rates = {5512: 0, 11025: 1, 22050: 2}
        return {"rate": rates.get(described.sample_rate, 3), "wide": True, "stereo": described.channels > 1}

    def preamble(self, cursor: Cursor) -> bytes:
        """onMetaData and the sequence headers that are in force at the cursor."""
        tracks = cursor.tracks
        out = [self.wrap(TagType.SCRIPT, 0, amf0.encode("onMetaData", self.metadata(tracks)))]
        for track in tracks:
            slot = self._slot(track)
            if slot is not None:
                unit = cursor.first(track.id)
                out.append(
                    self._sequence_header(slot, track, to_ticks(unit.time, MS) if unit is not None else 0)
                )
        return b"".join(out)

    def metadata(self, tracks: Iterable[Track]) -> dict[str, Any]:
        """What the publisher said in onMetaData, with what is known of the tracks that the reader gets."""
        found: dict[str, Any] = {}
        for track in tracks:
            if isinstance(track.config, ScriptConfig):
                found |= track.config.metadata
        for stale in ("videocodecid", "audiocodecid", "duration", "filesize"):
            found.pop(stale, None)
        for track in tracks:
            slot = self._slot(track)
            info = self._registry.get(track.codec, INFO)
            if slot is None or slot.number or info is None or track.config is None:
                continue
            described = info.describe(track.config)
            codec = int.from_bytes(slot.codec.encode(), "big") if isinstance(slot.codec, str) else slot.codec
            if isinstance(described, VideoInfo):
                found |= {"videocodecid": codec, "width": described.width, "height": described.height}
                if described.frame_rate:
                    found.setdefault("framerate", described.frame_rate)
            elif isinstance(described, AudioInfo):
                found |= {
                    "audiocodecid": codec,
                    "audiosamplerate": described.sample_rate,
                    "audiochannels": described.channels,
                    "stereo": described.channels > 1,
                }
            elif slot.kind is Kind.VIDEO:
                found["videocodecid"] = codec
        return found
