"""Sinks: how bytes reach one peer. What differs by peer stays here; units are shared."""

from __future__ import annotations

import socket
import ssl
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol

import anyio
from anyio import wait_writable

from penstock.errors import Closed

if TYPE_CHECKING:
    from penstock.feed import Feed
    from penstock.lanes import Lane

MAX_CONTROL = 1 << 20
"""Bytes of replies that may wait for one peer: one that asks and never reads is closed."""

Spawn = Callable[[Callable[[], Coroutine[Any, Any, None]]], object]
"""Starts a task that the sink needs only while its peer's socket is full."""


def broken(error: Exception) -> str:
    """Why a connection ended: that a peer left is told by many errors, and by chance."""
    if isinstance(error, ConnectionError | ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return "the peer left"
    return getattr(error, "strerror", None) or "connection closed"


class Source(Protocol):
    """Where a sink gets what its peer still has to catch up on: its reader."""

    def catch_up(self) -> bytes | None:
        """The next bytes for this peer, None once it is at the head of its feed."""
        ...

    def held(self) -> None:
        """Bytes wait at the socket: nothing may be sent past them."""
        ...

    def ended(self, reason: str) -> None:
        """The sink is closed."""
        ...


class ByteSink:
    """A peer at a byte stream (TCP): units joined, control bytes between units, nothing copied that need not be."""

    __slots__ = (
        "_backlog",
        "_closed",
        "_draining",
        "_spawn",
        "_waiting",
        "plain",
        "send",
        "sock",
        "source",
        "stall_timeout",
    )

    def __init__(self, sock: socket.socket, spawn: Spawn, stall_timeout: float = 10.0) -> None:
        self.sock = sock
        self.send: Callable[[bytes | memoryview], int] = sock.send
        self.plain = True
        """Whether what is sent goes to the socket as it is."""
        self.source: Source | None = None
        self.stall_timeout = stall_timeout
        self._spawn = spawn
        self._backlog: deque[bytes | memoryview] | None = None
        self._waiting = 0
        self._draining = False
        self._closed = ""

    @property
    def blocked(self) -> bool:
        """Whether bytes wait for the socket, so that nothing may overtake them."""
        return self._draining

    @property
    def closed(self) -> str:
        """Why it is closed, empty while it is open."""
        return self._closed

    def control(self, data: bytes) -> None:
        """Send `data` at the next unit boundary: at once, or after what is under way."""
        if self._closed:
            return
        if not self._draining:
            sent = self.try_send(data)
            if sent == len(data) or self._closed:
                return
            self.block(memoryview(data)[sent:] if sent else data)
            return
        self._waiting += len(data)
        if self._waiting > MAX_CONTROL:
            self.close("the peer asks but does not read")
            return
        self._queue(data)

    def try_send(self, data: bytes | memoryview) -> int:
        """Bytes that the socket took now; closes the sink where the connection is broken."""
        try:
            return self.send(data)
        except BlockingIOError:
            return 0
        except OSError as e:
            self.close(broken(e))
            return 0

    def block(self, rest: bytes | memoryview) -> None:
        """`rest` did not fit the socket: a task of its own sends it, and then what the reader must catch up on."""
        self._queue(rest)
        self.drain()

    def drain(self) -> None:
        """Start the task that writes what waits, unless it runs."""
        if not self._draining and not self._closed:
            self._draining = True
            if self.source is not None:
                self.source.held()
            self._spawn(self._drain)

    def _queue(self, data: bytes | memoryview) -> None:
        if self._backlog is None:
            self._backlog = deque()
        self._backlog.append(data)

    async def _drain(self) -> None:
        while not self._closed:
            backlog = self._backlog
            if backlog:
                if not await self._write(backlog):
                    return
                continue
            self._backlog = None
            self._waiting = 0
            chunk = self.source.catch_up() if self.source is not None else None
            if chunk is None:
                self._draining = False
                return
            self._queue(chunk)

    async def _write(self, backlog: deque[bytes | memoryview]) -> bool:
        data = backlog[0]
        sent = self.try_send(data)
        if self._closed:
            return False
        if sent == len(data):
            backlog.popleft()
            return True
        if sent:
            backlog[0] = memoryview(data)[sent:]
        with anyio.move_on_after(self.stall_timeout) as stall:
            try:
                await wait_writable(self.sock)
            except (OSError, ValueError, anyio.ClosedResourceError):
                self.close("connection closed")
                return False
        if stall.cancelled_caught:
            self.close(f"the peer took no data for {self.stall_timeout:g} s")
            return False
        return True

    def lane(self, feed: Feed) -> Lane:
        """A lane of `feed` for byte sinks of this kind."""
        from penstock.lanes import ByteLane, SocketLane

        return SocketLane(feed) if self.plain else ByteLane(feed)

    async def flushed(self) -> None:
        """Wait until nothing is left to send, as before a polite close."""
        while self._draining and not self._closed:
            await anyio.sleep(0.01)

    def close(self, reason: str) -> None:
        """Nothing more is sent; the reader is told once. The socket stays its connection's to close."""
        if self._closed:
            return
        self._closed = reason
        self._backlog = None
        source, self.source = self.source, None
        if source is not None:
            source.ended(reason)


class TlsSink(ByteSink):
    """A peer behind TLS: one record stream a reader; what the library could not send is offered again unchanged."""

    __slots__ = ()

    def __init__(self, sock: ssl.SSLSocket, spawn: Spawn, stall_timeout: float = 10.0) -> None:
        super().__init__(sock, spawn, stall_timeout)
        write = sock.send

        def send(data: bytes | memoryview) -> int:
            try:
                return write(data)
            except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
                raise BlockingIOError from None

        self.send = send
        self.plain = False


class _NoSocket:
    """Where a socket would be: it takes nothing, so that everything goes the way of a peer whose socket is full."""

    def send(self, data: bytes | memoryview) -> int:
        raise BlockingIOError


class SendSink(ByteSink):
    """A peer that is reached through somebody else's server, by an `async` function: a task for each pass, one buffer at a time.

    `put` waits while the peer does not read, and raises `Closed` where it left or takes nothing any more.
    """

    __slots__ = ("_put",)

    def __init__(self, put: Callable[[bytes], Awaitable[None]], spawn: Spawn) -> None:
        no_socket: Any = _NoSocket()
        super().__init__(no_socket, spawn)
        self.plain = False
        self._put = put

    async def _write(self, backlog: deque[bytes | memoryview]) -> bool:
        try:
            await self._put(bytes(backlog.popleft()))
        except Closed as e:
            self.close(str(e))
            return False
        return True
