"""A server as an ASGI application, for somebody else's project: which plugin answers is not the kernel's concern."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any

from penstock.errors import UserError

if TYPE_CHECKING:
    from penstock.server import Server

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]


class AsgiApp:
    """Passes requests on to the application that a plugin offers by the hook `asgi`.

    Where it is an ASGI server's root application, the lifespan starts and stops the server; mounted, nobody tells it of
    the lifespan, and whoever mounts it starts the server.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._app: Application | None = None
        self._since = -1

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "lifespan":
            await self._live(receive, send)
        elif (app := self._found()) is not None:
            await app(scope, receive, send)
        elif kind == "http":
            head = [(b"content-type", b"text/plain; charset=utf-8")]
            await send({"type": "http.response.start", "status": 503, "headers": head})
            await send({"type": "http.response.body", "body": b"Penstock does not run here\n"})
        elif kind == "websocket":
            await send({"type": "websocket.close", "code": 1013})

    def _found(self) -> Application | None:
        server = self._server
        if not server.running:
            return None
        if self._since != server.plugins.changes:
            self._app = server.plugins.first("asgi")
            self._since = server.plugins.changes
        return self._app

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        if self._server.running:
            await send({"type": "lifespan.startup.complete"})
            await receive()
        elif failure := await self._run(receive, send):
            await send({"type": "lifespan.startup.failed", "message": failure})
            return
        await send({"type": "lifespan.shutdown.complete"})

    async def _run(self, receive: Receive, send: Send) -> str:
        """Run the server for the lifespan; returns why it did not start."""
        try:
            async with self._server:
                await send({"type": "lifespan.startup.complete"})
                await receive()
        except UserError as e:
            return str(e)
        return ""
