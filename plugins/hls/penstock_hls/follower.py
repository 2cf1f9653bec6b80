"""Which segments of a media playlist come next, and when to load it again (RFC 8216bis 6.3.3 to 6.3.5)."""

from __future__ import annotations

from collections import deque

from attrs import frozen

from penstock.errors import ProtocolViolation
from penstock_hls.media_playlist import ByteRange, MediaPlaylist, MediaSegment
from penstock_hls.number import NS

MAX_TARGET = 60
"""Seconds that a target duration is believed: what is above is waited for no longer than that."""
LIVE_TARGETS = 3
"""How far from a live playlist's end to begin, in target durations (6.3.3)."""

Period = tuple[int, int]
"""What has one timeline: how often the playlist began anew or ran away from us, and the discontinuity sequence number."""


@frozen
class Wanted:
    """A segment to fetch. `range` is offset and length, None for all of its resource."""

    number: int
    segment: MediaSegment
    period: Period
    range: tuple[int, int] | None


class Follower:
    """One media playlist over all its loads. Times are monotonic seconds."""

    def __init__(self, now: float) -> None:
        self.target = 1
        """Target duration in seconds."""
        self.hold = 0.0
        """Seconds between where we began and the playlist's end then."""
        self.reload_at: float | None = now
        """When to load the playlist again, None where it has ended."""
        self.changed_at = now
        """When it last had something new."""
        self._first = 0
        self._segments: tuple[MediaSegment, ...] = ()
        self._wanted: deque[Wanted] = deque()
        self._next: int | None = None
        """The number of the segment after the last that was given out, None before the first."""
        self._generation = self._discontinuity = 0
        self._ended = False

    @property
    def ended(self) -> bool:
        """All that there is has been given out, and nothing follows."""
        return self._ended and not self._wanted

    @property
    def newest(self) -> tuple[int, str] | None:
        """Number and name of the playlist's last segment."""
        if not self._segments:
            return None
        return self._first + len(self._segments) - 1, _name(self._segments[-1])

    @property
    def ahead(self) -> float:
        """Seconds of segments that are there and have not been given out."""
        return sum(wanted.segment.duration for wanted in self._wanted) / NS

    def is_behind(self, waiting: float) -> bool:
        """With the seconds that have been fetched and wait, more is there than when we began and what comes at a time."""
        return not self._ended and self.ahead + waiting > self.hold + 2 * self.target

    def failed(self, began: float) -> None:
        """The load that began then came to nothing: the next is due after half of the target duration."""
        self.reload_at = began + self.target / 2

    def loaded(self, playlist: MediaPlaylist, began: float) -> None:
        """What a load that began then has brought. Raises `ProtocolViolation` for what cannot be followed."""
        if playlist.skipped:
            raise ProtocolViolation("a playlist without the segments that it skips", "RFC 8216bis 6.2.5.1")
        self.target = min(max(1, playlist.target_duration), MAX_TARGET)
        # The last may be one of which there are only parts.
        segments = tuple(segment for segment in playlist.segments if segment.uri)
        first = playlist.media_sequence
        change = self._change(first, segments)
        news = change in ("start", "anew") or first + len(segments) > self._first + len(self._segments)
        if news or (playlist.end and not self._ended):
            self.changed_at = began
        # 6.3.4: the target duration after the load began, or half of it where nothing was new.
        self.reload_at = began + (self.target if news else self.target / 2)
        if change == "stale":
            return
        if change == "anew":
            self._generation += 1
        if change in ("start", "anew"):
            self._next = None
        self._first, self._segments = first, segments
        if playlist.end:
            self._ended, self.reload_at = True, None
        if segments:
            self._list(playlist, segments)

    def take(self) -> Wanted | None:
        """The next segment to fetch, None where there is none at the moment."""
        if not self._wanted:
            return None
        wanted = self._wanted.popleft()
        self._next = wanted.number + 1
        self._discontinuity = wanted.period[1]
        return wanted

    def _change(self, first: int, segments: tuple[MediaSegment, ...]) -> str:
        """How the playlist goes on from the last one."""
        if self._next is None:
            return "start"
        end = first + len(segments)
        before_first, before_end = self._first, self._first + len(self._segments)
        if first > self._next:
            # We were too slow, or away: what is between has left the playlist.
            return "anew"
        if first >= before_first and end >= before_end:
            return "on"
        shared = range(max(first, before_first), min(end, before_end))
        same = all(_name(segments[n - first]) == _name(self._segments[n - before_first]) for n in shared)
        if not shared or not same:
            # 4.4.3.2: numbers never decrease; an origin that was started again begins anew.
            return "anew"
        # A cache on the way may have an old one.
        return "stale" if end <= before_end else "on"

    def _list(self, playlist: MediaPlaylist, segments: tuple[MediaSegment, ...]) -> None:
        """Make `_wanted` what has not been given out; those that were there before may have other addresses now."""
        begins = self._next is None
        if self._next is None:
            index = _start(playlist, segments)
            self._next = self._first + index
            self.hold = sum(segment.duration for segment in segments[index:]) / NS
        self._wanted.clear()
        told = playlist.discontinuity_sequence or 0
        counted = self._discontinuity
        used: dict[str, int] = {}
        for number, segment in enumerate(segments, self._first):
            where = _range(segment.byte_range, segment.uri, used)
            told += segment.discontinuity
            if number < self._next:
                continue
            # Counted from the first on, as there are playlists without EXT-X-DISCONTINUITY-SEQUENCE.
            counted = told if begins else counted + segment.discontinuity
            begins = False
            if not segment.gap:
                self._wanted.append(Wanted(number, segment, (self._generation, counted), where))


def _name(segment: MediaSegment) -> str:
    """What a segment is called: a query may be another each time."""
    return segment.uri.partition("?")[0]


def _range(found: ByteRange | None, uri: str, used: dict[str, int]) -> tuple[int, int] | None:
    if found is None:
        return None
    offset = used.get(uri) if found.offset is None else found.offset
    if offset is None:
        raise ProtocolViolation("a byte range that follows none", "RFC 8216bis 4.4.4.2")
    if not found.length:
        raise ProtocolViolation("a byte range of nothing", "RFC 8216bis 4.4.4.2")
    used[uri] = offset + found.length
    return offset, found.length


def _start(playlist: MediaPlaylist, segments: tuple[MediaSegment, ...]) -> int:
    """The index of the first segment to play."""
    total = sum(segment.duration for segment in segments)
    if playlist.start is not None:
        # 4.4.2.2: what is beyond either end is that end.
        at = playlist.start if playlist.start >= 0 else max(0, total + playlist.start)
    elif playlist.end or playlist.type == "VOD":
        return 0
    else:
        control = playlist.server_control
        hold = control.hold_back if control is not None else None
        at = max(0, total - (hold or LIVE_TARGETS * playlist.target_duration * NS))
    index = begin = 0
    for n, segment in enumerate(segments):
        if begin > at:
            break
        index = n
        begin += segment.duration
    return index
