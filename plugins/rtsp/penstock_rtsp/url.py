"""What a request's URL names: the stream, one of its tracks, and the query."""

from __future__ import annotations

import re

from attrs import frozen

from penstock.errors import ProtocolViolation
from penstock.path import StreamPath
from penstock_formats.decimal import parse_decimal

MAX_TRACK = 255

_CLAUSE = "RFC 2326 3.2"
_ABSOLUTE = re.compile(r"rtsp[su]?://[^/?]*", re.IGNORECASE)
# trackID=1 is ours and FFmpeg's, streamid=1 FFmpeg's as a client, stream=1 GStreamer's, track1 Live555's.
_TRACK = re.compile(r"/(?:trackid=|streamid=|stream=|track=|track)([0-9]+)/?$", re.IGNORECASE | re.ASCII)


@frozen
class Target:
    """`path` is None where the URL names the server (``*``, or no path); `track` None for all of it."""

    path: StreamPath | None
    track: int | None = None
    query: str = ""

    @classmethod
    def parse(cls, url: str) -> Target:
        """The target of an absolute or relative URL, whatever its host; raises `ProtocolViolation`."""
        if url == "*":
            return cls(None)
        absolute = _ABSOLUTE.match(url)
        if absolute is None and "://" in url.partition("?")[0]:
            raise ProtocolViolation("the URL's scheme is not RTSP", _CLAUSE)
        rest = url[absolute.end() :] if absolute else url
        track = None
        # Clients append the control to the whole base URL, so that it may come after the query.
        if match := _TRACK.search(rest):
            track = parse_decimal(match[1], MAX_TRACK, "track number", _CLAUSE)
            rest = rest[: match.start()]
        text, _, query = rest.partition("?")
        if track is None and query and (match := _TRACK.search(text)):
            track = parse_decimal(match[1], MAX_TRACK, "track number", _CLAUSE)
            text = text[: match.start()]
        query = query.removesuffix("/")
        if text in ("", "/"):
            return cls(None, track, query)
        return cls(StreamPath.parse(text), track, query)


def presentation_url(url: str) -> str:
    """The URL of the whole that a request's URL names all or one track of: who plays one track may ask by its own."""
    text, mark, query = url, "", ""
    if not _TRACK.search(url):
        # As `Target.parse` has it, the query may also follow the track.
        text, mark, query = url.partition("?")
    return (_TRACK.sub("", text) + mark + query).rstrip("/")


def track_control(track: int) -> str:
    """The ``a=control`` value of a track."""
    return f"trackID={track}"


def track_url(base: str, track: int) -> str:
    """The URL of a track of the presentation at `base`."""
    return f"{base.rstrip('/')}/{track_control(track)}"


def resolve_control(base: str, control: str | None) -> str:
    """The URL that a client sends for an ``a=control`` value (RFC 2326 C.1.1) of the session at `base`.

    An absolute URL is sent as it is, on the same connection: its host is never looked up.
    """
    if control is None or control in ("", "*"):
        return base
    if _ABSOLUTE.match(control):
        return control
    # Servers mean to append, not RFC 3986 5.2, which would drop the last segment of most bases.
    return f"{base.removesuffix('/')}/{control.removeprefix('/')}"
