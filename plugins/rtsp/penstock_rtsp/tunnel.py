"""RTSP over HTTP (Apple's tunnelling): a GET for what the server says, a POST for the client's base64."""

from __future__ import annotations

import enum
import re
from copy import copy

from attrs import frozen

from penstock.errors import ProtocolViolation

MAX_HEAD = 8 * 1024
"""Bytes of the HTTP request head; real ones have 300."""
MAX_HEADERS = 64
MAX_COOKIE = 128

CLAUSE = "RTSP over HTTP tunnelling"
_VERBS = (b"GET ", b"POST ")
_COOKIE = re.compile(r"[!-~]+", re.ASCII)


class Half(enum.StrEnum):
    """Which of the tunnel's two connections this is."""

    GET = "GET"
    POST = "POST"


@frozen
class TunnelRequest:
    """One half of the tunnel `cookie`."""

    half: Half
    target: str
    cookie: str


def may_be_tunnel(data: bytes) -> bool | None:
    """Whether a connection that begins with `data` speaks HTTP; None where more bytes are needed to tell."""
    # GET_PARAMETER is RTSP, GET and a blank is HTTP.
    if any(data.startswith(verb) for verb in _VERBS):
        return True
    return None if any(verb.startswith(data) for verb in _VERBS) else False


class TunnelReader:
    """Reads the HTTP head of one half; what comes after it is `rest`."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._done = False
        self._violation: ProtocolViolation | None = None

    def receive_data(self, data: bytes) -> None:
        """Take bytes of the peer."""
        self._buffer += data

    def next_event(self) -> TunnelRequest | None:
        """The request once its head is whole, None before; raises `ProtocolViolation`."""
        if self._violation is not None:
            raise self._violation
        if self._done:
            return None
        try:
            return self._read()
        except ProtocolViolation as violation:
            # Without what led to it, which has this in it: nobody would give that back.
            self._violation = copy(violation)
            raise

    def rest(self) -> bytes:
        """The bytes after the head that have come so far: those of a POST are base64."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return rest

    def _read(self) -> TunnelRequest | None:
        match = re.search(rb"\r?\n\r?\n", self._buffer[: MAX_HEAD + 1])
        if match is None:
            if len(self._buffer) > MAX_HEAD:
                raise ProtocolViolation(f"HTTP head above {MAX_HEAD} bytes", CLAUSE)
            return None
        head = bytes(self._buffer[: match.start()])
        del self._buffer[: match.end()]
        self._done = True
        return _parse_head(head.decode("latin-1"))


def _parse_head(head: str) -> TunnelRequest:
    first, *lines = head.replace("\r\n", "\n").split("\n")
    words = first.split(" ")
    if len(words) != 3 or words[0] not in ("GET", "POST") or not words[2].startswith("HTTP/1."):
        raise ProtocolViolation("tunnel request is not GET or POST of HTTP/1", CLAUSE)
    if len(lines) > MAX_HEADERS:
        raise ProtocolViolation(f"more than {MAX_HEADERS} HTTP headers", CLAUSE)
    cookies: set[str] = set()
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise ProtocolViolation("HTTP header line without a name", CLAUSE)
        if name.strip().lower() == "x-sessioncookie":
            cookies.add(value.strip())
    if not cookies:
        raise ProtocolViolation(
            "HTTP request on the RTSP port without x-sessioncookie: use the HTTP port", CLAUSE
        )
    cookie = cookies.pop()
    if cookies or len(cookie) > MAX_COOKIE or not _COOKIE.fullmatch(cookie):
        raise ProtocolViolation("x-sessioncookie is no word, too long, or given twice", CLAUSE)
    return TunnelRequest(Half(words[0]), words[1], cookie)


def build_get_reply(server: str) -> bytes:
    """What opens the server's half: a reply without length, after which RTSP follows."""
    return (
        f"HTTP/1.0 200 OK\r\nServer: {server}\r\nConnection: close\r\nCache-Control: no-store\r\n"
        "Pragma: no-cache\r\nContent-Type: application/x-rtsp-tunnelled\r\n\r\n"
    ).encode()


def build_refusal(status: int, reason: str) -> bytes:
    """A reply that closes either half; a POST that is taken gets none."""
    return f"HTTP/1.0 {status} {reason}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".encode()
