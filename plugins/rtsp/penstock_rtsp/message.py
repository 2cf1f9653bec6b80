"""RTSP requests and responses (RFC 2326 4 to 7), and the frames interleaved with them (10.12)."""

from __future__ import annotations

from typing import NamedTuple

from attrs import field, frozen

from penstock.errors import ProtocolViolation
from penstock_rtsp.headers import Headers

VERSION = "RTSP/1.0"

REASONS = {
    200: "OK",
    301: "Moved Permanently",
    302: "Found",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    408: "Request Timeout",
    413: "Request Entity Too Large",
    414: "Request-URI Too Long",
    415: "Unsupported Media Type",
    451: "Parameter Not Understood",
    453: "Not Enough Bandwidth",
    454: "Session Not Found",
    455: "Method Not Valid In This State",
    457: "Invalid Range",
    459: "Aggregate Operation Not Allowed",
    460: "Only Aggregate Operation Allowed",
    461: "Unsupported Transport",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
    505: "RTSP Version Not Supported",
    551: "Option Not Supported",
}


@frozen
class Request:
    """`url` is as the peer wrote it. Content-Length is not among `headers`: it is the length of `body`."""

    method: str
    url: str
    headers: Headers = field(factory=Headers)
    body: bytes = b""
    version: str = VERSION

    def encode(self) -> bytes:
        """The request on the wire. Raises `ValueError` where a caller's text would break a line."""
        return _encode(f"{self.method} {self.url} {self.version}", self.headers, self.body)


@frozen
class Response:
    """Content-Length is not among `headers`: it is the length of `body`."""

    status: int
    reason: str = ""
    headers: Headers = field(factory=Headers)
    body: bytes = b""
    version: str = VERSION

    def encode(self) -> bytes:
        """The response on the wire. Raises `ValueError` where a caller's text would break a line."""
        return _encode(f"{self.version} {self.status} {self.reason}", self.headers, self.body)


class InterleavedFrame(NamedTuple):
    """One RTP or RTCP packet on `channel`. A tuple, because one is made for every packet that comes in."""

    channel: int
    payload: bytes

    def encode(self) -> bytes:
        """The frame on the wire; its payload is at most 65535 bytes."""
        return b"$" + bytes((self.channel,)) + len(self.payload).to_bytes(2, "big") + self.payload


Message = Request | Response | InterleavedFrame


def interleaved_header(channel: int, size: int) -> bytes:
    """The four bytes before a packet of `size` bytes (at most 65535)."""
    return bytes((36, channel, size >> 8, size & 0xFF))


def _encode(start: str, headers: Headers, body: bytes) -> bytes:
    lines = [start, *(f"{name}: {value}" for name, value in headers)]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    for line in lines:
        # H2: text of one peer must never make a header for another.
        if "\r" in line or "\n" in line or "\0" in line:
            raise ValueError(f"line break in RTSP message line {line!r}")
    return "\r\n".join((*lines, "\r\n")).encode() + body


def parse_start_line(line: str) -> Request | Response:
    """A message without headers of its first line; raises `ProtocolViolation`."""
    if line.startswith("RTSP/"):
        return _parse_status(line)
    words = line.split(" ")
    version = words[-1]
    if len(words) != 3 or not _is_version(version):
        raise ProtocolViolation(_likely_mistake(line), "RFC 2326 6.1")
    method, url, _ = words
    if not (method.isascii() and method.replace("_", "").isalnum()):
        raise ProtocolViolation("RTSP method is not a word", "RFC 2326 6.1")
    if not url or not url.isprintable():
        raise ProtocolViolation("RTSP URL is empty or has control characters", "RFC 2326 6.1")
    return Request(method, url, version=version)


def _parse_status(line: str) -> Response:
    version, _, rest = line.partition(" ")
    code, _, reason = rest.partition(" ")
    if not (_is_version(version) and len(code) == 3 and code.isascii() and code.isdigit() and code >= "100"):
        raise ProtocolViolation("RTSP status line without version or code", "RFC 2326 7.1")
    return Response(int(code), reason.strip(), version=version)


def _is_version(text: str) -> bool:
    return len(text) == 8 and text.startswith("RTSP/") and text[6] == "." and (text[5] + text[7]).isdecimal()


def _likely_mistake(line: str) -> str:
    if "HTTP/" in line:
        return "this is HTTP, not RTSP: use the HTTP port, or an RTSP tunnel with x-sessioncookie"
    if line.startswith("SSH-"):
        return "this is SSH, not RTSP"
    return "RTSP request line is not METHOD URL RTSP/1.0"


def wrong_protocol(first: int) -> str | None:
    """What a connection likely speaks whose message starts with byte `first`; None where it may be RTSP."""
    if first == 0x16:
        return "this is TLS, not plain RTSP: use rtsps:// and its port"
    if first in (0x03, 0x06):
        return "this is RTMP, not RTSP: use the RTMP port"
    if not (48 <= first < 58 or 65 <= first < 91 or 97 <= first < 123):
        return "neither an RTSP message nor an interleaved frame starts here"
    return None
