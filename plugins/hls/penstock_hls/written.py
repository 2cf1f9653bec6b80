"""Renditions of the kernel's as playlists: rendered once for each change, and the same bytes for everybody."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple
from weakref import WeakKeyDictionary

from penstock.media import NS, Kind
from penstock.registry import INFO, AudioInfo, VideoInfo
from penstock.rendition import PART_TARGETS, Rendition
from penstock.segment import Segment
from penstock.segments import SegmentStore
from penstock_hls.media_playlist import (
    Map,
    MediaPlaylist,
    MediaSegment,
    PartialSegment,
    PreloadHint,
    RenditionReport,
    ServerControl,
    target_duration,
)
from penstock_hls.multivariant_playlist import MediaRendition, MultivariantPlaylist
from penstock_hls.multivariant_playlist import Variant as StreamVariant
from penstock_hls.resource import Kind as ResourceKind
from penstock_hls.resource import Resource, Variant

MARK = "\x1a"
"""Stands in a rendered playlist where a viewer's query goes."""
HOLD_BACK = 3
"""Target durations, and part targets, from the end at which players begin (RFC 8216bis 4.4.3.8)."""
SKIP = 6
"""Target durations from the end that a delta update always tells (4.4.3.8)."""
SEGMENTS: dict[Variant, int] = {"ts": 2, "fmp4": 2, "ll": 1}
"""Segments that a playlist has at least while the stream goes on. A player has to live on what it was told until it loads the
playlist again, after a target duration (6.3.4): one segment is over then (ADR 0022). Parts go on; but players that
know nothing of them give up a playlist without a segment, and hls.js does.
"""
_VERSIONS = {"ts": 3, "fmp4": 7, "ll": 9}
"""RFC 8216bis 8: fractions in EXTINF; EXT-X-MAP, and what Apple asks for fragmented MP4; EXT-X-SKIP."""
_GAP_VERSION = 8
_AUDIO = "audio"
_UNKNOWN_BANDWIDTH = 100_000


class _Rendered(NamedTuple):
    version: tuple[int, int, bool]
    template: bytes
    plain: bytes


_rendered: WeakKeyDictionary[Rendition, dict[tuple[Variant, bool], _Rendered]] = WeakKeyDictionary()


def media_playlist(rendition: Rendition, variant: Variant, query: str = "", *, skip: bool = False) -> bytes:
    """The playlist of a rendition as it is now, with `query` (such as ``?token=x``) after each URI."""
    store = rendition.store
    known = _rendered.setdefault(rendition, {})
    version = rendition.version, target_duration(store.target), rendition.ended
    found = known.get((variant, skip))
    if found is None or found.version != version:
        template = Written(rendition, variant).playlist(skip=skip).write().encode()
        found = _Rendered(version, template, template.replace(MARK.encode(), b""))
        known[(variant, skip)] = found
    return found.template.replace(MARK.encode(), query.encode()) if query else found.plain


class Written:
    """One rendition in the terms of a playlist."""

    def __init__(self, rendition: Rendition, variant: Variant) -> None:
        self.rendition = rendition
        self.variant: Variant = variant
        self.parts = variant == "ll"
        self.target = target_duration(rendition.store.target)

    def _uri(self, kind: ResourceKind, number: int, part: int = 0) -> str:
        variant: Variant = "ts" if self.variant == "ts" else "fmp4"
        return f"{Resource(kind, variant, self.rendition.name, number, part)}{MARK}"

    def playlist(self, *, skip: bool) -> MediaPlaylist:
        rendition, low = self.rendition, self.parts
        segments = [s for s in rendition.listed if s.complete or (low and s.parts)]
        skipped = self._skippable(segments) if skip and low else 0
        independent = all(s.independent for s in segments)
        version = _VERSIONS[self.variant]
        if any(s.gap for s in segments):
            version = max(version, _GAP_VERSION)
        return MediaPlaylist(
            self.target,
            tuple(self._segments(segments[skipped:])),
            segments[0].number if segments else rendition.listed_from,
            rendition.discontinuity_sequence,
            version,
            independent,
            end=rendition.ended,
            server_control=self._control() if low else None,
            part_target=rendition.store.part_target or None if low else None,
            skipped=skipped,
            hints=self._hints() if low and not rendition.ended else (),
            reports=tuple(self._reports()) if low else (),
        )

    def _control(self) -> ServerControl:
        part = self.rendition.store.part_target
        return ServerControl(
            can_block_reload=True,
            can_skip_until=SKIP * self.target * NS,
            hold_back=HOLD_BACK * self.target * NS,
            part_hold_back=HOLD_BACK * part if part else None,
        )

    def _skippable(self, segments: list[Segment]) -> int:
        boundary = SKIP * self.target * NS
        end = segments[-1].end if segments else 0
        return sum(1 for s in segments if s.complete and end - s.end > boundary)

    def _segments(self, segments: list[Segment]) -> Iterator[MediaSegment]:
        end = segments[-1].end if segments else 0
        listing = end - PART_TARGETS * self.target * NS
        for segment in segments:
            parts: tuple[PartialSegment, ...] = ()
            # 6.2.2: parts are listed for the last three target durations.
            if self.parts and segment.end > listing:
                parts = tuple(
                    PartialSegment(
                        self._uri("part", segment.number, part.number), part.duration, part.independent
                    )
                    for part in segment.parts
                )
            yield MediaSegment(
                uri=self._uri("segment", segment.number) if segment.complete else "",
                duration=segment.duration,
                discontinuity=segment.discontinuity,
                gap=segment.gap,
                date=segment.wall // 1_000_000 * 1_000_000 or None,
                map=Map(self._uri("init", segment.init.number)) if segment.init.data else None,
                parts=parts,
            )

    def _hints(self) -> tuple[PreloadHint, ...]:
        number, part = self.rendition.position
        return (PreloadHint("PART", self._uri("part", number, part)),)

    def _reports(self) -> Iterator[RenditionReport]:
        for other in self.rendition.store.renditions.values():
            if other is not self.rendition and other.segments:
                msn, part = last_part(other)
                name = Resource("playlist", self.variant, other.name)
                yield RenditionReport(f"{name}{MARK}", msn, part if part >= 0 else None)


def last_part(rendition: Rendition) -> tuple[int, int]:
    """Number of the last segment of which something is there, and of its last part; -1 where none is listed."""
    for segment in reversed(rendition.segments):
        if segment.parts or segment.complete:
            return segment.number, len(segment.parts) - 1
    return rendition.listed_from - 1, -1


def multivariant_playlist(
    store: SegmentStore, variant: Variant, folder: str, query: str = ""
) -> MultivariantPlaylist:
    """All renditions of a store; their playlists are in `folder` (with its slash, or empty), with `query` behind."""
    return _Presentation(store, variant, folder, query).playlist()


class _Presentation:
    """Pictures as variants, each with the sound of one group; sound alone as variants itself."""

    def __init__(self, store: SegmentStore, variant: Variant, folder: str, query: str) -> None:
        self.store = store
        self.variant: Variant = variant
        self.folder = folder
        self.query = query

    def _uri(self, rendition: Rendition) -> str:
        return f"{self.folder}{Resource('playlist', self.variant, rendition.name)}{self.query}"

    def playlist(self) -> MultivariantPlaylist:
        every = list(self.store.renditions.values())
        pictures = [r for r in every if r.kind is Kind.VIDEO]
        sounds = [r for r in every if r.kind is Kind.AUDIO]
        mixed = [r for r in pictures if len(r.tracks) > 1]
        if not pictures:
            # Sound alone: each codec is a variant, and several in one are alternatives.
            pictures, mixed = sounds[:1], sounds[:1]
            sounds = sounds[1:]
        groups: dict[str, list[Rendition]] = {}
        for sound in sounds:
            groups.setdefault(_codec_family(sound), []).append(sound)
        if mixed and sounds:
            # What is in the pictures' own segments is the group's first, and has no playlist.
            groups = {"": sounds}
        renditions = [
            rendition
            for number, group in enumerate(groups.values())
            for rendition in self._group(_group_name(number), group, mixed[0] if mixed else None)
        ]
        variants = [
            self._variant(picture, _group_name(number) if group else None, group)
            for picture in pictures
            for number, group in enumerate(list(groups.values()) or [[]])
        ]
        return MultivariantPlaylist(
            tuple(variants), tuple(renditions), 7 if self.variant != "ts" else 4, independent_segments=True
        )

    def _group(
        self, name: str, sounds: list[Rendition], within: Rendition | None
    ) -> Iterator[MediaRendition]:
        first = True
        if within is not None:
            yield self._rendition(name, within, None, default=True, number=1)
            first = False
        for number, sound in enumerate(sounds, 2 if within is not None else 1):
            yield self._rendition(name, sound, self._uri(sound), default=first, number=number)
            first = False

    def _rendition(
        self, group: str, rendition: Rendition, uri: str | None, *, default: bool, number: int
    ) -> MediaRendition:
        track = next(t for t in rendition.tracks if t.kind is Kind.AUDIO)
        info = self.store.stream.registry.get(track.codec, INFO)
        described = info.describe(track.config) if info is not None and track.config is not None else None
        language = _printable(track.language or "")
        return MediaRendition(
            "AUDIO",
            group,
            f"{language or 'Audio'} {number}",
            uri,
            language or None,
            default,
            # 4.4.6.1: AUTOSELECT, because it is the default or may be chosen by its language.
            default or bool(language),
            str(described.channels) if isinstance(described, AudioInfo) and described.channels else None,
        )

    def _variant(self, picture: Rendition, group: str | None, sounds: list[Rendition]) -> StreamVariant:
        peak, average = bandwidth(picture)
        if sounds:
            rates = [bandwidth(sound) for sound in sounds]
            peak, average = peak + max(r[0] for r in rates), average + max(r[1] for r in rates)
        codecs = dict.fromkeys(code for r in (picture, *sounds) for code in r.writer.codecs)
        lead = next(t for t in picture.tracks if t.id == picture.lead)
        info = self.store.stream.registry.get(lead.codec, INFO)
        described = info.describe(lead.config) if info is not None and lead.config is not None else None
        resolution = rate = None
        if isinstance(described, VideoInfo):
            resolution = described.width, described.height
            rate = round(1000 * (described.frame_rate or NS / picture.frame_interval))
        return StreamVariant(
            self._uri(picture), peak, average, ",".join(codecs) or None, resolution, rate, group
        )


def bandwidth(rendition: Rendition) -> tuple[int, int]:
    """Peak and average bits per second (RFC 8216bis 4.4.6.2) of what is there; a guess where that is too little."""
    complete = [s for s in rendition.segments if s.complete and s.duration]
    duration = sum(s.duration for s in complete)
    size = sum(s.size for s in complete)
    last = rendition.open
    if not duration and last is not None and last.end > last.dts:
        duration, size = last.end - last.dts, last.size
    average = max(1, size * 8 * NS // duration) if duration else _UNKNOWN_BANDWIDTH
    return max(rendition.peak, average), average


def _codec_family(rendition: Rendition) -> str:
    return rendition.writer.codecs[0] if rendition.writer.codecs else ""


def _group_name(number: int) -> str:
    return f"{_AUDIO}{number or ''}"


def _printable(text: str) -> str:
    """A language as a publisher gave it, as far as it is one (RFC 5646)."""
    return text if text.isascii() and text.replace("-", "").isalnum() and len(text) <= 35 else ""
