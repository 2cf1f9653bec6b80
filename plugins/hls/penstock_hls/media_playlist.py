"""Media playlists (RFC 8216bis 4.4.2 to 4.4.5): segments of one rendition, and how they are written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from attrs import frozen

from penstock_hls.attributes import quoted, tag
from penstock_hls.number import NS, format_date, format_duration


@frozen
class ByteRange:
    """`length` bytes from `offset` on, or from where the range before it ended."""

    length: int
    offset: int | None = None

    def write(self) -> str:
        return str(self.length) if self.offset is None else f"{self.length}@{self.offset}"


@frozen
class Map:
    """The init section (EXT-X-MAP)."""

    uri: str
    byte_range: ByteRange | None = None

    def write(self) -> str:
        byte_range = self.byte_range and quoted(self.byte_range.write())
        return tag("EXT-X-MAP", URI=quoted(self.uri), BYTERANGE=byte_range or None)


@frozen
class Key:
    """How segments are encrypted (EXT-X-KEY)."""

    method: str
    uri: str | None = None
    iv: str | None = None
    key_format: str | None = None

    def write(self) -> str:
        uri = None if self.uri is None else quoted(self.uri)
        key_format = None if self.key_format is None else quoted(self.key_format)
        return tag("EXT-X-KEY", METHOD=self.method, URI=uri, IV=self.iv, KEYFORMAT=key_format)


NOT_ENCRYPTED = Key("NONE")


@frozen
class PartialSegment:
    """A part (EXT-X-PART); `duration` in ns."""

    uri: str
    duration: int
    independent: bool = False
    gap: bool = False
    byte_range: ByteRange | None = None

    def write(self) -> str:
        return tag(
            "EXT-X-PART",
            DURATION=format_duration(self.duration),
            URI=quoted(self.uri),
            INDEPENDENT="YES" if self.independent else None,
            BYTERANGE=None if self.byte_range is None else quoted(self.byte_range.write()),
            GAP="YES" if self.gap else None,
        )


@frozen
class MediaSegment:
    """A segment; one without `uri` is the one that is being written, at the playlist's end, of which only parts are there.

    `duration` in ns; `date` is the wall time of its first sample in ns since 1970.
    """

    uri: str = ""
    duration: int = 0
    title: str = ""
    discontinuity: bool = False
    gap: bool = False
    date: int | None = None
    map: Map | None = None
    key: Key | None = None
    byte_range: ByteRange | None = None
    parts: tuple[PartialSegment, ...] = ()


@frozen
class ServerControl:
    """What the server can do (EXT-X-SERVER-CONTROL); durations in ns."""

    can_block_reload: bool = False
    can_skip_until: int | None = None
    can_skip_dateranges: bool = False
    hold_back: int | None = None
    part_hold_back: int | None = None

    def write(self) -> str:
        return tag(
            "EXT-X-SERVER-CONTROL",
            CAN_BLOCK_RELOAD="YES" if self.can_block_reload else None,
            CAN_SKIP_UNTIL=_seconds(self.can_skip_until),
            CAN_SKIP_DATERANGES="YES" if self.can_skip_dateranges else None,
            HOLD_BACK=_seconds(self.hold_back),
            PART_HOLD_BACK=_seconds(self.part_hold_back),
        )


@frozen
class PreloadHint:
    """What comes next (EXT-X-PRELOAD-HINT)."""

    type: str
    uri: str
    start: int | None = None
    length: int | None = None

    def write(self) -> str:
        return tag(
            "EXT-X-PRELOAD-HINT",
            TYPE=self.type,
            URI=quoted(self.uri),
            BYTERANGE_START=_number(self.start),
            BYTERANGE_LENGTH=_number(self.length),
        )


@frozen
class RenditionReport:
    """Where another rendition's playlist is (EXT-X-RENDITION-REPORT)."""

    uri: str
    last_msn: int | None = None
    last_part: int | None = None

    def write(self) -> str:
        return tag(
            "EXT-X-RENDITION-REPORT",
            URI=quoted(self.uri),
            LAST_MSN=_number(self.last_msn),
            LAST_PART=_number(self.last_part),
        )


@frozen
class MediaPlaylist:
    """A media playlist. `target_duration` in seconds, `part_target` in ns; `skipped` segments are not told (a delta).

    `start` is where a player should begin, in ns from the beginning, or if negative from the end (EXT-X-START).
    """

    target_duration: int
    segments: tuple[MediaSegment, ...] = ()
    media_sequence: int = 0
    discontinuity_sequence: int | None = None
    version: int = 1
    independent_segments: bool = False
    type: Literal["", "EVENT", "VOD"] = ""
    end: bool = False
    server_control: ServerControl | None = None
    part_target: int | None = None
    skipped: int = 0
    hints: tuple[PreloadHint, ...] = ()
    reports: tuple[RenditionReport, ...] = ()
    start: int | None = None

    def write(self) -> str:
        """The playlist as text. Raises `ValueError` for a URI that a playlist cannot hold."""
        return "".join(self._head()) + "".join(self._body())

    def _head(self) -> Iterator[str]:
        yield "#EXTM3U\n"
        if self.version > 1:
            yield f"#EXT-X-VERSION:{self.version}\n"
        yield f"#EXT-X-TARGETDURATION:{self.target_duration}\n"
        if self.server_control is not None:
            yield self.server_control.write()
        if self.part_target is not None:
            yield tag("EXT-X-PART-INF", PART_TARGET=format_duration(self.part_target))
        if self.media_sequence:
            yield f"#EXT-X-MEDIA-SEQUENCE:{self.media_sequence}\n"
        if self.discontinuity_sequence is not None:
            yield f"#EXT-X-DISCONTINUITY-SEQUENCE:{self.discontinuity_sequence}\n"
        if self.type:
            yield f"#EXT-X-PLAYLIST-TYPE:{self.type}\n"
        if self.independent_segments:
            yield "#EXT-X-INDEPENDENT-SEGMENTS\n"
        if self.start is not None:
            sign = "-" if self.start < 0 else ""
            yield tag("EXT-X-START", TIME_OFFSET=sign + format_duration(abs(self.start)))

    def _body(self) -> Iterator[str]:
        if self.skipped:
            yield tag("EXT-X-SKIP", SKIPPED_SEGMENTS=str(self.skipped))
        map: Map | None = None
        key: Key | None = None
        for segment in self.segments:
            if segment.discontinuity:
                yield "#EXT-X-DISCONTINUITY\n"
            if segment.key != key:
                key = segment.key
                yield (key or NOT_ENCRYPTED).write()
            if segment.map is not None and segment.map != map:
                map = segment.map
                yield map.write()
            if segment.date is not None:
                yield f"#EXT-X-PROGRAM-DATE-TIME:{format_date(segment.date)}\n"
            for part in segment.parts:
                yield part.write()
            if segment.uri:
                if segment.gap:
                    yield "#EXT-X-GAP\n"
                if segment.byte_range is not None:
                    yield f"#EXT-X-BYTERANGE:{segment.byte_range.write()}\n"
                yield f"#EXTINF:{format_duration(segment.duration)},{segment.title}\n{segment.uri}\n"
        for hint in self.hints:
            yield hint.write()
        for report in self.reports:
            yield report.write()
        if self.end:
            yield "#EXT-X-ENDLIST\n"


def target_duration(longest: int) -> int:
    """The EXT-X-TARGETDURATION of segments of up to `longest` ns: each rounded is no more (4.4.3.1)."""
    return max(1, (longest + NS // 2) // NS)


def _seconds(ns: int | None) -> str | None:
    return None if ns is None else format_duration(ns)


def _number(value: int | None) -> str | None:
    return None if value is None else str(value)
