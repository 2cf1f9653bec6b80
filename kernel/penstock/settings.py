"""What the kernel itself has to configure: the server, and streams by pattern."""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Callable
from typing import Any, Literal

from attrs import Attribute, field, frozen
from attrs.validators import optional

from penstock.errors import UserError
from penstock.hooks import option

MIB = 1 << 20


def within(low: float, high: float | None = None) -> Callable[[Any, Attribute[Any], Any], None]:
    """A validator of numbers: at least `low` and at most `high`."""

    def check(_instance: Any, _attribute: Attribute[Any], value: Any) -> None:
        if high is not None and not low <= value <= high:
            raise ValueError(f"must be {low:g} to {high:g}, not {value!r}")
        if value < low:
            raise ValueError(f"must be at least {low:g}, not {value!r}")

    return check


def parse_listen(text: str) -> tuple[str | None, int]:
    """Host (None for every address) and port of ``:1935``, ``127.0.0.1:1935`` or ``[::1]:1935``.

    Port 0 lets the system choose. Raises `UserError`.
    """
    host, colon, digits = text.rpartition(":")
    if text.startswith("[") and "]:" not in text:
        fault = "port" if text.endswith("]") else "closing bracket and port"
        raise UserError(f"{text!r} has no {fault}: write '[{text.strip('[]')}]:1935'")
    if not colon or not digits:
        raise UserError(f"{text!r} has no port: write ':1935' or '127.0.0.1:1935'")
    if not text.startswith("[") and ":" in host:
        # ::1 is an address alone; of ::1:1935 the end is meant as the port.
        address, port = (host, digits) if _is_ipv6(host) else (text, "1935")
        raise UserError(f"{text!r} needs brackets around its IPv6 address: write '[{address}]:{port}'")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 5 and int(digits) <= 65535):
        raise UserError(f"{digits!r} in {text!r} is no port: ports are 0 to 65535")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        if ":" not in host:
            raise UserError(f"{text!r} has brackets around what is no IPv6 address")
    if not all(c.isprintable() and c not in " /@[]" for c in host):
        raise UserError(f"{host!r} in {text!r} is no address or host name")
    return (None if host in ("", "*") else host), int(digits)


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def is_listen(_instance: Any, _attribute: Attribute[Any], value: str) -> None:
    """A validator of listen addresses; an empty one means that the plugin does not listen there."""
    if value:
        parse_listen(value)


def _is_host(_instance: Any, _attribute: Attribute[Any], value: str) -> None:
    if value and not (re.fullmatch(r"[\w.-]+", value) or _is_ipv6(value.removeprefix("[").removesuffix("]"))):
        raise ValueError(f"must be a host name or an address such as 'media.example', not {value!r}")


def _window(value: Any) -> float | None:
    if value is None or value == "picture":
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError('must be "picture" or a number of milliseconds')
    return value


@frozen
class ServerConfig:
    """The table ``[server]``."""

    write_window: float | None = field(
        default=None,
        converter=_window,
        validator=optional(within(0, 1000)),
        metadata={
            "help": 'When frames are written: "picture" sends sound with the next picture (at most 40 ms); '
            "a number of milliseconds gathers for so long (0 to 1000): 0 for the least delay, 100 or 350 for "
            "the most viewers.",
            "text": "picture",
        },
    )
    gop_cache_frames: int = option(4096, "Most frames kept for readers who join late.", validator=within(1))
    gop_cache_bytes: int = option(
        64 * MIB, "Most bytes that one stream keeps for readers who join late.", validator=within(1)
    )
    gop_cache_seconds: float = option(
        30.0, "Most seconds of a stream that are kept for readers who join late.", validator=within(0)
    )
    segment_seconds: float = option(
        2.0,
        "Seconds that segments (HLS, DASH) are to last; those of video end at the next key frame after.",
        validator=within(0.5, 60),
    )
    segment_longest: float = option(
        0.0,
        "Seconds that a segment of video lasts at most, which playlists of HLS then announce from the beginning (in whole "
        "seconds): longer groups of pictures are cut, and not every player begins well at such a place; 0: key frames "
        "alone decide, and what is announced grows with their distance.",
        validator=within(0, 60),
    )
    part_seconds: float = option(
        0.2, "Seconds that parts of segments last, for low latency.", validator=within(0.05, 10)
    )
    segment_window: float = option(
        20.0,
        "Seconds that a viewer can go back in segments; lists go back six segments at least.",
        validator=within(0),
    )
    segment_bytes: int = option(
        128 * MIB, "Most bytes of segments kept of one stream in one format.", validator=within(MIB)
    )
    segment_replay_bytes: int = option(
        16 * MIB,
        "Most bytes that a stream keeps of before its last key frame, so that who asks for segments first has three at "
        "once; 0: who comes first waits for them. Without a plugin that serves segments nothing is kept.",
        validator=within(0),
    )
    segment_idle: float = option(
        60.0, "Seconds after the last request for which segments are still made.", validator=within(1)
    )
    max_backlog_seconds: float = option(
        5.0,
        "A reader who is further behind than this many seconds skips to the next key frame.",
        validator=within(0),
    )
    stall_timeout: float = option(
        10.0, "Seconds without progress after which a reader is closed.", validator=within(0.1)
    )
    handshake_timeout: float = option(
        10.0, "Seconds that a peer has from connecting to publishing or reading.", validator=within(0.1)
    )
    publisher_timeout: float = option(
        10.0, "Seconds of silence after which a publisher is closed.", validator=within(0.1)
    )
    reconnect_grace: float = option(
        10.0, "Seconds that readers are kept while their publisher reconnects.", validator=within(0)
    )
    wait_for_stream: float = option(
        5.0, "Seconds that a reader waits for a path that nobody publishes yet.", validator=within(0)
    )
    ready_timeout: float = option(
        2.0,
        "Seconds after which a stream is served with the tracks that have come so far.",
        validator=within(0),
    )
    max_connections: int = option(
        20_000, "Most connections at a time, of all protocols.", validator=within(1)
    )
    max_connections_per_address: int = option(
        # Room for a load test of 10,000 players from one machine, but not for all of max_connections.
        12_000,
        "Most connections at a time from one address, or one /64 of IPv6; 0 is no limit.",
        validator=within(0),
    )
    drain_timeout: float = option(
        10.0, "Seconds in which the server takes leave of its peers when it is stopped.", validator=within(0)
    )
    log_level: Literal["debug", "info", "warning", "error"] = option(
        "info", "The least level that is logged."
    )
    log_format: Literal["auto", "human", "json"] = option(
        "auto", 'How lines are logged: "auto" is "human" on a terminal and "json" otherwise.'
    )
    certificate: str = option("", "PEM file with the certificate chain of all TLS listeners; empty: no TLS.")
    key: str = option("", "PEM file with the private key; empty: it is in the certificate's file.")
    public_host: str = option(
        "", "Host name in the URLs that are shown; empty: this machine's address.", validator=_is_host
    )


def start_option() -> Any:
    """The key ``start`` of a protocol's table, alike in all: hand it to `Feed.attach`."""
    return option(
        "key",
        'Where players begin: "key" at the last key frame, so that there is a picture at once; "live" with what comes '
        "next, for the least delay, and no picture before the next key frame.",
    )


def backlog_option() -> Any:
    """The key ``max_backlog_seconds`` of a protocol's table, alike in all: hand it to `Stream.feed`."""
    return option(
        None,
        "A player who is further behind than this many seconds skips to the next key frame; in place of [server] "
        "max_backlog_seconds.",
        validator=optional(within(0)),
    )


def is_url(_instance: Any, _attribute: Attribute[Any], value: str) -> None:
    """A validator of URLs, as far as the kernel can tell."""
    if not re.match(r"[a-z][a-z0-9+.-]*://[^\s/]", value, re.IGNORECASE):
        raise ValueError(f"must be a URL such as 'rtsp://camera/stream', not {value!r}")


def _are_urls(instance: Any, attribute: Attribute[Any], value: list[str]) -> None:
    for url in value:
        is_url(instance, attribute, url)


@frozen
class StreamConfig:
    """A table ``[streams."pattern"]``; of all patterns that match a path, the most specific counts, whole."""

    source: str | None = option(None, "URL to pull the stream from.", validator=optional(is_url))
    source_on_demand: bool = option(False, "Pull only while somebody reads.")
    on_demand_close_after: float = option(
        10.0, "Seconds without readers after which an on-demand source is closed.", validator=within(0)
    )
    push: list[str] = option(  # noqa: RUF009
        [], "URLs to send the stream to.", validator=_are_urls
    )
    override: bool = option(False, "A second publisher takes the path over, instead of being refused.")
    max_readers: int = option(0, "Most readers at a time; 0 is no limit.", validator=within(0))
    reconnect_grace: float | None = option(
        None,
        "Seconds that readers are kept; in place of [server] reconnect_grace.",
        validator=optional(within(0)),
    )
    secret: str = option(
        "", "Pre-shared key of the stream, such as SRT's passphrase, where no plugin gives one; empty: none."
    )


@frozen(order=False)
class Pattern:
    """A path pattern: ``*`` and ``?`` match within a segment, ``**`` any number of segments, even none."""

    text: str
    segments: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Pattern:
        """Raises `ValueError` for what can match no path."""
        segments = unicodedata.normalize("NFC", text).removeprefix("/").removesuffix("/").split("/")
        if any(s in ("", ".", "..") for s in segments):
            raise ValueError("a stream pattern has no empty, '.' or '..' segment")
        if any("**" in s and s != "**" for s in segments):
            raise ValueError("in a stream pattern '**' is a segment of its own")
        return cls(text, tuple(segments))

    @property
    def literal(self) -> bool:
        """Whether it can match one path only."""
        return not any(_wild(s) for s in self.segments)

    @property
    def rank(self) -> tuple[tuple[int, int], ...]:
        """Sorts the more specific first: literal before wildcard, longer before shorter."""
        ranks = [(_wild(s), -len(s.replace("*", ""))) for s in self.segments]
        return (*ranks, (4, 0))

    def matches(self, path: str) -> bool:
        """Whether it means the canonical `path`; going back to the last ``**`` only keeps it quadratic."""
        parts = path.split("/")
        at = i = 0
        star = mark = -1
        while i < len(parts):
            if at < len(self.segments) and self.segments[at] == "**":
                star, mark = at, i
                at += 1
            elif at < len(self.segments) and _segment_matches(self.segments[at], parts[i]):
                at += 1
                i += 1
            elif star >= 0:
                mark += 1
                at, i = star + 1, mark
            else:
                return False
        return all(s == "**" for s in self.segments[at:])


def _wild(segment: str) -> int:
    if segment == "**":
        return 3
    if segment == "*":
        return 2
    return int("*" in segment or "?" in segment)


def _segment_matches(pattern: str, segment: str) -> bool:
    kind = _wild(pattern)
    if kind == 0:
        return pattern == segment
    if kind == 2:
        return True
    regex = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(regex, segment, re.DOTALL) is not None
