"""Renditions of the kernel's as playlists: rendered once for each change, and the same bytes for everybody."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from weakref import WeakKeyDictionary

from penstock.media import NS, Kind, Track
from penstock.registry import INFO, AudioInfo, VideoInfo
from penstock.rendition import PART_TARGETS, Rendition
from penstock.segment import Segment
from penstock.segments import SegmentStore
from penstock_formats.language import UNDETERMINED, language_tag
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
from penstock_http.api import gzipped

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
LONG = 5 * NS
"""Where the first segment lasts as long, a playlist begins with it alone all the same, and who asks for it again shortly before
the next one is there is answered then (ADR 0022): to wait for two is to wait for longer than GStreamer's HTTP does (15 s).
"""
SOON = 8
"""The part of a target duration that is "shortly before"."""
MOST_SOON = 2 * NS
_RANGES = {16: "PQ", 18: "HLG"}
"""VIDEO-RANGE by transfer characteristics (4.4.6.2); of the others it is SDR."""
_AUDIO = "audio"
_UNKNOWN_BANDWIDTH = 100_000


class Rendered:
    """A version of a playlist, for everybody."""

    __slots__ = ("_compressed", "_template", "plain", "version")

    def __init__(self, version: tuple[int, int, bool], template: bytes) -> None:
        self.version = version
        self._template = template
        self.plain = template.replace(MARK.encode(), b"")
        self._compressed: bytes | None = None

    def text(self, query: str = "") -> bytes:
        """With `query` (such as ``?token=x``) after each URI."""
        return self._template.replace(MARK.encode(), query.encode()) if query else self.plain

    def compressed(self, plain: bytes) -> bytes:
        """What it is `plain`, as gzip: made when it is first asked for."""
        if self._compressed is None:
            self._compressed = gzipped(plain)
        return self._compressed


_rendered: WeakKeyDictionary[Rendition, dict[tuple[Variant, bool], Rendered]] = WeakKeyDictionary()


def media_playlist(rendition: Rendition, variant: Variant, *, skip: bool = False) -> Rendered:
    """The playlist of a rendition as it is now."""
    store = rendition.store
    known = _rendered.setdefault(rendition, {})
    version = rendition.version, target_duration(store.target), rendition.ended
    found = known.get((variant, skip))
    if found is None or found.version != version:
        found = Rendered(version, Written(rendition, variant).playlist(skip=skip).write().encode())
        known[(variant, skip)] = found
    return found


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
        # 6.2.5.1: nothing is skipped of a playlist that does not change any more.
        skipped = self._skippable(segments) if skip and low and not rendition.ended else 0
        independent = all(s.independent for s in segments)
        return MediaPlaylist(
            self.target,
            tuple(self._segments(segments[skipped:])),
            segments[0].number if segments else rendition.listed_from,
            rendition.discontinuity_sequence,
            self._version(segments, skipped),
            independent,
            end=rendition.ended,
            server_control=self._control() if low else None,
            part_target=rendition.store.part_target or None if low else None,
            skipped=skipped,
            hints=self._hints() if low and not rendition.ended else (),
            reports=tuple(self._reports()) if low else (),
        )

    def _version(self, segments: list[Segment], skipped: int) -> int:
        """8: no more than is needed for EXT-X-SKIP, EXT-X-MAP, or else fractions in EXTINF."""
        if skipped:
            return 9
        return 6 if any(s.init.data for s in segments) else 3

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


def segments_wanted(store: SegmentStore, variant: Variant) -> int:
    """Segments that a playlist has at least while the stream goes on, as far as it is known."""
    lead = store.lead
    first = lead.segments[0] if lead is not None and lead.segments else None
    return 1 if first is not None and first.complete and first.duration >= LONG else SEGMENTS[variant]


def is_long(store: SegmentStore, variant: Variant) -> bool:
    """Whether its playlists are of long segments, without parts."""
    return variant != "ll" and store.target >= LONG


def due(rendition: Rendition) -> float:
    """Seconds for which a playlist is worth waiting for, since it is about to have another segment; 0 where it is not."""
    segment, store = rendition.open, rendition.store
    lead = store.lead
    if segment is None or lead is None:
        return 0.0
    if lead.kind is Kind.VIDEO and not store.stream.key_interval(lead.lead):
        # Nobody knows when the next key frame comes.
        return 0.0
    soon = min(store.target // SOON, MOST_SOON)
    left = segment.dts + store.expected - store.stream.last_time
    return (left + soon) / NS if -soon < left <= soon else 0.0


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
        for sound in sorted(sounds, key=_order_of(sounds)):
            groups.setdefault(_codec_family(sound), []).append(sound)
        if sounds and (mixed or len({tuple(map(_language, group)) for group in groups.values()}) > 1):
            # What is in the pictures' own segments is the group's first, and has no playlist. 4.4.6.1.1: groups for each
            # codec have the same members; where a language is there in one codec alone, all are members of one group.
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
            # 4.4.2: that segments are independent is told once, by each playlist of its own.
            tuple(variants),
            tuple(renditions),
            # 8: players of version 1 know nothing of EXT-X-MEDIA.
            4 if renditions else 1,
        )

    def _group(
        self, name: str, sounds: list[Rendition], within: Rendition | None
    ) -> Iterator[MediaRendition]:
        told: set[str | None] = {None}
        for number, sound in enumerate(sounds if within is None else [within, *sounds], 1):
            language = _language(sound)
            described = self._described(next(t for t in sound.tracks if t.kind is Kind.AUDIO))
            yield MediaRendition(
                "AUDIO",
                name,
                f"{language or 'Audio'} {number}",
                None if sound is within else self._uri(sound),
                # Apple's authoring specification 8.10 asks for a language whatever it is.
                language or UNDETERMINED,
                number == 1,
                # 4.4.6.1: AUTOSELECT, because it is the default or may be chosen by its language; 4.4.6.1.1: the first of that.
                number == 1 or language not in told,
                str(described.channels) if isinstance(described, AudioInfo) and described.channels else None,
            )
            told.add(language)

    def _described(self, track: Track) -> VideoInfo | AudioInfo | None:
        info = self.store.stream.registry.get(track.codec, INFO)
        return info.describe(track.config) if info is not None and track.config is not None else None

    def _variant(self, picture: Rendition, group: str | None, sounds: list[Rendition]) -> StreamVariant:
        peak, average = bandwidth(picture)
        if sounds:
            rates = [bandwidth(sound) for sound in sounds]
            peak, average = peak + max(r[0] for r in rates), average + max(r[1] for r in rates)
        codecs = dict.fromkeys(code for r in (picture, *sounds) for code in r.writer.codecs)
        lead = next(t for t in picture.tracks if t.id == picture.lead)
        described = self._described(lead)
        resolution = rate = shown = None
        if isinstance(described, VideoInfo):
            resolution = described.width, described.height
            rate = round(1000 * (described.frame_rate or NS / picture.frame_interval))
            shown = _RANGES.get(described.transfer)
        return StreamVariant(
            self._uri(picture), peak, average, ",".join(codecs) or None, resolution, rate, group, shown
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


def _order_of(sounds: list[Rendition]) -> Callable[[Rendition], int]:
    """Orders by language, as these first come."""
    languages = list(dict.fromkeys(map(_language, sounds)))
    return lambda sound: languages.index(_language(sound))


def _codec_family(rendition: Rendition) -> str:
    return rendition.writer.codecs[0] if rendition.writer.codecs else ""


def _group_name(number: int) -> str:
    return f"{_AUDIO}{number or ''}"


def _language(rendition: Rendition) -> str | None:
    return language_tag(next(t.language for t in rendition.tracks if t.kind is Kind.AUDIO))
