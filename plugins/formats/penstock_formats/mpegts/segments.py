"""MPEG-TS for carriers that are pulled: picture and sound in one rendition, further sound in one for each."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence

from penstock.errors import ProtocolViolation
from penstock.media import Frame, Kind, Track
from penstock.registry import INFO, Registry
from penstock.segment import Segment, SegmentWriter
from penstock_formats.mpegts.binding import MPEGTS
from penstock_formats.mpegts.muxer import Muxer
from penstock_formats.mpegts.packet import BODY, PID_NULL, SYNC

MAIN = "main"
"""The rendition of the first picture and the first sound."""
PES_FRAMES = 8
"""Frames of sound in one PES packet: a packet of 188 bytes for each alone is half stuffing."""

_STUFFING = 4 * ((SYNC << 24 | PID_NULL << 8 | 0x10).to_bytes(4) + bytes(BODY))
"""Null packets (H.222.0 2.4.3.3): GStreamer's hlsdemux2 takes a segment of three packets, as the last one may be of a
stream of sound alone, for an error.
"""

RARE = frozenset({"opus"})
"""What MPEG-TS carries, and neither Apple's players take from it nor those in pages."""

_SLACK_NS = 20_000
"""Less than two ticks of the clock of PES packets."""


class TsFormat:
    """The first picture with the first sound as ``main``; other sound by its track, as ``a3``."""

    key: Hashable = "mpegts"
    parts = False

    def takes(self, registry: Registry, track: Track) -> bool:
        return track.codec.name not in RARE and registry.get(track.codec, MPEGTS) is not None

    def group(
        self, registry: Registry, tracks: Iterable[Track]
    ) -> tuple[dict[str, list[Track]], dict[int, str]]:
        groups: dict[str, list[Track]] = {}
        left_out: dict[int, str] = {}
        taken: set[Kind] = set()
        for track in sorted(tracks, key=lambda t: t.kind is not Kind.VIDEO):
            if track.kind is Kind.DATA or registry.get(track.codec, MPEGTS) is None:
                left_out[track.id] = f"MPEG-TS cannot carry {track.codec.name}"
            elif track.kind not in taken:
                taken.add(track.kind)
                groups.setdefault(MAIN, []).append(track)
            elif track.kind is Kind.AUDIO:
                groups[f"a{track.id}"] = [track]
            else:
                left_out[track.id] = "MPEG-TS segments have one picture"
        return groups, left_out

    def writer(self, registry: Registry, tracks: Sequence[Track]) -> SegmentWriter:
        return TsWriter(registry, tracks)


class TsWriter:
    """One program. A segment begins with its tables (RFC 8216bis 3.1.1), with a key frame or in front of what is first."""

    init = b""

    def __init__(self, registry: Registry, tracks: Sequence[Track]) -> None:
        self._muxer = Muxer(registry, tracks, tables_every=None)
        for reason in self._muxer.left_out.values():
            raise ProtocolViolation(reason)
        self.tracks = tuple(tracks)
        self._begun: set[int] = set()
        """Tracks of which the segment has sound already."""
        self._configs = {track.id: track.config for track in tracks}
        infos = [(registry.get(t.codec, INFO), t.config) for t in tracks]
        self.codecs = tuple(
            info.codecs_string(config) for info, config in infos if info is not None and config is not None
        )

    def fits(self, track: Track) -> bool:
        # A transport stream could tell a new config itself; that its encoding changed is to be told as well.
        return self._configs.get(track.id) == track.config

    def start(self, segment: Segment) -> bytes:
        self._begun.clear()
        return self._muxer.config() + _STUFFING

    def write(self, frames: Sequence[Frame], ends: Mapping[int, int]) -> bytes:
        # Frames of sound that follow each other share PES packets.
        groups: list[list[Frame]] = []
        growing: dict[int, list[Frame]] = {}
        for frame in frames:
            id = frame.track.id
            group = growing.get(id)
            if group is not None and len(group) < PES_FRAMES and _follows(group[-1], frame):
                group.append(frame)
                continue
            group = [frame]
            groups.append(group)
            if frame.track.kind is not Kind.AUDIO:
                continue
            if id in self._begun:
                growing[id] = group
            # The first is alone: FFmpeg's HLS gives the first two frames of a PES packet that it begins with one time, where
            # there is sound alone.
            self._begun.add(id)
        mux = self._muxer.mux
        return b"".join([mux(*group) for group in groups])


def _follows(last: Frame, frame: Frame) -> bool:
    """Whether a receiver that counts samples from `last` on comes to the time of `frame`."""
    return last.duration is not None and abs(last.pts + last.duration - frame.pts) <= _SLACK_NS
