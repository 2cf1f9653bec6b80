"""One client's connection to the server: its commands carried out on the kernel."""

from __future__ import annotations

import os
import time
from functools import partial
from urllib.parse import parse_qsl, unquote

from attrs import define

from penstock.errors import PenstockError, ProtocolViolation, StreamError
from penstock.feed import Cursor, Reader
from penstock.net import IDLE_BYTES, Connection, slices
from penstock.publisher import Publisher
from penstock.server import Server
from penstock.session import Credentials, Session
from penstock_formats.flv import FLV
from penstock_formats.flv.ingest import Ingest
from penstock_formats.flv.muxer import surely_takes
from penstock_rtmp.capability import MULTITRACK
from penstock_rtmp.chunk import Message
from penstock_rtmp.config import RtmpConfig
from penstock_rtmp.connection import ServerConnection
from penstock_rtmp.event import (
    Connect,
    Metadata,
    Pause,
    Play,
    Publish,
    Script,
    ServerEvent,
    StreamClosed,
)
from penstock_rtmp.handshake import RANDOM_SIZE
from penstock_rtmp.muxer import RtmpMuxer

PUBLISHER_READ = 256 << 10
"""Bytes read at a time from a publisher; a full read means that more waits."""
PLAYER_READ = 16 << 10


async def serve(server: Server, config: RtmpConfig, connection: Connection, session: Session) -> None:
    """Serve one client until it leaves."""
    await RtmpSession(server, config, connection, session).run()


@define
class _Publishing:
    publisher: Publisher
    ingest: Ingest


@define
class _Playing:
    event: Play
    reader: Reader | None


class RtmpSession:
    """The I/O around a `ServerConnection`."""

    __slots__ = (
        "_config",
        "_connect",
        "_connection",
        "_playing",
        "_publishing",
        "_rtmp",
        "_server",
        "_session",
    )

    def __init__(self, server: Server, config: RtmpConfig, connection: Connection, session: Session) -> None:
        self._server = server
        self._config = config
        self._connection = connection
        self._session = session
        self._rtmp = ServerConnection(os.urandom(RANDOM_SIZE), int(time.monotonic() * 1000) & 0xFFFFFFFF)
        self._connect: Connect | None = None
        self._publishing: dict[int, _Publishing] = {}
        self._playing: dict[int, _Playing] = {}
        self._to_begin()

    async def run(self) -> None:
        try:
            await self._loop()
        except ProtocolViolation:
            self._send()
            raise
        finally:
            self._goodbye()

    def _to_begin(self) -> None:
        """It has to publish or play before long."""
        self._session.begin_by = time.monotonic() + self._server.config.server.handshake_timeout

    async def _loop(self) -> None:
        rtmp = self._rtmp
        connection = self._connection
        while True:
            most = PUBLISHER_READ if self._publishing else PLAYER_READ
            # A player only acknowledges now and then.
            connection.patient = bool(self._playing) and not self._publishing
            data = await connection.receive(most)
            if not data:
                return
            for part in slices(data, rtmp.awaited):
                rtmp.receive_data(part)
                while (event := rtmp.next_event()) is not None:
                    if type(event) is not Message:
                        await self._handle(event)
                    elif (publishing := self._publishing.get(event.stream_id)) is not None:
                        publishing.ingest.media(event.type, event.timestamp, event.payload)
                if part is not data:
                    await connection.turn()
            self._send()
            # A rest for one stream is a rest for all of the connection.
            alone = len(self._publishing) == 1
            for publishing in tuple(self._publishing.values()):
                if publishing.publisher.closed:
                    return
                slept = await publishing.publisher.flush(
                    rest=alone and len(data) < most, idle=alone and len(data) < IDLE_BYTES
                )
                if slept:
                    connection.rested()
                connection.drained = not slept and len(data) < most and not connection.secure

    def _send(self) -> None:
        data = self._rtmp.data_to_send()
        if data:
            self._connection.sink.control(data)

    async def _handle(self, event: ServerEvent) -> None:
        match event:
            case Metadata():
                publishing = self._publishing.get(event.stream_id)
                if publishing is not None:
                    publishing.ingest.metadata(event.values)
            case Script():
                publishing = self._publishing.get(event.stream_id)
                if publishing is not None:
                    publishing.ingest.script(event.timestamp, event.name, event.values)
            case Connect():
                self._connect = event
                bindings = [(c, b.fourcc) for c, b in self._server.registry.having(FLV) if b.fourcc]
                video = [f for c, f in bindings if c.kind == "video"]
                audio = [f for c, f in bindings if c.kind == "audio"]
                self._rtmp.accept_connect(video, audio)
            case Publish():
                await self._publish(event)
            case Play():
                await self._play(event)
            case Pause():
                await self._pause(event)
            case StreamClosed():
                self._closed(event.stream_id)
            case _:
                pass

    def _target(self, name: str) -> tuple[str, Credentials]:
        """The path and credentials that app and stream name give; either may have a query."""
        connect = self._connect
        app = connect.app.strip("/") if connect is not None else ""
        name, _, query = name.partition("?")
        pairs = (
            parse_qsl(connect.query, max_num_fields=64)
            if connect is not None and len(connect.query) < 8192
            else []
        )
        if len(query) < 8192:
            pairs += parse_qsl(query, max_num_fields=64)
        values = dict(pairs)
        user = values.get("user", "")
        password = values.get("password", values.get("pass"))
        name = name.removeprefix("/")
        path = f"{app}/{name}" if app and name else app or name
        return path, Credentials(unquote(user), password, values)

    async def _publish(self, event: Publish) -> None:
        path, credentials = self._target(event.name)
        try:
            publisher = await self._server.streams.publish(self._session, path, credentials)
        except (StreamError, ProtocolViolation) as e:
            self._rtmp.reject_publish(event.stream_id, str(e))
            self._send()
            raise
        self._publishing[event.stream_id] = _Publishing(publisher, Ingest(publisher, self._server))
        self._rtmp.accept_publish(event.stream_id)

    async def _play(self, event: Play) -> None:
        path, credentials = self._target(event.name)
        try:
            await self._server.streams.open(self._session, path, credentials)
        except (StreamError, ProtocolViolation) as e:
            self._rtmp.reject_play(event.stream_id, str(e))
            self._send()
            raise
        self._rtmp.accept_play(event.stream_id)
        self._playing[event.stream_id] = playing = _Playing(event, None)
        await self._attach(playing)

    async def _attach(self, playing: _Playing) -> None:
        """Put the player's sink at its place: the replies that wait go out first, then what is true there."""
        connect, path, stream_id = self._connect, self._session.path, playing.event.stream_id
        stream = self._server.streams.get(path) if path is not None else None
        if stream is None:
            raise PenstockError("the stream ended")
        announced = frozenset(connect.fourccs) if connect is not None and connect.fourccs else None
        tracks = await stream.tracks_for(partial(surely_takes, self._server.registry, announced))
        multitrack = connect is not None and bool(connect.caps & MULTITRACK)
        muxer = RtmpMuxer(
            self._server.registry,
            tracks,
            stream_id=stream_id,
            chunk_size=self._rtmp.chunk_size,
            fourccs=announced,
            multitrack=multitrack,
        )
        if muxer.left_out:
            self._session.info["left_out"] = dict(muxer.left_out)
            self._server.log_peer(self._session, "tracks left out", tracks=muxer.left_out)

        def preamble(cursor: Cursor) -> bytes:
            return self._rtmp.data_to_send() + muxer.preamble(cursor)

        reader = stream.feed(muxer, self._config.max_backlog_seconds, tracks).attach(
            self._connection.sink,
            self._session,
            preamble=preamble,
            start=self._config.start,
            on_end=lambda reason: self._ended(stream_id, reason),
        )
        playing.reader = reader

    def _ended(self, stream_id: int, reason: str) -> None:
        """The stream is over, or the player's socket is: the first is said politely."""
        self._playing.pop(stream_id, None)
        if not self._connection.sink.closed:
            self._rtmp.end_play(stream_id, reason)
            self._send()
        self._session.kick(reason)

    async def _pause(self, event: Pause) -> None:
        playing = self._playing.get(event.stream_id)
        if playing is None:
            return
        if event.paused and playing.reader is not None:
            playing.reader.detach("paused")
            playing.reader = None
        elif not event.paused and playing.reader is None:
            await self._attach(playing)

    def _closed(self, stream_id: int) -> None:
        publishing = self._publishing.pop(stream_id, None)
        if publishing is not None:
            publishing.publisher.close()
        playing = self._playing.pop(stream_id, None)
        if playing is not None and playing.reader is not None:
            playing.reader.detach()
        if not self._publishing and not self._playing:
            self._to_begin()

    def _goodbye(self) -> None:
        """Leave the kernel; tell a peer that is still there why."""
        reason = self._session.reason
        for stream_id, publishing in self._publishing.items():
            publishing.publisher.close(reason or "the publisher left")
            if reason:
                self._rtmp.reject_publish(stream_id, reason, "NetStream.Publish.Failed")
        for stream_id, playing in self._playing.items():
            if playing.reader is not None:
                playing.reader.detach(reason or "left")
            if reason:
                self._rtmp.end_play(stream_id, reason)
        self._publishing.clear()
        self._playing.clear()
        self._send()
