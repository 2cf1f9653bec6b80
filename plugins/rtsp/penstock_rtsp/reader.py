"""Reads the messages and frames of one RTSP connection out of its bytes."""

from __future__ import annotations

import re
from copy import copy

from penstock.errors import ProtocolViolation
from penstock_formats.decimal import parse_decimal
from penstock_rtsp.headers import Headers
from penstock_rtsp.message import (
    InterleavedFrame,
    Message,
    Request,
    Response,
    parse_start_line,
    wrong_protocol,
)

MAX_START_LINE = 2048
"""Bytes of a request line: the URL length that gortsplib and browsers take."""
MAX_HEADERS = 64
"""Header lines; real clients send up to 15."""
MAX_HEADER_LINE = 8 * 1024
"""Bytes of one header line, as in nginx; a Transport list of 32 alternatives has 3 KiB."""
MAX_HEAD = 64 * 1024
"""Bytes of all header lines of one message."""
MAX_BODY = 128 * 1024
"""Bytes of a body: a session description is the largest there is."""

_CLAUSE = "RFC 2326 4"
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_LINE_ENDS = b"\r\n"


class MessageReader:
    """Bytes in by `receive_data`, messages and frames out by `next_event`, however they are split.

    Pending bytes are those of one message: at most a head or body, and what one `receive_data` brought.
    After a violation the connection is lost: it is raised again.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._scanned = 0
        self._offset = 0
        self._start: Request | Response | None = None
        self._lines: list[tuple[str, str]] = []
        self._head_size = 0
        self._body_size: int | None = None
        self._violation: ProtocolViolation | None = None

    def receive_data(self, data: bytes) -> None:
        """Take bytes of the peer."""
        self._buffer += data

    def next_event(self) -> Message | None:
        """The next whole message or frame, None where more bytes are needed; raises `ProtocolViolation`."""
        if self._violation is not None:
            raise self._violation
        if not self._buffer:
            return None
        if self._start is None and self._buffer.startswith(b"$"):
            return self._read_frame()
        try:
            return self._read()
        except ProtocolViolation as violation:
            violation.offset = self._offset
            # Without what led to it, which has this in it: nobody would give that back.
            self._violation = copy(violation)
            self._buffer.clear()
            raise

    def _read(self) -> Message | None:
        buffer = self._buffer
        if self._start is None:
            if buffer[0] in _LINE_ENDS:
                # RFC 2326 4.1: empty lines before a message are ignored.
                self._skip_line_ends()
                return self.next_event()
            if mistake := wrong_protocol(buffer[0]):
                raise ProtocolViolation(mistake, _CLAUSE)
            line = self._read_line(MAX_START_LINE, "RTSP request line")
            if line is None:
                return None
            self._start = parse_start_line(line)
        while self._body_size is None:
            line = self._read_line(MAX_HEADER_LINE, "RTSP header line")
            if line is None:
                return None
            self._take_header(line)
        return self._read_body(self._start, self._body_size)

    def _read_frame(self) -> InterleavedFrame | None:
        buffer = self._buffer
        size = len(buffer)
        if size < 4:
            return None
        end = 4 + (buffer[2] << 8 | buffer[3])
        if size < end:
            return None
        fields = buffer[1], bytes(buffer[4:end])
        # As by `InterleavedFrame(*fields)`, which is a function in Python by itself.
        frame = tuple.__new__(InterleavedFrame, fields)  # pyright: ignore[reportUnknownMemberType]
        del buffer[:end]
        self._offset += end
        return frame

    def _read_line(self, maximum: int, what: str) -> str | None:
        end = self._buffer.find(b"\n", self._scanned)
        if end > maximum or (end < 0 and len(self._buffer) > maximum):
            raise ProtocolViolation(f"{what} above {maximum} bytes", _CLAUSE)
        if end < 0:
            self._scanned = len(self._buffer)
            return None
        raw = bytes(self._buffer[:end]).removesuffix(b"\r")
        if b"\r" in raw or b"\0" in raw:
            raise ProtocolViolation(f"bare CR or NUL in {what}", _CLAUSE)
        self._consume(end + 1)
        try:
            return raw.decode()
        except UnicodeDecodeError:
            return raw.decode("latin-1")

    def _take_header(self, line: str) -> None:
        if not line:
            self._body_size = self._content_length()
            return
        self._head_size += len(line)
        if len(self._lines) == MAX_HEADERS or self._head_size > MAX_HEAD:
            raise ProtocolViolation(
                f"more than {MAX_HEADERS} RTSP headers or {MAX_HEAD} bytes of them", _CLAUSE
            )
        if line[0] in " \t":
            raise ProtocolViolation("RTSP header folded over two lines", _CLAUSE)
        name, colon, value = line.partition(":")
        name = name.rstrip()
        if not colon or not _NAME.fullmatch(name):
            raise ProtocolViolation("RTSP header line without a name", "RFC 2326 4.2")
        self._lines.append((name, value.strip()))

    def _content_length(self) -> int:
        text = Headers(self._lines).single("Content-Length")
        if text is None:
            return 0
        return parse_decimal(text, MAX_BODY, "Content-Length", "RFC 2326 12.14")

    def _read_body(self, start: Request | Response, size: int) -> Message | None:
        if len(self._buffer) < size:
            return None
        body = bytes(self._buffer[:size])
        headers = Headers(line for line in self._lines if line[0].lower() != "content-length")
        self._consume(size)
        self._start = self._body_size = None
        self._lines = []
        self._head_size = 0
        if isinstance(start, Request):
            return Request(start.method, start.url, headers, body, start.version)
        return Response(start.status, start.reason, headers, body, start.version)

    def _skip_line_ends(self) -> None:
        end = 0
        while end < len(self._buffer) and self._buffer[end] in _LINE_ENDS:
            end += 1
        self._consume(end)

    def _consume(self, size: int) -> None:
        del self._buffer[:size]
        self._offset += size
        self._scanned = 0
