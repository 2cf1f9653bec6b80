"""Frames to fragments: CMAF chunks, parts and segments of HLS and DASH, a stream over HTTP, a recording."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

from penstock.errors import ProtocolViolation
from penstock.media import NS, Frame, Track, to_ticks
from penstock.registry import INFO, Registry, VideoInfo
from penstock_formats.isobmff.binding import ISOBMFF
from penstock_formats.isobmff.fragment import TrackRun, build_moof
from penstock_formats.isobmff.init_segment import BRANDS, CMAF_BRANDS, InitTrack, build_init
from penstock_formats.isobmff.sample_entry import SampleEntry

MAX_DURATION = 0xFFFFFFFF
MAX_COMPOSITION = 0x7FFFFFFF
"""What the fields of a sample hold, in ticks."""

STRAYS = 50
"""One part in so many of a second is what sound and picture may be apart: nobody sees that."""

_HALF = NS // 2
_DEFAULT_INTERVAL = NS // 25


class _Slot:
    """One track: how it is described, and where its decode times are."""

    __slots__ = ("binding", "counted", "description", "interval", "last", "rate")

    def __init__(self, description: InitTrack, interval: int) -> None:
        self.description = description
        self.binding = description.binding
        self.rate = description.track.clock_rate
        self.interval = interval
        """The distance of the last two frames in ticks: the next duration to expect."""
        self.last = -1
        """The decode time of the last sample, in ticks."""
        self.counted = -1
        """Where the durations that were told end, counted from the decode time that was told last with a number left out."""

    def counts_wrong(self, run: TrackRun) -> bool:
        """Whether who adds up durations has lost the time of `run`."""
        return self.counted >= 0 and abs(run.decode_time - self.counted) > self.rate // STRAYS

    def run(self, frames: Sequence[Frame], sizes: list[int], end: int | None) -> TrackRun:
        """Times of `frames`, the last of which ends at `end` (ns) where that is known."""
        rate, last = self.rate, frames[-1]
        times: list[int] = []
        before = self.last
        for frame in frames:
            ticks = (frame.dts * rate + _HALF) // NS
            if ticks <= before:
                # Frames that came in disorder are only a microsecond apart, and each needs a tick.
                ticks = before + 1
            times.append(ticks)
            before = ticks
        composition = [
            max(0, (frame.pts * rate + _HALF) // NS - ticks)
            for frame, ticks in zip(frames, times, strict=True)
        ]
        previous = times[-2] if len(times) > 1 else self.last
        if previous >= 0 and before - previous <= rate:
            self.interval = before - previous
        if end is None and last.duration:
            end = last.dts + last.duration
        following = before + self.interval if end is None else max(to_ticks(end, rate), before + 1)
        durations = [b - a for a, b in pairwise((*times, following))]
        self.last = before
        return TrackRun(
            self.description.track.id,
            times[0],
            [min(n, MAX_DURATION) for n in durations],
            sizes,
            [frame.key for frame in frames],
            [min(n, MAX_COMPOSITION) for n in composition] if any(composition) else None,
        )


class FragmentMuxer:
    """Writes tracks as one ISO media stream: `init` first, then what `fragment` gives.

    Decode and composition times are the stream's own, in ticks of each track's clock, without edit lists: to the
    player a frame is at its `pts` (ADR 0012). With `in_band` video carries changes of its config in its key frames,
    for responses that cannot send a second init segment; else see `fits`.

    `left_out` says which tracks are not carried, by id, and why; `tracks` are those that are.
    """

    def __init__(self, registry: Registry, tracks: Iterable[Track], *, in_band: bool = False) -> None:
        self._registry = registry
        self._in_band = in_band
        self._slots: dict[int, _Slot] = {}
        self._sequence = 0
        self.left_out: dict[int, str] = {}
        for track in tracks:
            try:
                description = self._describe(track)
            except ProtocolViolation as violation:
                self.left_out[track.id] = str(violation)
            else:
                self._slots[track.id] = _Slot(description, self._interval(track))

    def _describe(self, track: Track) -> InitTrack:
        binding = self._registry.get(track.codec, ISOBMFF)
        if binding is None:
            raise ProtocolViolation(f"MP4 cannot carry {track.codec.name}")
        if track.config is None:
            raise ProtocolViolation(f"the config of {track.codec.name} is not known yet")
        return InitTrack(track, binding, binding.describe(track, self._in_band))

    def _interval(self, track: Track) -> int:
        """The duration of a frame to expect before two were seen."""
        info = self._registry.get(track.codec, INFO)
        if info is not None and track.config is not None:
            described = info.describe(track.config)
            if isinstance(described, VideoInfo) and described.frame_rate and described.frame_rate >= 1:
                return round(track.clock_rate / described.frame_rate)
        return to_ticks(_DEFAULT_INTERVAL, track.clock_rate)

    @property
    def tracks(self) -> tuple[Track, ...]:
        """The tracks that are carried, with the config that the init segment has."""
        return tuple(slot.description.track for slot in self._slots.values())

    @property
    def entries(self) -> tuple[SampleEntry, ...]:
        """The sample entry of each of `tracks`."""
        return tuple(slot.description.entry for slot in self._slots.values())

    @property
    def codecs(self) -> tuple[str, ...]:
        """The RFC 6381 string of each of `tracks`, as its sample entry is named."""
        found: list[str] = []
        for slot in self._slots.values():
            one = slot.description
            info = self._registry.get(one.track.codec, INFO)
            if info is not None and one.track.config is not None:
                name, dot, rest = info.codecs_string(one.track.config).partition(".")
                found.append(one.entry.format + dot + rest if dot else name)
        return tuple(found)

    @property
    def init(self) -> bytes:
        """The init segment of the tracks as they are configured now. Raises `ValueError` where none is carried."""
        if not self._slots:
            raise ValueError(f"no track to carry: {self.left_out}")
        described = [slot.description for slot in self._slots.values()]
        return build_init(described, CMAF_BRANDS if self._is_cmaf(described) else BRANDS)

    def _is_cmaf(self, described: list[InitTrack]) -> bool:
        """One track, whose earliest picture of a fragment is at its decode time: nothing is reordered."""
        if len(described) > 1:
            return False
        track = described[0].track
        info = self._registry.get(track.codec, INFO)
        return info is not None and track.config is not None and not info.reorder(track.config)

    def fits(self, track: Track) -> bool:
        """Whether frames of `track` may follow under the init segment that was given: false where its config changed."""
        slot = self._slots.get(track.id)
        if slot is None:
            return False
        config = slot.description.track.config
        return track.config is config or track.config == config or (self._in_band and slot.binding.in_band)

    def change(self, track: Track) -> None:
        """Carry `track` with its new config from here on: `init` has to be sent anew, after a discontinuity.

        Raises `ProtocolViolation` where the new config cannot be carried.
        """
        self._slots[track.id].description = self._describe(track)

    def leave_out_number(self) -> None:
        """The next fragment's number is not the one that follows: for players that take that for going on without a gap."""
        self._sequence += 1

    def fragment(
        self, frames: Iterable[Frame], ends: Mapping[int, int] | None = None, *, configured: bool = False
    ) -> list[bytes]:
        """The ``moof`` and ``mdat`` of `frames`, in pieces to be sent one after the other; empty where there is nothing.

        `ends` has the dts of the frame that comes next in a track, by track id, where that is known already: it tells
        how long the last sample lasts. Else that is the frame's own duration, or the interval before it: what the next
        fragment says of its decode time is right in any case. What is before the stream's zero is left out, since
        decode times are unsigned. With `configured` the first frame of each track has its config in band, although the init
        segment has it. Raises `ValueError` for a frame that does not fit (see `fits`).
        """
        runs: list[TrackRun] = []
        samples: list[bytes] = []
        for slot, own in self._by_track(frames):
            encode, in_band = slot.binding.encode, self._in_band
            data = [encode(frame, in_band) for frame in own]
            if configured:
                data[0] = encode(own[0], True)
            track_id = slot.description.track.id
            runs.append(slot.run(own, list(map(len, data)), ends.get(track_id) if ends else None))
            samples += data
        if not runs:
            return []
        self._sequence += 1
        slots = [self._slots[run.track_id] for run in runs]
        if any(map(_Slot.counts_wrong, slots, runs)):
            # VLC 3 adds up durations, and believes decode times only where a fragment's number does not follow the one before.
            # ISO/IEC 14496-12 8.8.5: numbers increase.
            self._sequence += 1
            for slot in self._slots.values():
                slot.counted = -1
        for slot, run in zip(slots, runs, strict=True):
            slot.counted = (run.decode_time if slot.counted < 0 else slot.counted) + sum(run.durations)
        return [build_moof(self._sequence, runs), *samples]

    def _by_track(self, frames: Iterable[Frame]) -> Iterator[tuple[_Slot, list[Frame]]]:
        groups: dict[int, list[Frame]] = {}
        for frame in frames:
            track = frame.track
            if track.id in self._slots and frame.dts >= 0:
                if not self.fits(track):
                    raise ValueError(f"the config of track {track.id} changed: see `change`")
                groups.setdefault(track.id, []).append(frame)
        return ((slot, groups[id]) for id, slot in self._slots.items() if id in groups)
