"""One request, or one WebSocket, as handlers see it: over ASGI, and past it where our own server lets us."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import anyio
from anyio.abc import TaskStatus

from penstock import Closed, Credentials, PenstockError, ProtocolViolation, Server, Session
from penstock.net import format_address
from penstock_http.api import Headers, Message
from penstock_http.asked import credentials_of, joined, parse_query
from penstock_http.forwarded import Proxies
from penstock_http.peer import EXTENSION, Peer, RawHeaders
from penstock_http.ranges import partial

if TYPE_CHECKING:
    from penstock.sink import ByteSink

PIECE = 256 << 10
"""How much of a body our own server is given at a time: what it holds for a peer that reads slowly."""

SMALL_PIECE = 64 << 10
"""How much of a body others are given at a time: a peer has `stall_timeout` for each, however slow it is."""

WHOLE = 1 << 20
"""A body of no more goes to our own server at once, with its head: a segment in one write, and one look at its peer."""

_ILLEGAL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_NO_LENGTH = frozenset({204, 304})
"""Statuses without a body, nor its length (RFC 9110 8.6)."""

FRESH, HEAD, BODY, DONE = range(4)
"""How far the response is: nothing, a head that has not been sent, on its way, all of it sent."""


class AsgiRequest:
    """A `penstock_http.api.Request`."""

    def __init__(
        self,
        server: Server,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
        *,
        url_path: str = "",
        root: str = "",
        common: RawHeaders,
        proxies: Proxies,
    ) -> None:
        self.server = server
        self.url_path = url_path
        self.root = root
        self.values: Mapping[str, str] = MappingProxyType({})
        self.websocket: bool = scope["type"] == "websocket"
        self.method: str = "WEBSOCKET" if self.websocket else scope["method"]
        self.scope = anyio.CancelScope()
        self.state = FRESH
        self.reason = ""
        """Why the handler is to end, where that is not its own doing."""
        self.opened: Session | None = None
        extensions: dict[str, Any] = scope.get("extensions") or {}
        self.peer: Peer | None = extensions.get(EXTENSION)
        self._asgi = scope
        self._receive = receive
        self._send = send
        self._common = common
        self._proxies = proxies
        self._head: tuple[int, RawHeaders] = (0, [])
        self._raw = False
        self._sink: ByteSink | None = None
        self._listening = False
        """Whether the handler is in `body` or `gone`, and finds out by itself where it has to end."""
        self._hearing: anyio.CancelScope | None = None
        self._whole = self.method not in ("POST", "PUT")
        """Whether the body has come to its end."""
        self._received = self._sent = 0
        if self.peer is not None:
            self.peer.watch(self.leave)

    # -- what was asked -------------------------------------------------------

    @cached_property
    def headers(self) -> Mapping[str, str]:
        return joined(self._asgi["headers"])

    @cached_property
    def query(self) -> Mapping[str, str]:
        return parse_query(self._asgi["query_string"])

    @property
    def address(self) -> str:
        return self._origin[0]

    @property
    def secure(self) -> bool:
        said = self._origin[1]
        return self._encrypted if said is None else said

    @property
    def _encrypted(self) -> bool:
        """Whether it came to us over TLS, whatever it did before."""
        return self._asgi.get("scheme") in ("https", "wss")

    @cached_property
    def _origin(self) -> tuple[str, bool | None]:
        peer = format_address(self._asgi.get("client") or "")
        return self._proxies.origin(peer, self.headers) if self._proxies else (peer, None)

    @cached_property
    def credentials(self) -> Credentials:
        return credentials_of(self.headers, self.query)

    def session(self, protocol: str) -> Session:
        if self.opened is None:
            self.opened = self.server.open_session(protocol, self.address)
            self.opened.ends(self.scope)
            self.opened.count_out = lambda: self._sent
            self.opened.bytes_in = self._received
        return self.opened

    async def body(self) -> AsyncGenerator[bytes]:
        self._listening = True
        try:
            more = True
            while more:
                message = await self._hear()
                if message is None:
                    raise self.ending
                text = message.get("text")
                data: bytes = (
                    text.encode() if text is not None else message.get("body", message.get("bytes", b""))
                )
                more = self.websocket or message.get("more_body", False)
                self._whole = not more
                self._received += len(data)
                if self.opened is not None:
                    self.opened.bytes_in = self._received
                if data:
                    yield data
        finally:
            self._listening = False

    # -- what is answered -------------------------------------------------------

    async def respond(
        self,
        status: int,
        body: bytes | memoryview = b"",
        *,
        content_type: str = "text/plain; charset=utf-8",
        headers: Headers = (),
        etag: str = "",
    ) -> None:
        self._expect(FRESH)
        extra = encoded(headers)
        if etag and status == 200 and self.method in ("GET", "HEAD"):
            status, body, own = partial(self.headers, bytes(body), etag, self.method)
            extra += encoded(own)
        if not self._whole and self._asgi.get("http_version", "").startswith("1"):
            # A body that nobody takes may be endless: its sender would go on for ever, and believe that it publishes.
            extra.append((b"connection", b"close"))
        if self.peer is not None:
            await self.peer.turn()
        self.state = DONE
        if status not in _NO_LENGTH:
            extra += encoded([("content-type", content_type)])
            extra.append((b"content-length", b"%d" % len(body)))
        if self.websocket:
            await self._reject(status, extra, bytes(body))
            return
        if (
            self.peer is not None
            and len(body) <= WHOLE
            and self.peer.respond(status, self._common + extra, b"" if self.method == "HEAD" else body)
        ):
            self._sent += len(body)
            return
        await self._patient(
            {"type": "http.response.start", "status": status, "headers": self._common + extra}
        )
        view = body
        piece = PIECE if self.peer is not None else SMALL_PIECE
        while len(view) > piece:
            if self.peer is not None:
                await self.peer.turn()
            view = view if isinstance(view, memoryview) else memoryview(view)
            await self._give(view[:piece])
            view = view[piece:]
        await self._patient({"type": "http.response.body", "body": self._bytes(view)})
        self._sent += len(view)

    async def _reject(self, status: int, headers: RawHeaders, body: bytes) -> None:
        """Answer a WebSocket's handshake by an HTTP response, where the ASGI server can; else it says 403."""
        extensions: dict[str, Any] = self._asgi.get("extensions") or {}
        if "websocket.http.response" not in extensions:
            await self._patient({"type": "websocket.close", "code": 1008})
            return
        head = self._common + headers
        await self._patient({"type": "websocket.http.response.start", "status": status, "headers": head})
        await self._patient({"type": "websocket.http.response.body", "body": body})

    async def start(self, status: int, *, content_type: str, headers: Headers = ()) -> None:
        self._expect(FRESH)
        head = self._common + encoded(headers)
        if self.websocket:
            self.state = BODY
            await self._patient({"type": "websocket.accept", "headers": head})
            return
        head += encoded([("content-type", content_type)])
        self._head = status, head
        self.state = HEAD
        if self.method == "HEAD":
            self.state = DONE
            await self._patient({"type": "http.response.start", "status": status, "headers": head})
            await self._patient({"type": "http.response.body", "body": b""})
            self.scope.cancel()
            await anyio.lowlevel.checkpoint()

    async def _begin(self, *, raw: bool) -> None:
        status, head = self._head
        self.state = BODY
        if raw and self.peer is not None:
            self._raw = True
            await self.peer.begin(status, head)
        else:
            await self._patient({"type": "http.response.start", "status": status, "headers": head})

    async def send(self, data: bytes) -> None:
        if self.state == HEAD:
            # HTTP/1.0 knows no chunks: there the body ends with the connection.
            await self._begin(raw=self._asgi.get("http_version") == "1.0" and not self._has_length())
        self._expect(BODY)
        await self._give(data)

    def _has_length(self) -> bool:
        return any(name.lower() == b"content-length" for name, _ in self._head[1])

    async def _give(self, data: bytes | memoryview) -> None:
        if self._raw and self.peer is not None:
            await self.peer.write(bytes(data))
        elif self.websocket:
            await self._patient({"type": "websocket.send", "bytes": data})
        elif data:
            await self._patient({"type": "http.response.body", "body": self._bytes(data), "more_body": True})
        self._sent += len(data)
        gone = self.peer.gone if self.peer is not None else self.reason
        if gone:
            raise Closed(gone)

    def _bytes(self, data: bytes | memoryview) -> bytes | memoryview:
        # Our own server takes views, which need not be copied; ASGI promises others bytes.
        return data if self.peer is not None else bytes(data)

    async def _patient(self, message: Message) -> None:
        """Pass a message on; raises `Closed` where the peer left or takes nothing."""
        try:
            if self.peer is not None:
                await self._send(message)  # it sees itself to peers that do not read
                return
            limit = self.server.config.server.stall_timeout
            with anyio.move_on_after(limit) as stall:
                await self._send(message)
        except OSError:
            raise Closed(self.reason or "the peer left") from None
        if stall.cancelled_caught:
            raise Closed(f"the peer took no data for {limit:g} s")

    async def finish(self) -> None:
        if self.state == HEAD:
            await self._begin(raw=False)
        self._expect(BODY)
        if self._sink is not None:
            await self._sink.flushed()
        if self._raw and self.peer is not None:
            await self.peer.end()
        elif self.websocket:
            await self._patient({"type": "websocket.close", "code": 1000})
        else:
            await self._patient({"type": "http.response.body", "body": b""})
        self.state = DONE

    async def sink(self) -> ByteSink | None:
        if self.peer is None or self._encrypted or (self.state == HEAD and self._has_length()):
            return None
        if self.state == HEAD:
            await self._begin(raw=True)
        self._expect(BODY)
        if self._sink is None:
            self._sink = await self.peer.sink()
        return self._sink

    async def gone(self) -> str:
        if self.state == HEAD:
            await self._begin(raw=False)
        self._listening = True
        try:
            while await self._hear() is not None:
                pass
        finally:
            self._listening = False
        return self.reason

    async def _hear(self) -> Message | None:
        """The next message of the peer, None where it left or the response has to end: `reason` says why."""
        if not self.reason:
            with anyio.CancelScope() as self._hearing:
                message = await self._receive()
                if not message["type"].endswith(".disconnect"):
                    return message
                self.reason = self.reason or message.get("reason", "")
            self.reason = self.reason or (self.peer.gone if self.peer is not None else "") or "the peer left"
        return None

    def _expect(self, state: int) -> None:
        if self.state != state:
            raise RuntimeError("the response is begun once, and ended once")

    @property
    def ending(self) -> PenstockError:
        """Why the handler has to end."""
        broken = self.peer.broken if self.peer is not None else ""
        return ProtocolViolation(broken) if broken else Closed(self.reason)

    # -- how it ends -------------------------------------------------------

    def leave(self, reason: str) -> None:
        """The peer left, or the response has to end: who does not listen for that is cancelled."""
        self.reason = self.reason or reason
        if not self._listening:
            self.scope.cancel()
        elif self._hearing is not None:
            self._hearing.cancel()

    async def connect(self) -> None:
        """Take a WebSocket's first message, which says only that it is there."""
        await self._receive()

    async def watch(self, *, task_status: TaskStatus[None]) -> None:
        """Read ahead, for ASGI servers that tell of a peer's leaving only to those who ask for what it sends."""
        to, inbox = anyio.create_memory_object_stream[Message](1)
        receive, self._receive = self._receive, inbox.receive
        task_status.started()
        with to, inbox:
            while True:
                message = await receive()
                left = message["type"].endswith(".disconnect")
                if left:
                    self.leave(message.get("reason") or "the peer left")
                if left or message.get("body") or self.websocket or not message.get("more_body", False):
                    await to.send(message)
                if left:
                    return

    def abort(self) -> None:
        """Break off what was begun, so that the peer does not take it for whole."""
        self.state = DONE
        if self.peer is not None:
            self.peer.abort()


def encoded(headers: Headers) -> RawHeaders:
    """Headers as ASGI has them; none may smuggle in another, whatever the ASGI server checks."""
    return [_header(name, value) for name, value in headers]


@lru_cache(256)
def _header(name: str, value: str) -> tuple[bytes, bytes]:
    if _ILLEGAL.search(value) or _ILLEGAL.search(name):
        raise ValueError(f"control characters in the header {name!r}")
    return name.lower().encode("ascii"), value.encode("latin-1")
