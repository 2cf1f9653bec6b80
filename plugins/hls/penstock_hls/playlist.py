"""Playlists read: any text is one of the two kinds, or refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from penstock.errors import ProtocolViolation
from penstock_hls.attributes import Attributes
from penstock_hls.media_playlist import (
    ByteRange,
    Key,
    Map,
    MediaPlaylist,
    MediaSegment,
    PartialSegment,
    PreloadHint,
    RenditionReport,
    ServerControl,
)
from penstock_hls.multivariant_playlist import MediaRendition, MultivariantPlaylist, Variant
from penstock_hls.number import parse_date, parse_duration, parse_integer

MAX_BYTES = 8 << 20
"""Of a playlist: a day in segments of two seconds with a line for each tag."""
MAX_SEGMENTS = 50_000
MAX_PARTS = 50_000
MAX_VARIANTS = 512
MAX_RENDITIONS = 512
MAX_VERSION = 1000
"""What comes after 13 is read as far as it is known (4.4.1.2 would have a client refuse it, which none does)."""

Playlist = MediaPlaylist | MultivariantPlaylist

_Lines = Iterator[tuple[str, str]]

_MULTIVARIANT = {
    "EXT-X-STREAM-INF",
    "EXT-X-MEDIA",
    "EXT-X-I-FRAME-STREAM-INF",
    "EXT-X-SESSION-DATA",
    "EXT-X-SESSION-KEY",
}


def parse_playlist(data: bytes) -> Playlist:
    """The playlist that `data` holds; tags that are not known are passed over. Raises `ProtocolViolation`."""
    lines = list(_parse_lines(data))
    names = {name for name, _ in lines}
    if names & _MULTIVARIANT:
        if names & {"EXTINF", "EXT-X-TARGETDURATION"}:
            raise ProtocolViolation("a playlist of both kinds", "RFC 8216bis 4.1")
        return _parse_multivariant(iter(lines))
    return _parse_media(iter(lines))


def _parse_lines(data: bytes) -> _Lines:
    """Tags by name with their value, and URIs by an empty name."""
    if len(data) > MAX_BYTES:
        raise ProtocolViolation(f"a playlist of more than {MAX_BYTES} bytes")
    text = data.decode("utf-8", "replace")
    if "�" in text or text.startswith("﻿"):
        raise ProtocolViolation("not UTF-8 without a byte order mark", "RFC 8216bis 4.1")
    first, *lines = text.split("\n")
    if first.strip() != "#EXTM3U":
        raise ProtocolViolation("it does not begin with #EXTM3U", "RFC 8216bis 4.4.1.1")
    for line in lines:
        line = line.strip()
        if any(ord(c) < 32 or 0x7F <= ord(c) < 0xA0 for c in line):
            raise ProtocolViolation("control characters in a playlist", "RFC 8216bis 4.1")
        if line.startswith("#EXT"):
            name, _, value = line[1:].partition(":")
            yield name, value
        elif line and not line.startswith("#"):
            yield "", line


def _parse_multivariant(lines: _Lines) -> MultivariantPlaylist:
    variants: list[Variant] = []
    renditions: list[MediaRendition] = []
    version, independent = 1, False
    stream: Attributes | None = None
    for name, value in lines:
        if name == "" and stream is not None:
            if len(variants) == MAX_VARIANTS:
                raise ProtocolViolation(f"more than {MAX_VARIANTS} variants")
            variants.append(_parse_variant(stream, value))
            stream = None
        elif name == "EXT-X-STREAM-INF":
            stream = Attributes.parse(name, value)
        elif name == "EXT-X-MEDIA":
            if len(renditions) == MAX_RENDITIONS:
                raise ProtocolViolation(f"more than {MAX_RENDITIONS} renditions")
            renditions.append(_parse_rendition(Attributes.parse(name, value)))
        elif name == "EXT-X-VERSION":
            version = _parse_version(value)
        elif name == "EXT-X-INDEPENDENT-SEGMENTS":
            independent = True
    if not variants:
        raise ProtocolViolation("a multivariant playlist without variants", "RFC 8216bis 4.4.6")
    return MultivariantPlaylist(tuple(variants), tuple(renditions), version, independent)


def _parse_variant(a: Attributes, uri: str) -> Variant:
    bandwidth = a.integer("BANDWIDTH")
    if bandwidth is None:
        raise ProtocolViolation("a variant has no BANDWIDTH", "RFC 8216bis 4.4.6.2")
    rate = a.duration("FRAME-RATE")
    return Variant(
        uri,
        bandwidth,
        a.integer("AVERAGE-BANDWIDTH"),
        a.text("CODECS"),
        a.resolution("RESOLUTION"),
        # Seconds in ns and Hz in thousandths are the same digits.
        None if rate is None else rate // 1_000_000,
        a.text("AUDIO"),
        a.word("VIDEO-RANGE"),
    )


def _parse_rendition(a: Attributes) -> MediaRendition:
    return MediaRendition(
        a.need_word("TYPE"),
        a.need("GROUP-ID"),
        a.need("NAME"),
        a.text("URI"),
        a.text("LANGUAGE"),
        a.flag("DEFAULT"),
        a.flag("AUTOSELECT"),
        a.text("CHANNELS"),
    )


def _parse_version(value: str) -> int:
    version = parse_integer(value)
    if not 1 <= version <= MAX_VERSION:
        raise ProtocolViolation(f"a playlist of version {version}", "RFC 8216bis 4.4.1.2")
    return version


def _parse_media(lines: _Lines) -> MediaPlaylist:
    return _MediaReader().read(lines)


class _MediaReader:
    """What has been read of a media playlist; the tags before a URI are that segment's."""

    def __init__(self) -> None:
        self.target: int | None = None
        self.sequence = 0
        self.discontinuities: int | None = None
        self.version = 1
        self.independent = False
        self.type: Literal["", "EVENT", "VOD"] = ""
        self.end = False
        self.control: ServerControl | None = None
        self.part_target: int | None = None
        self.skipped = 0
        self.segments: list[MediaSegment] = []
        self.hints: list[PreloadHint] = []
        self.reports: list[RenditionReport] = []
        self.part_count = 0
        self.start: int | None = None
        self.map: Map | None = None
        self.key: Key | None = None
        self._begin()

    def _begin(self) -> None:
        self.duration: int | None = None
        self.title = ""
        self.discontinuity = self.gap = False
        self.date: int | None = None
        self.byte_range: ByteRange | None = None
        self.parts: list[PartialSegment] = []

    def read(self, lines: _Lines) -> MediaPlaylist:
        for name, value in lines:
            if name == "":
                self._segment(value)
            elif not self._head(name, value):
                self._body(name, value)
        if self.parts:
            self.duration = self.byte_range = None
            self.gap = False
            self._append("")
        if self.target is None:
            raise ProtocolViolation("a media playlist without EXT-X-TARGETDURATION", "RFC 8216bis 4.4.3.1")
        return MediaPlaylist(
            self.target,
            tuple(self.segments),
            self.sequence,
            self.discontinuities,
            self.version,
            self.independent,
            self.type,
            self.end,
            self.control,
            self.part_target,
            self.skipped,
            tuple(self.hints),
            tuple(self.reports),
            self.start,
        )

    def _segment(self, uri: str) -> None:
        if self.duration is None:
            raise ProtocolViolation("a segment without EXTINF", "RFC 8216bis 4.4.4.1")
        self._append(uri)

    def _append(self, uri: str) -> None:
        if len(self.segments) == MAX_SEGMENTS:
            raise ProtocolViolation(f"more than {MAX_SEGMENTS} segments")
        self.segments.append(
            MediaSegment(
                uri,
                self.duration or 0,
                self.title if uri else "",
                self.discontinuity,
                self.gap,
                self.date,
                self.map,
                self.key,
                self.byte_range,
                tuple(self.parts),
            )
        )
        self._begin()

    def _head(self, name: str, value: str) -> bool:
        """Tags of the playlist as a whole; false for others."""
        match name:
            case "EXT-X-TARGETDURATION":
                self.target = parse_integer(value)
            case "EXT-X-MEDIA-SEQUENCE":
                self.sequence = parse_integer(value)
            case "EXT-X-DISCONTINUITY-SEQUENCE":
                self.discontinuities = parse_integer(value)
            case "EXT-X-VERSION":
                self.version = _parse_version(value)
            case "EXT-X-INDEPENDENT-SEGMENTS":
                self.independent = True
            case "EXT-X-PLAYLIST-TYPE":
                if value not in ("EVENT", "VOD"):
                    raise ProtocolViolation(f"a playlist of type {value[:40]!r}", "RFC 8216bis 4.4.3.5")
                self.type = "EVENT" if value == "EVENT" else "VOD"
            case "EXT-X-ENDLIST":
                self.end = True
            case "EXT-X-START":
                self.start = _parse_start(Attributes.parse(name, value))
            case "EXT-X-SERVER-CONTROL":
                self.control = _parse_control(Attributes.parse(name, value))
            case "EXT-X-PART-INF":
                self.part_target = Attributes.parse(name, value).duration("PART-TARGET")
            case "EXT-X-SKIP":
                self.skipped = Attributes.parse(name, value).integer("SKIPPED-SEGMENTS") or 0
            case "EXT-X-PRELOAD-HINT":
                self._limit(self.hints)
                self.hints.append(_parse_hint(Attributes.parse(name, value)))
            case "EXT-X-RENDITION-REPORT":
                self._limit(self.reports)
                self.reports.append(_parse_report(Attributes.parse(name, value)))
            case _:
                return False
        return True

    def _body(self, name: str, value: str) -> None:
        """Tags of the segment that comes next."""
        match name:
            case "EXTINF":
                duration, _, title = value.partition(",")
                self.duration, self.title = parse_duration(duration.strip()), title.strip()
            case "EXT-X-DISCONTINUITY":
                self.discontinuity = True
            case "EXT-X-GAP":
                self.gap = True
            case "EXT-X-PROGRAM-DATE-TIME":
                self.date = parse_date(value)
            case "EXT-X-BYTERANGE":
                self.byte_range = _parse_byte_range(value)
            case "EXT-X-MAP":
                attributes = Attributes.parse(name, value)
                byte_range = attributes.text("BYTERANGE")
                self.map = Map(attributes.need("URI"), (byte_range and _parse_byte_range(byte_range)) or None)
            case "EXT-X-KEY":
                self.key = _parse_key(Attributes.parse(name, value))
            case "EXT-X-PART":
                self.part_count += 1
                if self.part_count > MAX_PARTS:
                    raise ProtocolViolation(f"more than {MAX_PARTS} parts")
                self.parts.append(_parse_part(Attributes.parse(name, value)))
            case _:
                pass

    def _limit(self, found: list[PreloadHint] | list[RenditionReport]) -> None:
        if len(found) == MAX_RENDITIONS:
            raise ProtocolViolation(f"more than {MAX_RENDITIONS} hints or reports")


def _parse_start(a: Attributes) -> int:
    text = a.need_word("TIME-OFFSET")
    offset = parse_duration(text.removeprefix("-"))
    return -offset if text.startswith("-") else offset


def _parse_control(a: Attributes) -> ServerControl:
    return ServerControl(
        a.flag("CAN-BLOCK-RELOAD"),
        a.duration("CAN-SKIP-UNTIL"),
        a.flag("CAN-SKIP-DATERANGES"),
        a.duration("HOLD-BACK"),
        a.duration("PART-HOLD-BACK"),
    )


def _parse_hint(a: Attributes) -> PreloadHint:
    return PreloadHint(
        a.need_word("TYPE"), a.need("URI"), a.integer("BYTERANGE-START"), a.integer("BYTERANGE-LENGTH")
    )


def _parse_report(a: Attributes) -> RenditionReport:
    return RenditionReport(a.need("URI"), a.integer("LAST-MSN"), a.integer("LAST-PART"))


def _parse_part(a: Attributes) -> PartialSegment:
    duration = a.duration("DURATION")
    if duration is None:
        raise ProtocolViolation("a part without DURATION", "RFC 8216bis 4.4.4.9")
    byte_range = a.text("BYTERANGE")
    return PartialSegment(
        a.need("URI"),
        duration,
        a.flag("INDEPENDENT"),
        a.flag("GAP"),
        None if byte_range is None else _parse_byte_range(byte_range),
    )


def _parse_key(a: Attributes) -> Key | None:
    method = a.need_word("METHOD")
    if method == "NONE":
        return None
    return Key(method, a.text("URI"), a.word("IV"), a.text("KEYFORMAT"))


def _parse_byte_range(text: str) -> ByteRange:
    length, at, offset = text.partition("@")
    return ByteRange(parse_integer(length), parse_integer(offset) if at else None)
