"""The client's I/O: pull from and push to ``rtmp://`` and ``rtmps://``."""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from urllib.parse import urlsplit

import anyio

from penstock import net
from penstock.errors import Closed, ProtocolViolation
from penstock.feed import Cursor, Reader
from penstock.media import Kind
from penstock.publisher import Publisher
from penstock.server import Server
from penstock.session import Session
from penstock.stream import Stream
from penstock_formats.flv import FLV
from penstock_formats.flv.ingest import Ingest
from penstock_formats.flv.muxer import surely_takes
from penstock_rtmp.capability import MULTITRACK
from penstock_rtmp.chunk import Message
from penstock_rtmp.client_connection import ClientConnection, Target
from penstock_rtmp.config import RtmpConfig
from penstock_rtmp.event import (
    ClientEvent,
    Connected,
    Ended,
    Metadata,
    Playing,
    Publishing,
    Rejected,
    Script,
)
from penstock_rtmp.handshake import RANDOM_SIZE
from penstock_rtmp.muxer import RtmpMuxer

PORTS = {"rtmp": 1935, "rtmps": 443}
READ = 256 << 10


def _split(url: str) -> tuple[str, int, str, str, str]:
    """Host, port, app, tcUrl and stream name of a URL: the last segment is the name, its query stays with it."""
    try:
        parts = urlsplit(url)
        port = parts.port or PORTS[parts.scheme]
    except ValueError as e:
        raise Closed(f"the URL is wrong: {e}") from None
    if not parts.hostname:
        raise Closed("the URL has no host")
    app, _, name = parts.path.strip("/").rpartition("/")
    if not app:
        app, name = name, ""
    if parts.query:
        name += f"?{parts.query}"
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    tc_url = f"{parts.scheme}://{host}:{port}/{app}"
    if parts.username:
        tc_url += f"?user={parts.username}&pass={parts.password or ''}"
    return parts.hostname, port, app, tc_url, name


class RtmpScheme:
    """Both directions of ``rtmp`` and ``rtmps``."""

    def __init__(self, server: Server, config: RtmpConfig) -> None:
        self._server = server
        self._config = config

    async def pull(self, url: str, publish: Callable[[Session], Publisher], session: Session) -> None:
        link = await self._open(url, session, publishing=False)
        ingest: Ingest | None = None
        try:
            async for event in link.events():
                if isinstance(event, Playing) and ingest is None:
                    publisher = publish(session)
                    ingest = Ingest(publisher, self._server)
                    link.publisher = publisher
                elif ingest is None:
                    continue
                elif isinstance(event, Message):
                    ingest.media(event.type, event.timestamp, event.payload)
                elif isinstance(event, Metadata):
                    ingest.metadata(event.values)
                elif isinstance(event, Script):
                    ingest.script(event.timestamp, event.name, event.values)
        finally:
            await link.close()

    async def push(self, url: str, stream: Stream, session: Session) -> None:
        link = await self._open(url, session, publishing=True)
        fourccs: frozenset[str] | None = None
        multitrack = False
        reader: Reader | None = None
        try:
            async for event in link.events():
                if isinstance(event, Connected):
                    fourccs = frozenset(event.fourccs) or None
                    multitrack = bool(event.caps & MULTITRACK)
                elif isinstance(event, Publishing) and reader is None:
                    reader = await self._attach(link, stream, session, fourccs, multitrack)
        finally:
            if reader is not None:
                reader.detach()
            await link.close()

    async def _attach(
        self, link: _Link, stream: Stream, session: Session, fourccs: frozenset[str] | None, multitrack: bool
    ) -> Reader:
        rtmp = link.rtmp
        tracks = await stream.tracks_for(partial(surely_takes, self._server.registry, fourccs))
        muxer = RtmpMuxer(
            self._server.registry,
            tracks,
            stream_id=rtmp.stream_id,
            chunk_size=rtmp.chunk_size,
            fourccs=fourccs,
            multitrack=multitrack,
        )

        def preamble(cursor: Cursor) -> bytes:
            rtmp.send_metadata(muxer.metadata(cursor.tracks))
            return rtmp.data_to_send() + muxer.preamble(cursor)

        feed = stream.feed(muxer, self._config.max_backlog_seconds, tracks)
        return feed.attach(link.connection.sink, session, preamble=preamble)

    async def _open(self, url: str, session: Session, *, publishing: bool) -> _Link:
        host, port, app, tc_url, name = _split(url)
        with anyio.move_on_after(self._server.config.server.handshake_timeout) as deadline:
            sock = await net.connect(host, port)
            if tc_url.startswith("rtmps:"):
                sock = await net.start_tls(sock, ssl.create_default_context(), host)
            connection = net.Connection(
                sock,
                sock.getpeername(),
                self._server.spawn,
                self._server.config.server.stall_timeout,
                self._server.poller,
            )
            bindings = [(c.kind, b.fourcc) for c, b in self._server.registry.having(FLV) if b.fourcc]
            target = Target(
                app,
                tc_url,
                name,
                publishing,
                [f for k, f in bindings if k is Kind.VIDEO],
                [f for k, f in bindings if k is Kind.AUDIO],
            )
            rtmp = ClientConnection(
                target, os.urandom(RANDOM_SIZE), int(time.monotonic() * 1000) & 0xFFFFFFFF
            )
            return _Link(self._server, connection, rtmp)
        if deadline.cancelled_caught:
            raise Closed(f"{host}:{port} did not answer in time")
        raise Closed("stopped")


class _Link:
    """A client connection with its socket: what the server says, until it ends."""

    def __init__(self, server: Server, connection: net.Connection, rtmp: ClientConnection) -> None:
        self._server = server
        self.connection = connection
        self.rtmp = rtmp
        self.publisher: Publisher | None = None
        self._ready = False

    async def events(self) -> AsyncIterator[ClientEvent]:
        """What the server says, until it ends the stream. Raises `Closed` where it refuses or leaves."""
        limit = self._server.config.server.handshake_timeout
        self._send()
        while True:
            timeout = None if self._ready else limit
            data = b""
            with anyio.move_on_after(timeout) as waited:
                data = await self.connection.receive(READ)
            if waited.cancelled_caught:
                raise Closed(f"the server did not answer within {limit:g} s")
            if not data:
                raise Closed("the server left")
            self.rtmp.receive_data(data)
            while (event := self._next()) is not None:
                if isinstance(event, Rejected):
                    raise Closed(f"the server refused: {event.code} {event.description}".rstrip())
                if isinstance(event, Ended):
                    return
                if isinstance(event, (Playing, Publishing)):
                    self._ready = True
                yield event
            self._send()
            if self.publisher is not None:
                await self.publisher.flush(rest=len(data) < READ, idle=len(data) < net.IDLE_BYTES)

    def _next(self) -> ClientEvent | None:
        try:
            return self.rtmp.next_event()
        except ProtocolViolation as e:
            raise Closed(f"the server sent what it may not: {e}") from None

    def _send(self) -> None:
        data = self.rtmp.data_to_send()
        if data:
            self.connection.sink.control(data)

    async def close(self) -> None:
        """Leave in order: what the server has not had yet is still sent."""
        self.rtmp.finish()
        self._send()
        with anyio.CancelScope(shield=True):
            await self.connection.linger()
        self.connection.close()
