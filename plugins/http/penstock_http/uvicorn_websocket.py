"""Uvicorn's WebSocket protocol with bounds, and with `penstock.socket`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from penstock import Closed
from penstock.sink import broken
from penstock_http.handover import Handover
from penstock_http.peer import EXTENSION, RawHeaders
from penstock_http.stall import Stall

if TYPE_CHECKING:
    from websockets.http11 import Request

    from penstock.sink import ByteSink
    from penstock_http.uvicorn_server import UvicornServer

MAX_MESSAGE = 4 << 20
"""Bytes of a message from a peer: a key frame of 100 Mbit/s video is smaller."""


class WebSocketConnection(WebSocketsSansIOProtocol):
    """One WebSocket, and its `penstock_http.peer.Peer`."""

    def __init__(
        self, owner: UvicornServer, loop: asyncio.AbstractEventLoop, release: Callable[[], None]
    ) -> None:
        from penstock_http.uvicorn_http import silent

        super().__init__(owner.config, owner.state, {}, loop)
        self.logger = self.conn.logger = silent
        self.owner = owner
        self.gone = ""
        self._release = release
        self._handover: Handover | None = None
        self._ended: Callable[[str], None] | None = None
        self._stall = Stall()
        self._since = time.monotonic()

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if hasattr(self, "scope"):
            cast("dict[str, Any]", self.scope)["extensions"][EXTENSION] = self

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stall.begin()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stall.end()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._release()
        self.gone = self.gone or (broken(exc) if exc is not None else "the peer left")
        if self._handover is not None:
            self._handover.close(self.gone)
        self.end_responses(self.gone)

    def look(self, now: float) -> None:
        """Close what has had its time."""
        limits = self.owner.limits
        if (
            not self.handshake_complete
            and now - self._since > limits.handshake_timeout + limits.wait_for_stream
        ):
            self.transport.abort()
        elif self._stall.over(self.transport, now, limits.stall_timeout):
            self.lost(f"the peer took no data for {limits.stall_timeout:g} s")

    def lost(self, reason: str) -> None:
        """The peer takes no more."""
        self.gone = self.gone or reason
        self.transport.abort()

    def end_responses(self, reason: str) -> None:
        """Let the handler come to its end."""
        if self._ended is not None:
            self._ended(reason)

    def shutdown(self) -> None:
        # The handler says goodbye: see `end_responses`.
        self.stop_keepalive()

    # -- penstock.socket ----------------------------------------------------

    def watch(self, ended: Callable[[str], None] | None) -> None:
        self._ended = ended

    async def turn(self) -> None:
        await self.owner.turns.wait()

    def respond(self, status: int, headers: RawHeaders, body: bytes | memoryview) -> bool:
        return False

    async def begin(self, status: int, headers: RawHeaders) -> None:
        raise NotImplementedError("a WebSocket has no body that ends with the connection")

    async def write(self, data: bytes) -> None:
        raise NotImplementedError("a WebSocket has no body that ends with the connection")

    async def sink(self) -> ByteSink | None:
        if self._handover is None:
            if not self.handshake_complete:
                raise Closed(self.gone or "the WebSocket is not open")
            self._handover = await Handover.of(self.transport, self.owner.server, self.lost)
            self.transport = Diverted(self.transport, self._handover)  # type: ignore[assignment]
        return self._handover.sink

    async def end(self) -> None:
        raise NotImplementedError("a WebSocket ends with a close frame")

    def abort(self) -> None:
        self.transport.abort()


class Diverted:
    """A transport whose socket a sink writes to: what the protocol says between frames (pongs, a close) goes there too."""

    def __init__(self, transport: asyncio.Transport, handover: Handover) -> None:
        self._transport = transport
        self._handover = handover

    def write(self, data: bytes) -> None:
        self._handover.sink.control(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
