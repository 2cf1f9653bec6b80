"""What other plugins import of the HTTP port: the hook for routes, what a request is, viewers that come again, and sources.

A plugin hangs routes on the port with a hook of its own::

    @hookimpl
    def http_routes(self, server, config):
        return [Route("/{path}.m3u8", playlist)]

    async def playlist(request: Request) -> None:
        await request.respond(200, b"#EXTM3U", content_type="application/vnd.apple.mpegurl")
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, MutableMapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Literal, Protocol

from attrs import evolve, frozen

from penstock import Credentials, Publisher, Server, Session, hookspec
from penstock_http.coding import gzipped, takes_gzip
from penstock_http.viewer import Refused, Viewer, Viewers, Words, carried, is_private

if TYPE_CHECKING:
    from penstock.sink import ByteSink

__all__ = [
    "Answer",
    "AsgiApp",
    "AsgiServer",
    "Asked",
    "AtOnce",
    "Client",
    "Handler",
    "Headers",
    "Hold",
    "HttpPull",
    "HttpSource",
    "HttpSpecs",
    "Listener",
    "Message",
    "Refused",
    "Request",
    "Response",
    "Route",
    "Shortcut",
    "Shortcuts",
    "Standing",
    "Viewer",
    "Viewers",
    "Words",
    "carried",
    "gzipped",
    "is_private",
]

Handler = Callable[["Request"], Awaitable[None]]
"""Answers one request; it is cancelled where the peer leaves, its session is kicked, or the server stops.

What it raises: `Denied` becomes 401 or 403, `NotFound` 404, `ProtocolViolation` 400, other `StreamError` 409, and anything else
500, told to the log only.
"""

Headers = Iterable[tuple[str, str]]


@frozen
class Route:
    """One kind of URL. In `pattern` ``{path}`` is a stream's path (one or more segments) and any other ``{name}`` is one
    segment, or a part of one: ``/{path}.m3u8``, ``/{path}/hls/{name}``, ``/api/v1/{name}``.

    Where several routes match, the one with more fixed characters is taken, so that ``/{path}`` comes last. HEAD is
    answered by GET's handler, without a body. With `websocket` the route also takes WebSocket upgrades.

    `at_once` may answer a plain GET before `handle` is asked: see `AtOnce`. `options` has the headers that OPTIONS is answered
    with, besides those that say which methods there are, and to whom. What is `shown` is in the table that the server
    prints at its start, with ``live/stream`` as the path.
    """

    pattern: str
    handle: Handler
    methods: tuple[str, ...] = ("GET",)
    websocket: bool = False
    at_once: AtOnce | None = None
    options: Callable[[Request], Headers] | None = None
    shown: Literal["", "publish", "play"] = ""


@frozen
class Answer:
    """A whole response. `body` is kept for as long as the slowest peer takes, and not copied."""

    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()
    status: int = 200
    etag: str = ""
    """As for `Request.respond`, where a body never changes: a handler that answers the same gives it that."""

    def packed(self, asked: Asked, compressed: Callable[[bytes], bytes] = gzipped) -> Answer:
        """This answer, text, as gzip where who asks takes that."""
        vary = ", ".join([*(value for name, value in self.headers if name == "vary"), "accept-encoding"])
        headers = *(h for h in self.headers if h[0] != "vary"), ("vary", vary)
        if not takes_gzip(asked.headers.get("accept-encoding", "")):
            return evolve(self, headers=headers)
        return evolve(self, body=compressed(self.body), headers=(*headers, ("content-encoding", "gzip")))


@frozen
class Standing:
    """An `answer` that may hold for a while: `again` says whether it does, to the same words from the peer at an address, who
    is counted then. It is asked in place of the route for a second at most, after which the body is let go.
    """

    answer: Answer
    again: Callable[[str], bool]


@frozen
class Hold:
    """What is asked for is to come: `when` has the function that it is given called, once, when it is worth to ask again.

    It returns what takes that back; the function only notes that it was called. After `seconds` the answer is what
    `otherwise` makes, or the handler's where that is None.
    """

    when: Callable[[Callable[[], None]], Callable[[], None]]
    seconds: float
    otherwise: Callable[[], Answer | None]


AtOnce = Callable[["Asked"], Answer | Standing | Hold | None]
"""Answers what is there already without a task, for what many ask for at a time; what it answers is sent.

The handler has to answer the same, and is asked where this returns None or raises: for requests with conditions or a
body, over HTTP/2, and behind other ASGI servers it always is.
"""


Message = MutableMapping[str, Any]
AsgiApp = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]


class Shortcut(Protocol):
    """A plain GET that may be answered at once, for all who ask in the same words."""

    def ask(self, address: str) -> Answer | Hold | None:
        """As its route answers the peer at `address`; None: the application is to, and who knows whether this is still one."""
        ...

    def head(self, answer: Answer) -> bytes:
        """The response's head but for its first line and the date."""
        ...

    def let_go(self) -> None:
        """Keep no answer."""
        ...


class Shortcuts(Protocol):
    """Finds which requests may be answered at once."""

    def shortcut(self, target: bytes, headers: Mapping[str, str]) -> Shortcut | None:
        """That of a GET of `target` (RFC 9112 3.2.1) without a body, conditions or a range; it may be kept."""
        ...


@frozen
class Listener:
    """What an ASGI server is to serve: listening sockets, non-blocking, which it closes at its end."""

    server: Server
    sockets: Sequence[socket.socket]
    tls: ssl.SSLContext | None
    config: Any
    """The table ``[http]``."""
    shortcuts: Shortcuts
    """Past the application, for an ASGI server that can use them."""


AsgiServer = Callable[[AsgiApp, Listener], Awaitable[None]]
"""Serves an application until cancelled: then it ends its connections within a bounded time, and leaves nothing open.

It asks `Server.admit` for each connection, and bounds what a peer may take: see docs/http.md.
"""


class Response(Protocol):
    """The response to a GET of ours, of which only the head is there. Its methods raise `Closed` where it fails."""

    @property
    def url(self) -> str:
        """Where it came from in the end: what relative addresses in it are relative to."""
        ...

    @property
    def content_type(self) -> str:
        """In lower case, without parameters; empty where none is told."""
        ...

    async def receive(self) -> bytes:
        """The next bytes of the body as they come, empty at its end."""
        ...

    async def read(self, most: int) -> bytes:
        """All of the body. Raises `Closed` where that is more than `most` bytes."""
        ...


class Client(Protocol):
    """GETs on behalf of one source. It goes only to http and https, and only where that source may lead to."""

    def get(
        self,
        url: str,
        base: str = "",
        *,
        seconds: float | None = None,
        byte_range: tuple[int, int] | None = None,
    ) -> AbstractAsyncContextManager[Response]:
        """The response at `url`, which may be relative to `base`; redirects are followed. `byte_range` is an offset and a length.

        All of the time that is waited for the peer is at most `seconds`. Raises `Closed` where there is none, or its
        status is no success.
        """
        ...


@frozen
class HttpPull:
    """A source that is to be pulled: its response, and how to get more."""

    server: Server
    session: Session
    publish: Callable[[Session], Publisher]
    """As for `Scheme.pull`."""
    response: Response
    client: Client


@frozen
class HttpSource:
    """A kind of thing that can be pulled over HTTP: told by its content type, or by how the path of its URL ends."""

    content_types: tuple[str, ...]
    suffixes: tuple[str, ...]
    pull: Callable[[HttpPull], Awaitable[None]]
    """Runs until the source ends; what it raises is the session's end, and the relay tries again."""


class HttpSpecs:
    """The hooks that the HTTP port adds to the kernel's."""

    @hookspec
    def http_routes(self, server: Server, config: Any) -> Iterable[Route]:  # type: ignore[empty-body]
        """The routes of a plugin, asked for once it is enabled; they are gone when it is disabled."""

    @hookspec
    def http_sources(self, server: Server, config: Any) -> Iterable[HttpSource]:  # type: ignore[empty-body]
        """What a plugin can pull from ``http`` and ``https`` URLs."""

    @hookspec
    def asgi_servers(self, server: Server, config: Any) -> Mapping[str, AsgiServer]:  # type: ignore[empty-body]
        """ASGI servers by the name that ``http.asgi_server`` has for them."""


class Asked(Protocol):
    """What a request asks for, and who asks."""

    @property
    def url_path(self) -> str:
        """The path as it was asked for, percent-decoded once, without the prefix of an application that we are mounted in."""
        ...

    @property
    def values(self) -> Mapping[str, str]:
        """What the route's pattern matched, decoded once; ``path`` is a `StreamPath`, to be given to `authorize` as it is."""
        ...

    @property
    def query(self) -> Mapping[str, str]:
        """The query's fields, the first of each name."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """By lower-case name; fields that came more than once are joined by a comma."""
        ...

    @property
    def address(self) -> str:
        """The peer's ``host:port``."""
        ...

    @property
    def credentials(self) -> Credentials:
        """Of Basic or Bearer authorization (the token is the password of no user), and the query."""
        ...


class Request(Asked, Protocol):
    """One request, or one WebSocket, whatever ASGI server it came through."""

    @property
    def server(self) -> Server: ...

    @property
    def method(self) -> str:
        """In capitals; ``WEBSOCKET`` for an upgrade."""
        ...

    @property
    def root(self) -> str:
        """The prefix under which we are mounted in somebody else's application, empty otherwise; put it before links."""
        ...

    @property
    def secure(self) -> bool: ...

    def session(self, protocol: str) -> Session:
        """A session for as long as this request lasts, opened at the first call; the kernel lists, counts and kicks it."""
        ...

    def body(self) -> AsyncIterator[bytes]:
        """What the peer sends, as it comes. Raises `Closed` where the peer leaves before its end."""
        ...

    async def respond(
        self,
        status: int,
        body: bytes = b"",
        *,
        content_type: str = "text/plain; charset=utf-8",
        headers: Headers = (),
        etag: str = "",
    ) -> None:
        """A finite response in one step. With `etag` (quoted) conditional and range requests are answered as such."""
        ...

    async def start(self, status: int, *, content_type: str, headers: Headers = ()) -> None:
        """Begin a response whose length is not known (or take a WebSocket up); `send` follows, `finish` ends it.

        The head goes out with what follows first: `send`, `sink`, `gone` or `finish`. That of a HEAD request at once, and
        the handler is then cancelled.
        """
        ...

    async def send(self, data: bytes) -> None:
        """A part of the body, or a binary message. Waits while the peer does not read.

        Raises `Closed` where the peer left, or took nothing for ``server.stall_timeout``.
        """
        ...

    async def finish(self) -> None:
        """The response's end; for a WebSocket a close frame."""
        ...

    async def sink(self) -> ByteSink | None:
        """After `start`: a sink of the feed that writes straight to the peer's socket, past the ASGI server.

        Only for a plain HTTP/1.1 response that ends with the connection, or a plain WebSocket, whose frames the units have
        to hold already. None where it cannot be (TLS, HTTP/2, a foreign ASGI server): use `send`.
        """
        ...

    async def gone(self) -> str:
        """Wait until the peer leaves; returns why. What a peer sends meanwhile is read and dropped."""
        ...
