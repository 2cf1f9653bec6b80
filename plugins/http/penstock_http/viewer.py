"""Viewers: who comes again and again for playlists and segments is one session, by token or by where it comes from."""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

import anyio

from penstock import Denied, Server, Session, StreamPath
from penstock_http.forwarded import NO_PORT

if TYPE_CHECKING:
    from penstock_http.api import Asked, Request

TOKEN = "viewer"
"""The query field that tells viewers apart; it is given in playlists and descriptions."""


ALLOWED_SECONDS = 10.0
"""For how long a viewer that was allowed is not asked about again, as long as it gives the same credentials.

Over other protocols it is asked about once; here it comes several times a second, and asking may cost more than answering.
"""

NOT_ONE = f":{NO_PORT}"
"""How the addresses end of those whose port a proxy did not tell: many connections have the same."""

MAX_CONNECTIONS = 8
"""Of one viewer that are remembered: browsers open six to a server, and some players a new one for each request."""


class Refused(Denied):
    """A viewer that was kicked, or one too many: 403 whatever it proves to be, and nobody is asked for a password."""


class Viewer:
    """One viewer's session; `query` is what its URLs go on with: what it was asked with that is not ours."""

    __slots__ = ("allowed", "allowed_until", "asked", "connections", "key", "sent", "session", "token")

    def __init__(self, session: Session, token: str, key: tuple[str, str]) -> None:
        self.session = session
        self.token = token
        self.key = key
        self.asked = time.monotonic()
        self.allowed: tuple[str, str, int] | None = None
        """What it gave when it was allowed, and the plugins of that time."""
        self.allowed_until = 0.0
        self.connections: deque[tuple[str, str]] = deque()
        """Those that it came by lately, each with its path."""
        self.sent = 0
        session.count_out = lambda: self.sent


class Words(NamedTuple):
    """Of what a viewer asked, what makes another who asks the same one that may have it."""

    path: StreamPath
    agent: str
    token: str | None
    given: tuple[str, str, int] | None

    @classmethod
    def of(cls, asked: Asked, path: StreamPath, viewer: Viewer) -> Words:
        """Those of a `viewer` that was `Viewers.known`."""
        query = asked.query
        token = query.get(TOKEN) if query else None
        return cls(path, asked.headers.get("user-agent", ""), token, viewer.allowed)


class Viewers:
    """All viewers that a server has of `protocol`, at most `most`. One leaves by not asking for `timeout` seconds.

    `own` are the fields of a query that mean something to the protocol itself, and are nobody's credentials.
    """

    def __init__(
        self, server: Server, protocol: str, timeout: float, most: int, own: Collection[str] = ()
    ) -> None:
        self._server = server
        self._protocol = protocol
        self._timeout = timeout
        self._most = most
        self._own = own
        self._by_token: dict[str, Viewer] = {}
        self._by_key: dict[tuple[str, str], Viewer] = {}
        self._by_connection: dict[tuple[str, str], Viewer] = {}

    def __len__(self) -> int:
        return len(self._by_token)

    async def admit(self, request: Request, path: StreamPath, *, anew: bool = False) -> Viewer:
        """Who asks, if it may read `path`; with `anew` a viewer that was not there before, unless it has a token.

        Raises `Denied`.
        """
        viewer = self._find(request, path, anew=anew)
        if viewer is None:
            viewer = await self._enter(request, path)
        else:
            if viewer.session.reason:
                raise Refused(viewer.session.reason)
            if not self._is_allowed(viewer, request):
                await self._authorize(viewer, request, path)
        viewer.asked = time.monotonic()
        return viewer

    def known(self, asked: Asked, path: StreamPath, *, anew: bool = False) -> Viewer | None:
        """Who asks, where `admit` would only find it again, or let it in without asking anybody."""
        viewer = self._find(asked, path, anew=anew)
        if viewer is None:
            return self._let_in(asked, path) if anew and not self._asks else None
        given = self._given(asked)
        if viewer.session.reason or viewer.allowed != given:
            return None
        now = time.monotonic()
        if now >= viewer.allowed_until:
            if self._asks:
                return None
            self._allow(viewer, given)
        viewer.asked = now
        return viewer

    def again(self, words: Words, address: str, size: int) -> bool:
        """Whether who asks from `address` in the same words is a viewer that `known` would find, whatever it would find else;
        it is sent `size` bytes.
        """
        path, agent, token, given = words
        viewer = self._by_connection.get((address, path)) or self._by_key.get(_key(address, agent, path))
        if (
            viewer is None
            or viewer.session.reason
            or viewer.allowed != given
            or (token is not None and viewer.token != token)
        ):
            return False
        now = time.monotonic()
        if now >= viewer.allowed_until:
            return False
        viewer.asked = now
        viewer.sent += size
        return True

    @property
    def _asks(self) -> bool:
        """Whether there is anybody to be asked about viewers."""
        return self._server.plugins.implements("authorize")

    def _is_allowed(self, viewer: Viewer, asked: Asked) -> bool:
        return time.monotonic() < viewer.allowed_until and viewer.allowed == self._given(asked)

    def _given(self, asked: Asked) -> tuple[str, str, int]:
        query = asked.query
        text = carried(query, own=self._own) if query else ""
        return text, asked.headers.get("authorization", ""), self._server.plugins.changes

    async def _authorize(self, viewer: Viewer, request: Request, path: StreamPath) -> None:
        given = self._given(request)
        await self._server.streams.authorize(viewer.session, "read", path, request.credentials, asks=True)
        self._allow(viewer, given)

    def _allow(self, viewer: Viewer, given: tuple[str, str, int]) -> None:
        viewer.allowed, viewer.allowed_until = given, time.monotonic() + ALLOWED_SECONDS

    def _find(self, request: Asked, path: StreamPath, *, anew: bool) -> Viewer | None:
        query = request.query
        token = query.get(TOKEN) if query else None
        if token is not None:
            viewer = self._by_token.get(token)
            if viewer is not None and viewer.session.path == path:
                self._connected(viewer, request.address)
                return viewer
        if anew:
            return None
        viewer = self._by_connection.get((request.address, path))
        if viewer is not None and viewer.token in self._by_token:
            return viewer
        return self._by_key.get(self._key(request, path))

    def _key(self, request: Asked, path: StreamPath) -> tuple[str, str]:
        return _key(request.address, request.headers.get("user-agent", ""), path)

    async def _enter(self, request: Request, path: StreamPath) -> Viewer:
        server = self._server
        if len(self._by_token) >= self._most:
            raise Refused(self._full)
        session = server.open_session(self._protocol, request.address)
        session.direction, session.path = "read", path
        given = self._given(request)
        try:
            await server.streams.authorize(session, "read", path, request.credentials, asks=True)
            if refusal := self._refusal(path):
                raise Refused(refusal)
        except BaseException as error:
            server.close_session(session, error)
            raise
        return self._seat(session, request, path, given)

    def _let_in(self, asked: Asked, path: StreamPath) -> Viewer | None:
        """As `_enter` does, where there is room."""
        if self._refusal(path):
            return None
        given, user = self._given(asked), asked.credentials.user
        session = self._server.open_session(self._protocol, asked.address)
        session.direction, session.path, session.user = "read", path, user
        return self._seat(session, asked, path, given)

    @property
    def _full(self) -> str:
        return f"{self._protocol}.max_viewers ({self._most}) reached"

    def _refusal(self, path: StreamPath) -> str:
        """Why there is no room for another viewer of `path`; empty where there is."""
        if len(self._by_token) >= self._most:
            return self._full
        stream = self._server.streams.get(path)
        return stream.full if stream is not None else ""

    def _seat(self, session: Session, asked: Asked, path: StreamPath, given: tuple[str, str, int]) -> Viewer:
        viewer = Viewer(session, secrets.token_urlsafe(12), self._key(asked, path))
        self._allow(viewer, given)
        self._by_token[viewer.token] = viewer
        self._by_key[viewer.key] = viewer
        self._connected(viewer, asked.address)
        self._server.spawn(partial(self._stay, viewer, self._server.streams.view(path)))
        return viewer

    def dismiss(self, viewer: Viewer, reason: str) -> None:
        """There is nothing to view: its session ends at once, and who asks again is another."""
        self._forget(viewer)
        viewer.session.kick(reason)

    async def _stay(self, viewer: Viewer, leave: Callable[[], None]) -> None:
        """Until the viewer has left, or is kicked: then it is refused for as long as it takes to have left."""
        server, limit = self._server, self._timeout
        session, path = viewer.session, viewer.session.path
        stream = server.streams.get(path) if path is not None else None
        if stream is not None:
            server.plugins.notify("reader_joined", stream=stream, session=session)
            server.log_joined(session, path)
        try:
            try:
                with session.scope():
                    await self._idle(viewer, limit)
                    session.reason = session.reason or "the viewer left"
            finally:
                if stream is not None:
                    server.plugins.notify(
                        "reader_left", stream=stream, session=session, reason=session.reason
                    )
                server.close_session(session)
                leave()
            if session.reason != "the viewer left" and viewer.token in self._by_token:
                viewer.asked = time.monotonic()
                await self._idle(viewer, limit)
        finally:
            self._forget(viewer)

    async def _idle(self, viewer: Viewer, limit: float) -> None:
        while (left := viewer.asked + limit - time.monotonic()) > 0:
            await anyio.sleep(left)

    def _forget(self, viewer: Viewer) -> None:
        self._by_token.pop(viewer.token, None)
        if self._by_key.get(viewer.key) is viewer:
            del self._by_key[viewer.key]
        for connection in viewer.connections:
            self._disconnected(viewer, connection)

    def _connected(self, viewer: Viewer, address: str) -> None:
        """What comes from `address` without a token is this viewer's, where that is one connection's."""
        if address.endswith(NOT_ONE) or viewer.session.path is None:
            return
        connection = address, viewer.session.path
        if self._by_connection.get(connection) is not viewer:
            self._by_connection[connection] = viewer
            viewer.connections.append(connection)
            if len(viewer.connections) > MAX_CONNECTIONS:
                self._disconnected(viewer, viewer.connections.popleft())

    def _disconnected(self, viewer: Viewer, connection: tuple[str, str]) -> None:
        if self._by_connection.get(connection) is viewer:
            del self._by_connection[connection]


def _key(address: str, agent: str, path: StreamPath) -> tuple[str, str]:
    """One player at one address, as far as it can be told without a token."""
    return f"{address.rpartition(':')[0]} {agent}", path


def carried(query: Mapping[str, str], token: str = "", own: Collection[str] = ()) -> str:
    """What URLs in a playlist go on with, from its own: a token for `authorize`, and who the viewer is.

    `own` are the fields that mean something to the protocol itself: they are not carried on.
    """
    fields = [
        f"{quote(name, safe='')}={quote(value, safe='')}"
        for name, value in query.items()
        if name != TOKEN and name not in own
    ]
    if token:
        fields.append(f"{TOKEN}={token}")
    return "?" + "&".join(fields) if fields else ""


def is_private(request: Asked, own: Collection[str] = ()) -> bool:
    """Whether what is answered is for this viewer only, and not for those who come through the same cache."""
    if "authorization" in request.headers and request.credentials.password is not None:
        return True
    return bool(request.query and carried(request.query, own=own))
