"""Uvicorn's HTTP/1.1 protocol with bounds: on heads, on time, on what waits for a peer; and with `penstock.socket`."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from penstock import Closed
from penstock.net import format_address
from penstock.sink import broken
from penstock_http.express import Express
from penstock_http.handover import Handover
from penstock_http.peer import EXTENSION, RawHeaders
from penstock_http.stall import Stall
from penstock_http.uvicorn_websocket import WebSocketConnection

if TYPE_CHECKING:
    from penstock.sink import ByteSink
    from penstock_http.uvicorn_server import UvicornServer

MAX_HEAD = 32 << 10
"""Bytes of a request's line and headers: four times what nginx and Apache take, for cookies of others on the host."""

MAX_PIPELINED = 64
"""Requests in one read that may wait for the first to be answered: each is some kilobytes. Browsers send one."""

PIECE = 1 << 10
"""Bytes of a read with more of them that are parsed before it is seen whether a request waits: 64 at most fit in."""

silent = logging.getLogger("penstock.http.uvicorn")
"""What uvicorn would log about peers, we do, with limits; and the loggers of its name are the embedding program's."""
silent.addHandler(logging.NullHandler())
silent.propagate = False


class HttpConnection(HttpToolsProtocol):
    """One connection from when it is accepted until it is closed, or a WebSocket."""

    def __init__(
        self, owner: UvicornServer, loop: asyncio.AbstractEventLoop, release: Callable[[], None]
    ) -> None:
        super().__init__(owner.config, owner.state, {}, loop)
        self.logger = silent
        self.owner = owner
        self.release = release
        self.handover: Handover | None = None
        self.gone = ""
        self._handles: deque[HttpPeer] = deque()
        """Requests that were begun and not answered whole, in order."""
        self._received = 0
        self._in_head = False
        self._head = 0
        self._refusal: tuple[int, str] | None = None
        self._unread: memoryview[int] = memoryview(b"")
        """What came behind a request that waits for another's answer."""
        self._piece = 0
        self._farewell = b""
        """What is said to a peer that is not understood, once what it asked before is answered."""
        self._waiting: float | None = time.monotonic()
        """Since when a request's head is waited for, None while there is a request, or none has begun after the first."""
        self._idle: float | None = None
        """Since when the connection is kept for another request."""
        self._whole = True
        """Whether the parser is between two requests."""
        self.express = Express(self)
        self._stall = Stall()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        tls = transport.get_extra_info("ssl_object")
        if tls is not None and tls.selected_alpn_protocol() == "h2":
            self.owner.speak_http2(transport, self.release)
            return
        super().connection_made(transport)
        self.address = format_address(self.client or "")
        self.descriptor: int = -1 if self.scheme == "https" else transport.get_extra_info("socket").fileno()
        """Of the socket, where what is written to it needs no more than that."""

    # -- what comes ---------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self.handover is not None or self._farewell:
            return  # nobody listens; that it is read tells us of the peer's end
        if self.express.busy:
            self._unread = memoryview(bytes(self._unread) + data)
            self.flow.pause_reading()
        elif self._unread:
            self.parse(bytes(self._unread) + data)
        else:
            self._idle = None
            if self._whole and not self._handles and self.express.take(data):
                self._received += len(data)
                self._waiting = None
            else:
                self.parse(data)

    def parse(self, data: bytes) -> None:
        """Take what nothing is known of."""
        self._idle = None
        self._unread = memoryview(data)
        # Every request has it in its first line.
        self._piece = len(data) if data.count(b"/1.") < MAX_PIPELINED else PIECE
        self._read()

    def _read(self) -> None:
        """Parse what came, until a request has to wait: what follows it is not read before it is its turn."""
        while self._unread and not self.pipeline and not self.transport.is_closing():
            data, self._unread = self._unread[: self._piece], self._unread[self._piece :]
            if not self._parse(data):
                self._unread = memoryview(b"")
        if self.pipeline:
            # Enough is here; one response does not make room for a buffer full of requests.
            self.flow.pause_reading()

    def _parse(self, data: memoryview) -> bool:
        """Whether there is something to be read behind `data`."""
        first = not self._received
        self._received += len(data)
        was_in_head = self._in_head
        if self.parser is None:
            return False
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            if self._should_upgrade():
                self.handle_websocket_upgrade()
            else:
                # Not to another protocol that we speak: answered as if it had not been asked (RFC 9110 7.8).
                self.cycle.keep_alive = False
            return False
        except httptools.HttpParserError as e:
            status, reason = self._refusal or (400, _mistaken(bytes(data)) if first else "")
            self._refuse(status, reason or _complaint(e))
            return False
        if self._in_head and was_in_head:
            self._head += len(data)
            if self._head > MAX_HEAD:
                self._refuse(431, f"more than {MAX_HEAD} bytes of headers")
                return False
        if self._waiting is None and not self._handles and not self.transport.is_closing():
            self._waiting = time.monotonic()
        return True

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._whole = False
        self._in_head = True
        self._head = 0

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self._count(len(name) + len(value) + 4)

    def _count(self, size: int) -> None:
        self._head += size
        if self._head > MAX_HEAD:
            self._refusal = 431, f"more than {MAX_HEAD} bytes of headers"
            raise ValueError

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._whole = True

    def on_headers_complete(self) -> None:
        self._in_head = False
        if self.url.startswith(b"rtsp:"):
            self._refusal = 400, "RTSP on the HTTP port"
            raise ValueError
        version = self.parser.get_http_version() if self.parser is not None else ""
        if version not in ("1.0", "1.1"):
            self._refusal = 505, f"HTTP/{version}, and 1.1 is what is spoken here"
            raise ValueError
        hosts = sum(name == b"host" for name, _ in self.headers)
        if hosts > 1 or (not hosts and version == "1.1"):
            self._refusal = 400, "not one Host header (RFC 9112 3.2)"
            raise ValueError
        before = self.cycle
        super().on_headers_complete()
        self._waiting = self._idle = None
        if self.cycle is not before:
            peer = HttpPeer(self, self.cycle)
            self._handles.append(peer)
            cast("dict[str, Any]", self.scope)["extensions"] = {EXTENSION: peer}

    def _refuse(self, status: int, reason: str) -> None:
        broken = self._handles[-1] if self._handles and self._handles[-1].cycle.more_body else None
        if broken is not None:
            broken.broke(reason)
        else:
            self.owner.server.plugins.limited_log(
                "protocol violation",
                level="warning",
                protocol=self.owner.protocol,
                peer=self.address,
                reason=reason,
                offset=self._received,
            )
        if self.transport.is_closing():
            return
        body = f"{reason}\n".encode()
        head = (
            b"content-type: text/plain; charset=utf-8\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
            % len(body)
        )
        self._farewell = b"".join((STATUS_LINE[status], head, body))
        if not self._handles:
            # Else a response is under way, of which this must not become a part.
            self._bid_farewell()

    def _bid_farewell(self) -> None:
        self.transport.write(self._farewell)
        self.close()

    def handle_websocket_upgrade(self) -> None:
        self.connections.discard(self)
        head = [self.scope["method"].encode(), b" ", self.url, b" HTTP/1.1\r\n"]
        for name, value in self.headers:
            head += [name, b": ", value, b"\r\n"]
        head.append(b"\r\n")
        protocol = WebSocketConnection(self.owner, self.loop, self.release)
        protocol.connection_made(self.transport)
        self.transport.set_protocol(protocol)
        protocol.data_received(b"".join(head))

    # -- what goes ----------------------------------------------------------

    def on_response_complete(self) -> None:
        if self._handles:
            self._handles.popleft()
        if not self.transport.is_closing():
            self.flow.resume_reading()
            if self.pipeline:
                self._start_asgi_task(*self.pipeline.pop())
            else:
                self._idle = time.monotonic()
        if self._farewell and not self._handles and not self.transport.is_closing():
            self._bid_farewell()
            return
        self._read()
        if self._in_head and not self._handles:
            # The next request has begun already, and now it is its turn.
            self._idle = None
            self._waiting = time.monotonic()

    def answered(self, *, last: bool) -> None:
        """A request is answered whole that was not parsed here."""
        if last:
            self.close()
            return
        self._idle = time.monotonic()
        if self._unread:
            data, self._unread = bytes(self._unread), memoryview(b"")
            self.data_received(data)
        if self.flow.read_paused:
            self.flow.resume_reading()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stall.begin()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stall.end()
        self.express.go_on()

    # -- time and end --------------------------------------------------------

    def look(self, now: float) -> None:
        """Close what has had its time."""
        limits = self.owner.limits
        if self._waiting is not None and now - self._waiting > limits.handshake_timeout:
            self._expire(f"no request within {limits.handshake_timeout:g} s")
        elif self._idle is not None and now - self._idle > self.timeout_keep_alive:
            self.close()
        if self._stall.over(self.transport, now, limits.stall_timeout):
            self.lost(f"the peer took no data for {limits.stall_timeout:g} s")

    def _expire(self, reason: str) -> None:
        self._waiting = None
        self.owner.server.plugins.limited_log(
            "connection closed",
            protocol=self.owner.protocol,
            peer=self.address,
            reason=reason,
        )
        if self._in_head and not self._handles:
            self.transport.write(STATUS_LINE[408] + b"connection: close\r\ncontent-length: 0\r\n\r\n")
        self.close()

    def lost(self, reason: str) -> None:
        """The peer takes no more."""
        self.gone = self.gone or reason
        self.transport.abort()

    def close(self) -> None:
        """Close once what was written is out, which the peer may delay only for so long."""
        self.transport.close()

    def end_responses(self, reason: str) -> None:
        """Let the handlers of all requests come to their end."""
        self.express.end(reason)
        for handle in tuple(self._handles):
            handle.ended(reason)

    def shutdown(self) -> None:
        if self.express.busy:
            self.express.shut()
        elif self._handles:
            for handle in self._handles:
                handle.cycle.keep_alive = False
        else:
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.release()
        self.express.forget()
        self.gone = self.gone or (broken(exc) if exc is not None else "the peer left")
        if self.handover is not None:
            self.handover.close(self.gone)
        for handle in tuple(self._handles):
            handle.cycle.disconnected = True
            handle.cycle.message_event.set()
            handle.ended(self.gone)
        self._handles.clear()


class HttpPeer:
    """`penstock_http.peer.Peer` of one HTTP/1.1 request."""

    __slots__ = ("_connection", "_ended", "broken", "cycle")

    def __init__(self, connection: HttpConnection, cycle: RequestResponseCycle) -> None:
        self._connection = connection
        self._ended: Callable[[str], None] | None = None
        self.cycle = cycle
        self.broken = ""

    @property
    def gone(self) -> str:
        return self._connection.gone

    def watch(self, ended: Callable[[str], None] | None) -> None:
        self._ended = ended
        if self.broken:
            self.ended(self.broken)

    def broke(self, reason: str) -> None:
        """The rest of the request's body cannot be read."""
        self.broken = reason
        self.ended(reason)

    def ended(self, reason: str) -> None:
        """The peer left, or the server stops."""
        if self._ended is not None:
            self._ended(reason)

    async def turn(self) -> None:
        await self._connection.owner.turns.wait()

    def respond(self, status: int, headers: RawHeaders, body: bytes | memoryview) -> bool:
        connection, cycle = self._connection, self.cycle
        if connection.flow.write_paused or connection.handover is not None:
            return False
        if cycle.disconnected:
            return True
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        cycle.keep_alive = cycle.keep_alive and not connection.owner.server.stopping
        lines = [STATUS_LINE[status]]
        told = False
        for name, value in (*cycle.default_headers, *headers):
            lines += (name, b": ", value, b"\r\n")
            if name == b"connection" and value == b"close":
                told, cycle.keep_alive = True, False
        lines.append(b"\r\n" if cycle.keep_alive or told else b"connection: close\r\n\r\n")
        if body:
            connection.transport.writelines((b"".join(lines), body))
        else:
            connection.transport.write(b"".join(lines))
        cycle.message_event.set()
        if not cycle.keep_alive:
            connection.transport.close()
        cycle.on_response()
        return True

    async def begin(self, status: int, headers: RawHeaders) -> None:
        connection, cycle = self._connection, self.cycle
        cycle.response_started = True
        cycle.waiting_for_100_continue = False
        cycle.keep_alive = False
        lines = [STATUS_LINE[status]]
        for name, value in (*cycle.default_headers, *headers, (b"connection", b"close")):
            lines += [name, b": ", value, b"\r\n"]
        lines.append(b"\r\n")
        await self.write(b"".join(lines))
        if connection.gone:
            raise Closed(connection.gone)

    async def write(self, data: bytes) -> None:
        connection = self._connection
        if connection.flow.write_paused:
            await connection.flow.drain()
        if not connection.gone:
            connection.transport.write(data)

    async def sink(self) -> ByteSink | None:
        connection = self._connection
        if connection.handover is None:
            connection.handover = await Handover.of(
                connection.transport, connection.owner.server, connection.lost
            )
            # Closed with something unread, the connection would be reset, and its last bytes with it.
            connection.flow.resume_reading()
        return connection.handover.sink

    async def end(self) -> None:
        connection = self._connection
        if connection.handover is not None:
            await connection.handover.sink.flushed()
            connection.handover.close("the response ended")
        self._close()

    def _close(self) -> None:
        connection, cycle = self._connection, self.cycle
        cycle.response_complete = True
        cycle.message_event.set()
        connection.close()
        cycle.on_response()

    def abort(self) -> None:
        connection = self._connection
        if connection.handover is not None:
            connection.handover.close("the response was broken off")
        self.cycle.response_started = True
        self._close()
        connection.transport.abort()


def _complaint(error: Exception) -> str:
    return f"not HTTP/1.1: {error}" if str(error) else "not HTTP/1.1"


_MISTAKES = (
    (b"\x16\x03", "TLS on a plain HTTP port: its URLs begin with http://"),
    (b"SSH-", "SSH on the HTTP port"),
    (b"\x03", "RTMP on the HTTP port"),
    (b"PRI * HTTP/2", "HTTP/2 without TLS, which is not offered"),
    (b"PROXY ", "a PROXY protocol header, which is not configured here"),
    (b"\r\n\r\n\x00\r\nQUIT\n", "a PROXY protocol header, which is not configured here"),
)


def _mistaken(data: bytes) -> str:
    """What a peer's first bytes look like, where they are no HTTP."""
    return next((meaning for start, meaning in _MISTAKES if data.startswith(start)), "")
