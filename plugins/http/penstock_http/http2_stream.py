"""One request of HTTP/2 and its response, as ASGI has them."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

from penstock_http.api import Message
from penstock_http.peer import RawHeaders

if TYPE_CHECKING:
    from penstock_http.http2 import Http2Connection

BATCH = 64 << 10
"""Bytes of one response that are written before others of the connection have their turn."""

_NO_BODY = frozenset({204, 304})


class Http2Stream:
    """What is asked waits here for the handler, in bounds of the window; what is answered waits in the handler."""

    def __init__(self, connection: Http2Connection, id: int, scope: Message) -> None:
        self.id = id
        self.scope = scope
        self.gone = ""
        """Why nothing can be sent any more."""
        self.complete = False
        """Whether the response is whole."""
        self._connection = connection
        self._ending = ""
        self._body: deque[bytes] = deque()
        self.whole = False
        """Whether the request is."""
        self._told = False
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._head: RawHeaders | None = None
        self._bare = scope["method"] == "HEAD"
        """Whether the response has no body, whatever is given as one."""

    # -- what the connection tells -------------------------------------------

    def take(self, data: bytes) -> None:
        """A piece of the request's body."""
        self._body.append(data)
        self._news.set()

    def finish(self) -> None:
        """The request is whole."""
        self.whole = True
        self._news.set()

    def may_send(self) -> None:
        """The peer takes more."""
        self._room.set()

    def end(self, reason: str) -> None:
        """The handler is to come to its end."""
        self._ending = self._ending or reason
        self._news.set()

    def lose(self, reason: str) -> None:
        """Nothing more can be sent."""
        self.gone = self.gone or reason
        self.end(reason)
        self._room.set()

    @property
    def unread(self) -> int:
        """Bytes of the request's body that no handler took."""
        return sum(map(len, self._body))

    # -- ASGI ----------------------------------------------------------------

    async def receive(self) -> Message:
        while not self._ending:
            if self._body or (self.whole and not self._told):
                body = b"".join(self._body)
                self._body.clear()
                self._told = self.whole
                self._connection.took(self.id, len(body))
                return {"type": "http.request", "body": body, "more_body": not self.whole}
            self._news.clear()
            await self._news.wait()
        return {"type": "http.disconnect", "reason": self._ending}

    async def send(self, message: Message) -> None:
        if self.gone:
            raise ConnectionResetError(self.gone)
        if message["type"] == "http.response.start":
            status: int = message["status"]
            self._bare = self._bare or status in _NO_BODY
            own = [(name, value) for name, value in message.get("headers", ()) if name != b"connection"]
            self._head = [(b":status", b"%d" % status), *self._connection.owner.state.default_headers, *own]
            return
        body = b"" if self._bare else message.get("body", b"")
        more = message.get("more_body", False)
        if self._head is not None:
            head, self._head = self._head, None
            self._connection.send_head(self.id, head, end=not body and not more)
            self.complete = not body and not more
        if body or not (more or self.complete):
            await self._pour(memoryview(body), end=not more)

    async def _pour(self, rest: memoryview[Any], *, end: bool) -> None:
        connection = self._connection
        while True:
            await connection.owner.turns.wait()
            room = min(connection.room(self.id), BATCH)
            if self.gone:
                raise ConnectionResetError(self.gone)
            if room or not rest:
                last = end and len(rest) <= room
                connection.send_body(self.id, rest[:room], end=last)
                rest = rest[room:]
                if not rest:
                    self.complete = last
                    return
            else:
                self._room.clear()
                await self._room.wait()
