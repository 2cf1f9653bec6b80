"""Uvicorn's protocols on sockets that the kernel accepts: its signals, its listeners and its main loop stay out."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from email.utils import formatdate
from functools import partial
from importlib.util import find_spec
from operator import methodcaller
from typing import Any

import anyio
from uvicorn.config import Config
from uvicorn.server import ServerState

from penstock import net
from penstock.server import DRAIN_SHARE, SWITCH_OFF_SECONDS, Server
from penstock_http.api import AsgiApp, Listener
from penstock_http.bodies import Bodies
from penstock_http.express import PlainRequests
from penstock_http.turns import Turns
from penstock_http.uvicorn_http import HttpConnection
from penstock_http.uvicorn_websocket import MAX_MESSAGE, WebSocketConnection

LOOK_SECONDS = 1.0
"""How often connections are looked at whose time may be over."""

BATCH = 256
"""Connections that are looked at, or told of the end, before other tasks get their turn."""

FINISH_SECONDS = 1.0
"""What a response that is under way has to come to its end by itself, where the server stops."""


_PLAIN = b"this port speaks TLS: its URLs begin with https://\n"
USE_TLS = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\nconnection: close\r\n"
    b"content-length: %d\r\n\r\n%s" % (len(_PLAIN), _PLAIN)
)
"""The answer to plain HTTP on the TLS port."""


async def serve(app: AsgiApp, listener: Listener) -> None:
    """Serve `app` until cancelled."""
    await UvicornServer(app, listener).run()


class UvicornServer:
    """What uvicorn's own `Server` does, inside of another program."""

    def __init__(self, app: AsgiApp, listener: Listener) -> None:
        self.server: Server = listener.server
        self.limits = listener.server.config.server
        self.protocol = "https" if listener.tls is not None else "http"
        self.state = ServerState()
        self.app = app
        self.requests = PlainRequests(listener.shortcuts)
        self.bodies = Bodies()
        self.stopping = ""
        self.date = b""
        """The header, as it is now."""
        self.turns = Turns(asyncio.get_running_loop())
        self._listener = listener
        self._pending: set[anyio.CancelScope] = set()
        self.config = Config(
            app,
            http=HttpConnection,
            ws=WebSocketConnection,
            ws_max_size=MAX_MESSAGE,
            # Media is compressed, and a sink's frames are not.
            ws_per_message_deflate=False,
            interface="asgi3",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=listener.config.keep_alive,
        )
        self.config.load()
        if listener.tls is not None and listener.config.http2 and find_spec("h2") is not None:
            listener.tls.set_alpn_protocols(["h2", "http/1.1"])

    async def run(self) -> None:
        _tell_library()
        self._tell_time()
        try:
            async with anyio.create_task_group() as tasks:
                for sock in self._listener.sockets:
                    tasks.start_soon(net.accept, sock, self._accepted)
                tasks.start_soon(self._look)
        finally:
            for sock in self._listener.sockets:
                sock.close()
            with anyio.CancelScope(shield=True):
                await self._stop()
            self.bodies.close()

    def _accepted(self, sock: socket.socket, peer: Any) -> None:
        release = self.server.admit(peer, self.protocol)
        if release is None:
            sock.close()
        else:
            self.server.spawn(partial(self._connect, sock, peer, release))

    async def _connect(self, sock: socket.socket, peer: Any, release: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        make = partial(HttpConnection, self, loop, release)
        connected = False
        spare: socket.socket | None = None
        """What is left of the connection for an answer where the handshake fails: the loop closes its own."""
        scope = anyio.CancelScope()
        self._pending.add(scope)
        try:
            with scope:
                if self.stopping:
                    return
                tls: dict[str, Any] = {}
                if self._listener.tls is not None:
                    spare = sock.dup()
                    tls = {"ssl": self._listener.tls, "ssl_handshake_timeout": self.limits.handshake_timeout}
                await loop.connect_accepted_socket(make, sock, **tls)
                connected = True
        except (OSError, ssl.SSLError) as e:
            if spare is not None and _is_plain_http(e):
                with suppress(OSError):
                    spare.send(USE_TLS)
            self.server.plugins.limited_log(
                "connection closed", peer=net.format_address(peer), protocol=self.protocol, reason=_why(e)
            )
        finally:
            self._pending.discard(scope)
            if spare is not None:
                spare.close()
            if not connected:
                sock.close()
                release()

    def speak_http2(self, transport: asyncio.Transport, release: Callable[[], None]) -> None:
        """A peer has chosen HTTP/2 in its TLS handshake."""
        # Imported only where it is used: the library is an extra of its own.
        from penstock_http.http2 import Http2Connection

        connection = Http2Connection(self, release)
        transport.set_protocol(connection)
        connection.connection_made(transport)

    async def _look(self) -> None:
        while True:
            await anyio.sleep(LOOK_SECONDS)
            self._tell_time()
            now = time.monotonic()
            self.bodies.expire(now)
            self.requests.let_go()
            await self._each(methodcaller("look", now))

    async def _each(self, tell: Callable[[Any], None]) -> None:
        for number, connection in enumerate(tuple(self.state.connections)):
            tell(connection)
            if number % BATCH == BATCH - 1:
                await anyio.lowlevel.checkpoint()

    def _tell_time(self) -> None:
        # In place: WebSocket connections keep the list that they are given.
        date = formatdate(usegmt=True).encode()
        self.state.default_headers[:] = [(b"date", date)]
        self.date = b"date: %s\r\n" % date

    async def _stop(self) -> None:
        """End what is open: idle connections at once, long responses with a word, and what does not end by force."""
        draining = self.server.stopping
        self.stopping = "the server is stopping" if draining else f"{self.protocol} is switched off"
        limit = self.limits.drain_timeout * DRAIN_SHARE if draining else SWITCH_OFF_SECONDS
        with anyio.move_on_after(limit):
            for scope in tuple(self._pending):
                scope.cancel()
            await self._each(lambda connection: connection.shutdown())
            with anyio.move_on_after(min(FINISH_SECONDS, limit / 2)):
                await self._emptied()
            await self._each(lambda connection: connection.end_responses(self.stopping))
            await self._emptied()
        await self._each(lambda connection: connection.transport.abort())
        for task in tuple(self.state.tasks):
            task.cancel()

    async def _emptied(self) -> None:
        while self.state.connections or self.state.tasks:
            await anyio.sleep(0.01)


def _is_plain_http(error: Exception) -> bool:
    return isinstance(error, ssl.SSLError) and error.reason == "HTTP_REQUEST"


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        if _is_plain_http(error):
            return "plain HTTP on a TLS port: its URLs begin with https://"
        return f"TLS handshake failed: {error.reason or error}"
    return f"TLS handshake failed: {error}" if str(error) else "the peer left"


def _tell_library() -> None:
    """Say for callbacks of the loop which library that is: where sniffio is installed anyio asks it, and outside of tasks that
    knows it only under `anyio.run`, or from what connections inherit of this task.
    """
    with suppress(ImportError):
        from sniffio import current_async_library_cvar

        current_async_library_cvar.set("asyncio")
