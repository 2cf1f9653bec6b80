"""A service that is one TCP listener: what most protocols over TCP need, and all that many need."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING

from penstock.hooks import Endpoint
from penstock.net import Connection, open_listener
from penstock.session import Session
from penstock.settings import parse_listen

if TYPE_CHECKING:
    from penstock.server import Server


class TcpService:
    """Listens on `listen` and runs ``handle(connection, session)`` for each peer, until it returns or raises.

    `name` is the protocol's, in sessions and the log; `key` is the config key that a message about `listen` names
    (``<name>.listen``). `url` is shown at the start, with ``{host}`` and ``{port}`` filled in. A peer that neither
    publishes nor reads within ``server.handshake_timeout`` is closed. With `tls`, the server's certificate is used.
    """

    def __init__(
        self,
        server: Server,
        name: str,
        listen: str,
        handle: Callable[[Connection, Session], Awaitable[None]],
        *,
        key: str = "",
        url: str = "",
        tls: bool = False,
    ) -> None:
        self.name = name
        self._server = server
        self._listen = listen
        self._handle = handle
        self._key = key or f"{name}.listen"
        self._url = url
        self._tls = tls

    async def run(self, started: Callable[[Iterable[Endpoint]], None]) -> None:
        tls = self._server.tls_context() if self._tls else None
        host, port = parse_listen(self._listen)
        listeners = open_listener(host, port, what=self.name.upper(), key=self._key)
        port = listeners[0].getsockname()[1]
        started([Endpoint(self.name, host or "", port, "tcp", (self._url,) if self._url else ())])
        await self._server.serve_tcp(listeners, self.name, self._bounded, tls=tls)

    async def _bounded(self, connection: Connection, session: Session) -> None:
        session.begin_by = time.monotonic() + self._server.config.server.handshake_timeout
        await self._handle(connection, session)
