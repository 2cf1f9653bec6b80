"""Connections of the RTSP port: plain RTSP, or the two halves of a tunnel through HTTP."""

from __future__ import annotations

import time
from collections import deque

import anyio

from penstock.errors import Closed, ProtocolViolation, leading
from penstock.net import Connection
from penstock.session import Session
from penstock_rtsp.base64_stream import Base64Stream
from penstock_rtsp.session import NAME, RtspSession
from penstock_rtsp.shared import Shared
from penstock_rtsp.tunnel import (
    Half,
    TunnelReader,
    TunnelRequest,
    build_get_reply,
    build_refusal,
    may_be_tunnel,
)
from penstock_rtsp.tunnel_pairs import TunnelPairs

READ = 16 << 10
MAX_WAITING_BYTES = 1 << 20
"""Decoded bytes that may wait for the session: the POST is not read further before they are taken."""


class Inbox:
    """What the POST brought, for the session that answers on the GET."""

    def __init__(self) -> None:
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._changed = anyio.Event()
        self._ended = False
        self.post = anyio.CancelScope()
        """What reads the POST; it has nothing to wait for once the session is over."""

    async def put(self, data: bytes) -> None:
        while self._size > MAX_WAITING_BYTES and not self._ended:
            await self._changed.wait()
        self._chunks.append(data)
        self._size += len(data)
        self._wake()

    def end(self) -> None:
        self._ended = True
        self.post.cancel()
        self._wake()

    @property
    def ended(self) -> bool:
        return self._ended

    def _wake(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()

    async def receive(self, most: int) -> bytes:
        """All that is there, so far as `most` allows: less than that says to a publisher's session that nothing is left."""
        while not self._chunks:
            if self._ended:
                return b""
            await self._changed.wait()
        parts: list[bytes] = []
        left = most
        while self._chunks and left > 0:
            part = self._chunks.popleft()
            if len(part) > left:
                self._chunks.appendleft(part[left:])
                part = part[:left]
            parts.append(part)
            left -= len(part)
        self._size -= most - left
        self._wake()
        return b"".join(parts)


class Tunnels:
    """Serves every connection of the RTSP listeners."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._pairs: TunnelPairs[Inbox] = TunnelPairs()

    async def serve(self, connection: Connection, session: Session) -> None:
        """Serve one connection until it ends."""
        limit = self._shared.server.config.server.handshake_timeout
        reader: TunnelReader | None = None
        request: TunnelRequest | None = None
        first = b""
        session.begin_by = time.monotonic() + limit
        while (tunnel := may_be_tunnel(first)) is None or not first:
            data = await connection.receive(READ)
            if not data:
                return
            first += data
        if tunnel:
            reader = TunnelReader()
            reader.receive_data(first)
            try:
                while (request := reader.next_event()) is None:
                    data = await connection.receive(READ)
                    if not data:
                        return
                    reader.receive_data(data)
            except ProtocolViolation:
                connection.sink.control(build_refusal(400, "Bad Request"))
                raise
        # From here on a session has its own time, and the POST lives as long as its GET.
        session.begin_by = None
        if reader is None or request is None:
            await self._plain(connection, session, first)
        elif request.half is Half.GET:
            await self._get(connection, session, request)
        else:
            await self._post(connection, request, reader.rest())

    async def _plain(self, connection: Connection, session: Session, first: bytes) -> None:
        early = first

        async def receive(most: int) -> bytes:
            nonlocal early
            if early:
                data, early = early, b""
                return data
            return await connection.receive(most)

        await RtspSession(self._shared, connection, session, receive, tunnelled=False).run()

    async def _get(self, connection: Connection, session: Session, request: TunnelRequest) -> None:
        inbox = Inbox()
        try:
            self._pairs.open(request.cookie, inbox)
        except ProtocolViolation:
            connection.sink.control(build_refusal(400, "Bad Request"))
            raise
        connection.sink.control(build_get_reply(NAME))
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._watch, connection, inbox)
                try:
                    await RtspSession(self._shared, connection, session, inbox.receive, tunnelled=True).run()
                finally:
                    tasks.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            raise leading(group) from None
        finally:
            self._pairs.close(request.cookie)
            inbox.end()

    async def _watch(self, connection: Connection, inbox: Inbox) -> None:
        """The client says nothing on its GET: what can be read is its end."""
        try:
            while await connection.receive(READ):
                pass
        except Closed:
            pass
        inbox.end()

    async def _post(self, connection: Connection, request: TunnelRequest, rest: bytes) -> None:
        try:
            inbox = self._pairs.join(request.cookie)
        except ProtocolViolation:
            connection.sink.control(build_refusal(400, "Bad Request"))
            raise
        try:
            inbox.post = anyio.CancelScope()
            with inbox.post:
                await self._decode(connection, inbox, rest)
        except (ProtocolViolation, Closed):
            inbox.end()
            raise
        if not inbox.ended:
            # Some clients close the POST between requests and open another; the session lives by its GET.
            self._pairs.reopen(request.cookie, inbox)

    async def _decode(self, connection: Connection, inbox: Inbox, data: bytes) -> None:
        """Hand the session what the POST brings, until its end."""
        decoder = Base64Stream()
        while True:
            decoder.receive_data(data)
            while (plain := decoder.next_event()) is not None:
                await inbox.put(plain)
            if not (data := await connection.receive(READ)):
                return
