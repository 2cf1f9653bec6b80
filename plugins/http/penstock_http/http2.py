"""HTTP/2 over TLS, on the library h2: streams as ASGI requests, and bounds on what a peer may make us do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    Event,
    PingReceived,
    PriorityUpdated,
    RemoteSettingsChanged,
    RequestReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import ProtocolError, StreamClosedError
from h2.settings import SettingCodes, Settings
from uvicorn.protocols.utils import get_local_addr, get_remote_addr

from penstock.net import format_address
from penstock.sink import broken
from penstock_http.api import Message
from penstock_http.http2_stream import Http2Stream
from penstock_http.peer import RawHeaders
from penstock_http.stall import Stall

if TYPE_CHECKING:
    from penstock_http.uvicorn_server import UvicornServer

PREAMBLE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client begins with (RFC 9113 3.4)."""

MAX_STREAMS = 100
"""Requests of a connection at a time: what browsers reckon with, and what RFC 9113 6.5.2 asks for at least."""

MAX_HEAD = 32 << 10
"""Bytes of a request's headers, decoded; what comes in CONTINUATION frames the library bounds by their number."""

WINDOW = 64 << 10
"""Bytes of a request's body that may wait for the handler: the protocol's own default, less a byte."""

MAX_FRAME = 16_384
"""Bytes of a frame's payload, the protocol's own default (RFC 9113 6.5.2)."""

PATIENCE = 200
"""Frames that bring nothing (PING, SETTINGS, RST_STREAM, PRIORITY, empty DATA) that may come in a burst: CVE-2023-44487."""

PATIENCE_RATE = 50.0
"""And how many a second."""


class _Frames:
    """Measures frames as they come, since the library would wait for the end of one of 16 MB, and only then refuse it."""

    def __init__(self) -> None:
        self._left = len(PREAMBLE)
        """What is still to come of a frame whose length is known; in the beginning, of the connection's preface."""
        self._head = b""

    def fits(self, data: bytes) -> bool:
        """Whether no frame of which something is in `data` is too long."""
        position = 0
        while position < len(data):
            if self._left:
                step = min(self._left, len(data) - position)
                self._left -= step
            else:
                step = min(9 - len(self._head), len(data) - position)
                self._head += data[position : position + step]
                if len(self._head) == 9:
                    self._left, self._head = int.from_bytes(self._head[:3]), b""
                    if self._left > MAX_FRAME:
                        return False
            position += step
        return True


class Http2Connection(asyncio.Protocol):
    """One connection, once ALPN has chosen HTTP/2."""

    transport: asyncio.Transport

    def __init__(self, owner: UvicornServer, release: Callable[[], None]) -> None:
        self.owner = owner
        self._release = release
        self._h2 = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        self._h2.local_settings = Settings(
            client=False,
            initial_values={
                SettingCodes.MAX_CONCURRENT_STREAMS: MAX_STREAMS,
                SettingCodes.MAX_HEADER_LIST_SIZE: MAX_HEAD,
                SettingCodes.INITIAL_WINDOW_SIZE: WINDOW - 1,
                SettingCodes.ENABLE_PUSH: 0,
            },
        )
        self._h2.decoder.max_header_list_size = MAX_HEAD
        self._streams: dict[int, Http2Stream] = {}
        self._running = 0
        """Handlers that have not come to their end, also of streams that were reset."""
        self._paused = False
        self._last = False
        """Whether no more requests are taken."""
        self._frame = _Frames()
        self._patience = float(PATIENCE)
        self._stall = Stall()
        self._since = self._counted = time.monotonic()
        """Since when there has been no request; when patience was last counted."""
        self._served = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        self.owner.state.connections.add(self)  # type: ignore[arg-type]
        self._server, self._client = get_local_addr(transport), get_remote_addr(transport)
        self._h2.initiate_connection()
        self._flush()

    # -- what comes ---------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if not self._frame.fits(data):
            self._refuse(f"not HTTP/2: a frame of more than {MAX_FRAME} bytes", ErrorCodes.FRAME_SIZE_ERROR)
            return
        try:
            events = self._h2.receive_data(data)
        except ProtocolError as e:
            self._refuse(f"not HTTP/2: {e}" if str(e) else "not HTTP/2")
            return
        for event in events:
            self._on(event)
            if self.transport.is_closing():
                return
        self._flush()

    def _on(self, event: Event) -> None:
        match event:
            case RequestReceived():
                self._request(event.stream_id, event.headers)
            case DataReceived():
                stream = self._streams.get(event.stream_id)
                padding = event.flow_controlled_length - len(event.data)
                if stream is None or not event.data:
                    self._spend()
                    padding = event.flow_controlled_length
                else:
                    stream.take(event.data)
                self.took(event.stream_id, padding)
            case StreamEnded():
                if (stream := self._streams.get(event.stream_id)) is not None:
                    stream.finish()
            case StreamReset():
                self._spend()
                if (stream := self._streams.pop(event.stream_id, None)) is not None:
                    stream.lose("the peer left")
            case WindowUpdated() | RemoteSettingsChanged():
                if not isinstance(event, WindowUpdated):
                    self._spend()
                self._wake()
            case PingReceived() | PriorityUpdated():
                self._spend()
            case _:
                pass

    def _request(self, id: int, headers: Any) -> None:
        fields: dict[bytes, bytes] = {}
        plain: RawHeaders = []
        for name, value in headers:
            if name.startswith(b":"):
                fields[name] = value
            elif name != b"host" or b":authority" not in fields:
                plain.append((name, value))
        if b":authority" in fields:
            plain.insert(0, (b"host", fields[b":authority"]))
        path, _, query = fields.get(b":path", b"").partition(b"?")
        if self._last or self._running >= 2 * MAX_STREAMS or not path.startswith((b"/", b"*")):
            code = (
                ErrorCodes.PROTOCOL_ERROR if not path.startswith((b"/", b"*")) else ErrorCodes.REFUSED_STREAM
            )
            self._h2.reset_stream(id, code)
            self._spend()
            return
        self._served = True
        scope: Message = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "2",
            "server": self._server,
            "client": self._client,
            "scheme": "https",
            "root_path": "",
            "method": fields[b":method"].decode("latin-1"),
            "path": unquote(path.decode("latin-1")) if path.isascii() else "\ufffd",
            "raw_path": path,
            "query_string": query,
            "headers": plain,
            "state": {},
        }
        stream = self._streams[id] = Http2Stream(self, id, scope)
        self._running += 1
        task = asyncio.get_running_loop().create_task(self._run(stream))
        self.owner.state.tasks.add(task)
        task.add_done_callback(self.owner.state.tasks.discard)

    async def _run(self, stream: Http2Stream) -> None:
        try:
            await self.owner.app(stream.scope, stream.receive, stream.send)
        finally:
            self._running -= 1
            self._streams.pop(stream.id, None)
            if not (stream.gone or self.transport.is_closing()):
                self._end(stream)
            self._since = time.monotonic()
            if self._last and not self._streams:
                self._close()

    def _end(self, stream: Http2Stream) -> None:
        """Its handler is done: what is not whole is broken off, and what nobody read is of no use to anybody."""
        self.took(stream.id, stream.unread)
        if not (stream.complete and stream.whole):
            code = ErrorCodes.NO_ERROR if stream.complete else ErrorCodes.INTERNAL_ERROR
            with suppress(StreamClosedError):
                self._h2.reset_stream(stream.id, code)
        self._flush()

    def _spend(self) -> None:
        """A frame came that asked for nothing."""
        now = time.monotonic()
        self._patience = min(PATIENCE, self._patience + (now - self._counted) * PATIENCE_RATE) - 1
        self._counted = now
        if self._patience < 0:
            self._refuse("frames without end that ask for nothing", ErrorCodes.ENHANCE_YOUR_CALM)

    def _refuse(self, reason: str, code: ErrorCodes | None = None) -> None:
        self.owner.server.plugins.limited_log(
            "protocol violation",
            level="warning",
            protocol=self.owner.protocol,
            peer=format_address(self._client or ""),
            reason=reason,
        )
        if code is not None:
            self._h2.close_connection(code)
        self._flush()  # the library has written why, where it was that found it
        self.transport.close()

    # -- what streams do ------------------------------------------------------

    def took(self, id: int, size: int) -> None:
        """So much of a request's body is taken: more may come."""
        if size:
            self._h2.acknowledge_received_data(size, id)
            self._flush()

    def room(self, id: int) -> int:
        """How much of a response may be sent now."""
        if self._paused:
            return 0
        try:
            return max(0, self._h2.local_flow_control_window(id))
        except StreamClosedError:
            return 0

    def send_head(self, id: int, headers: RawHeaders, *, end: bool) -> None:
        self._h2.send_headers(id, headers, end_stream=end)
        self._flush()

    def send_body(self, id: int, data: memoryview[Any], *, end: bool) -> None:
        """Within `room`. Others that wait for room have it first the next time."""
        if id in self._streams:
            self._streams[id] = self._streams.pop(id)
        size = self._h2.max_outbound_frame_size
        while len(data) > size:
            self._h2.send_data(id, data[:size])
            data = data[size:]
        self._h2.send_data(id, data, end_stream=end)
        self._flush()

    def _flush(self) -> None:
        data = self._h2.data_to_send()
        if data and not self.transport.is_closing():
            self.transport.write(data)

    def _wake(self) -> None:
        for stream in tuple(self._streams.values()):
            stream.may_send()

    def pause_writing(self) -> None:
        self._paused = True
        self._stall.begin()
        # What is read would be answered: acknowledgements that nobody takes.
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        self._paused = False
        self._stall.end()
        self.transport.resume_reading()
        self._wake()

    # -- time and end ----------------------------------------------------------

    def look(self, now: float) -> None:
        """Close what has had its time."""
        limits = self.owner.limits
        if not self._streams:
            limit = self.owner.config.timeout_keep_alive if self._served else limits.handshake_timeout
            if now - self._since > limit:
                self._close()
        if self._stall.over(self.transport, now, limits.stall_timeout):
            self.transport.abort()

    def _close(self) -> None:
        if not self.transport.is_closing():
            self._h2.close_connection()
            self._flush()
            self.transport.close()

    def shutdown(self) -> None:
        """Take no more requests, and close after the last."""
        self._last = True
        if not self._streams:
            self._close()

    def end_responses(self, reason: str) -> None:
        """Let the handlers come to their end."""
        for stream in tuple(self._streams.values()):
            stream.end(reason)

    def connection_lost(self, exc: Exception | None) -> None:
        self.owner.state.connections.discard(self)
        self._release()
        reason = broken(exc) if exc is not None else "the peer left"
        for stream in tuple(self._streams.values()):
            stream.lose(reason)
        self._streams.clear()
