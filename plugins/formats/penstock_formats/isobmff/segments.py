"""CMAF for carriers that are pulled: a stream's tracks in segments of fragments, one rendition for each."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence

from penstock.errors import ProtocolViolation
from penstock.media import Frame, Kind, Track, to_ticks
from penstock.registry import Registry
from penstock.segment import Segment, SegmentWriter
from penstock_formats.isobmff.binding import ISOBMFF
from penstock_formats.isobmff.brand import Brands
from penstock_formats.isobmff.muxer import FragmentMuxer
from penstock_formats.isobmff.producer_time import ProducerTime

RARE = frozenset({"pcma", "pcmu"})
"""What MP4 carries, and browsers do not play."""

_STYP = Brands("msdh", ("msdh",)).build("styp")


class CmafFormat:
    """Each track alone (ADR 0016), in parts that are a fragment each: HLS with and without parts, DASH, and recordings.

    Renditions are named for their tracks: ``v1``, ``a2``.
    """

    key: Hashable = "cmaf"
    parts = True

    def takes(self, registry: Registry, track: Track) -> bool:
        return track.codec.name not in RARE and registry.get(track.codec, ISOBMFF) is not None

    def group(
        self, registry: Registry, tracks: Iterable[Track]
    ) -> tuple[dict[str, list[Track]], dict[int, str]]:
        groups: dict[str, list[Track]] = {}
        left_out: dict[int, str] = {}
        for track in sorted(tracks, key=lambda t: t.kind is not Kind.VIDEO):
            if track.kind is Kind.DATA or registry.get(track.codec, ISOBMFF) is None:
                left_out[track.id] = f"MP4 cannot carry {track.codec.name}"
            else:
                groups[f"{track.kind[0]}{track.id}"] = [track]
        return groups, left_out

    def writer(self, registry: Registry, tracks: Sequence[Track]) -> SegmentWriter:
        return CmafWriter(registry, tracks)


class CmafWriter:
    """One track. A segment begins with ``styp`` and the wall time of its first frame (``prft``)."""

    def __init__(self, registry: Registry, tracks: Sequence[Track]) -> None:
        self._muxer = FragmentMuxer(registry, tracks)
        self._changed = False
        """Whether the next frame is the first after a change of config."""
        for reason in self._muxer.left_out.values():
            raise ProtocolViolation(reason)
        self.init = self._muxer.init
        self.tracks = self._muxer.tracks
        self.codecs = self._muxer.codecs

    def fits(self, track: Track) -> bool:
        return self._muxer.fits(track)

    def start(self, segment: Segment) -> bytes:
        track = self.tracks[0]
        # FFmpeg and GStreamer load the second init segment and pass over what is in it (HLS): their decoders would go on with the
        # old parameter sets. Others take what they have already.
        self._changed = segment.discontinuity and segment.number == segment.init.number
        return _STYP + ProducerTime(track.id, to_ticks(segment.time, track.clock_rate), segment.wall).build()

    def write(self, frames: Sequence[Frame], ends: Mapping[int, int]) -> bytes:
        changed, self._changed = self._changed, False
        return b"".join(self._muxer.fragment(frames, ends, configured=changed))
