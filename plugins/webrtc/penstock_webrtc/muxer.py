"""Frames to RTP payloads, the same for all readers: what differs by reader is put in front of them when they are sent."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable, Sequence

from attrs import define, field

from penstock.errors import Closed
from penstock.fixed_tracks import FixedTracks
from penstock.media import NS, Epoch, Event, Frame, Kind, Track, TrackAdded
from penstock.registry import Registry
from penstock.ring import Unit
from penstock_formats.rtp import RTP, Packetizer, SampledPacketizer
from penstock_webrtc.layers import Layers
from penstock_webrtc.rate import Rate
from penstock_webrtc.retransmission import HISTORY_FRAMES
from penstock_webrtc.units import Batches, PayloadUnit

MAX_PAYLOAD = 1160
"""Bytes of an RTP payload: with all headers, the tag and what a retransmission adds 1250 over IPv6, which every path takes."""
REORDERED = "its pictures are reordered (B-frames), which browsers show in the wrong order"
GROUP_NS = 10 * NS
"""Pictures since the last key frame are kept for so long: readers begin with them, and what they lose of that is lost at once."""
STEP_NS = 2 * NS
"""A second picture behind the one before it within so long is reordering; a single one is a source whose clock was set."""
LATE = "the peer was told of the tracks that there were when it came"


@define
class _Source:
    packetizer: Packetizer
    clock_rate: int
    sampled: SampledPacketizer | None
    pts: int = 0
    stepped: int | None = None
    """The dts of the last picture that was to be shown before the one that it came after."""
    kept: deque[PayloadUnit] = field(factory=deque[PayloadUnit])
    group: int = 0
    """The number of the last unit that its track may begin with."""

    def keep(self, unit: PayloadUnit) -> None:
        """Hold what a reader may ask for again: as much as of any, and what who has just come was given to begin with."""
        kept = self.kept
        kept.append(unit)
        if unit.begins:
            self.group = unit.number
        while len(kept) > HISTORY_FRAMES and (
            kept[0].number < self.group or unit.time - kept[0].time > GROUP_NS
        ):
            kept.popleft()


class PayloadMuxer:
    """Muxer of all tracks that RTP carries. Raises `Closed` where pictures come out of order.

    Of `layers`, alternatives of one group, it has all, of which each reader takes one; some of them may come later.
    """

    def __init__(self, registry: Registry, tracks: Iterable[Track], layers: Sequence[Track] = ()) -> None:
        self.layers = Layers(registry, layers)
        self.rate = Rate()
        """Of all pictures."""
        self.batches = Batches()
        self._registry = registry
        self.left_out: dict[int, str] = {}
        """Tracks that came too late, and why their readers do not get them."""
        self._sources: dict[int, _Source] = {}
        self._leader = -1
        carried = {track.id: track for track in layers}
        for track in (*tracks, *layers):
            if track.kind is Kind.DATA or track.id in self._sources or self._source(track) is None:
                continue
            carried[track.id] = track
            if self._leader < 0 and track.kind is Kind.VIDEO:
                self._leader = track.id
        self._fixed = FixedTracks(carried.values())
        self.key: Hashable = ("webrtc", *sorted(self._sources), None, *sorted(track.id for track in layers))

    def _source(self, track: Track) -> _Source | None:
        binding = self._registry.get(track.codec, RTP)
        if binding is None or track.config is None:
            return None
        packetizer = binding.packetizer(track, MAX_PAYLOAD)
        # Asked once, since asking costs as much as packetising does.
        sampled = packetizer if isinstance(packetizer, SampledPacketizer) else None
        source = _Source(packetizer, binding.describe(track).clock_rate, sampled)
        self._sources[track.id] = source
        return source

    def config(self, track: Track, time: int) -> Unit | None:
        """Nothing: parameter sets travel with each key frame."""
        return None

    def mux(self, event: Event) -> Sequence[Unit]:
        if not isinstance(event, Frame):
            self._note(event)
            return ()
        source = self._sources.get(event.track.id)
        if source is None:
            source = self._source(event.track) if event.track.id in self.layers else None
            if source is None:
                return ()
        video = event.track.kind is Kind.VIDEO
        if video and event.pts < source.pts:
            if source.stepped is not None and event.dts - source.stepped < STEP_NS:
                raise Closed(REORDERED)
            source.stepped = event.dts
        source.pts = event.pts
        payloads = source.packetizer.packetize(event)
        if not payloads:
            return ()
        ticks: tuple[int, ...] = ()
        if len(payloads) > 1 and source.sampled is not None:
            # RFC 3551 4.1: samples have the time at which they are to be played, not that of their frame.
            total = 0
            later: list[int] = []
            for payload in payloads[:-1]:
                total += source.sampled.ticks(payload)
                later.append(total)
            ticks = tuple(later)
        if video:
            self.rate.frame(payloads, event.dts)
        key = event.key and event.track.id == self._leader
        if event.track.id in self.layers:
            self.layers.frame(event.track, payloads, event.dts)
            # Who joins begins with the best of those that are sent.
            key = (
                event.key and self._leader in self.layers and self.layers.alive[-1].track.id == event.track.id
            )
        after = source.kept[-1] if source.kept else None
        unit = PayloadUnit(event, tuple(payloads), ticks, source.clock_rate, key=key, after=after)
        source.keep(unit)
        return (unit,)

    def kept(self, track_id: int) -> Sequence[PayloadUnit]:
        """What readers of that track may ask for again, as it is at any time."""
        source = self._sources.get(track_id)
        return source.kept if source is not None else ()

    def _note(self, event: Event) -> None:
        self._fixed.note(event)
        if isinstance(event, TrackAdded) and event.track.kind is not Kind.DATA:
            self.left_out[event.track.id] = LATE
        elif isinstance(event, Epoch):
            for source in self._sources.values():
                source.pts = 0
