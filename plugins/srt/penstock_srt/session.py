"""One caller: what it asks for is decided, and then it publishes or plays until it leaves."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import anyio

from penstock.errors import AlreadyPublished, Closed, Denied, NotFound, PenstockError, ProtocolViolation
from penstock.hooks import Action
from penstock.media import Track
from penstock.path import StreamPath
from penstock.server import Server
from penstock.session import Credentials, Session
from penstock.stream import Stream
from penstock_srt import player
from penstock_srt.config import SrtConfig, missing_library
from penstock_srt.ingest import Ingest
from penstock_srt.listener import Request
from penstock_srt.rejection import Refused, Rejection
from penstock_srt.statistics import NAMES
from penstock_srt.stream_id import StreamId
from penstock_srt.udp import Link
from penstock_srt.url import MAX_PASSPHRASE, MIN_PASSPHRASE

HANDSHAKE_WAIT = 2.0
"""Seconds for which a player waits for a path before it is told that there is none: libsrt's give up after three."""
LAST_WAIT = 2.0
"""Seconds at most that what was sent last has for its way, before the goodbye."""
LAST_LOOK = 0.1
"""And how long who plays there has to take it, once it is due: srt-live-transmit leaves it where it sees that all is over."""
LAST_STEP = 0.02

_COUNTED = {
    "lost_packets": "pktRcvLoss",
    "dropped_packets": "pktRcvDrop",
    "retransmitted_packets": "pktRetrans",
    "undecrypted_packets": "pktRcvUndecrypt",
}
"""What the log tells at a session's end, by libsrt's names."""


class Door(Protocol):
    """Where requests come from and are answered."""

    @property
    def server(self) -> Server: ...

    @property
    def config(self) -> SrtConfig: ...

    def accept(self, request: Request, session: Session, passphrase: str) -> Link:
        """Let the caller in. Raises `Refused` where the passphrases differ, `Closed` where it has given up."""
        ...

    def refuse(self, request: Request, code: Rejection) -> None:
        """Refuse it, unless it has its answer."""
        ...

    def release(self, link: Link) -> None:
        """It is over."""
        ...


class Figures(Mapping[str, float]):
    """The statistics of a connection, or of a bonding group's, as they are when they are asked for."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def __getitem__(self, name: str) -> float:
        if name not in NAMES:
            raise KeyError(name)
        value: float = getattr(self._link.statistics, name)
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(NAMES)

    def __len__(self) -> int:
        return len(NAMES)


class SrtSession:
    """The work of one session."""

    def __init__(self, door: Door, request: Request, session: Session) -> None:
        self._door = door
        self._server = door.server
        self._request = request
        self._session = session

    async def run(self) -> None:
        """Serve the caller until it leaves; whoever is not let in is told why."""
        try:
            path, action = await self._authorized()
            if action == "publish":
                await self._publish(path)
            else:
                await self._play(path)
        except BaseException as error:
            self._door.refuse(self._request, self._code(error))
            raise

    async def join(self) -> Link:
        """Let the caller's link join a group, if it may do what the group does; else it is told why."""
        try:
            await self._authorized()
            if self._request.bond is None:
                raise Closed("its group is over")
            return self._door.accept(self._request, self._session, "")
        except BaseException as error:
            self._door.refuse(self._request, self._code(error))
            raise

    def _code(self, error: BaseException) -> Rejection:
        match error:
            case Refused():
                return error.code
            case Denied():
                return Rejection.UNAUTHORIZED if error.anonymous else Rejection.FORBIDDEN
            case NotFound():
                return Rejection.NOT_FOUND
            case AlreadyPublished():
                return Rejection.CONFLICT
            case ProtocolViolation():
                return Rejection.BAD_REQUEST
            case PenstockError():
                return Rejection.INTERNAL
            case _:
                return Rejection.DOWN if self._server.stopping else Rejection.INTERNAL

    async def _authorized(self) -> tuple[StreamPath, Action]:
        """What is asked for, in all that was not said as the config has it, and may be done."""
        session, config = self._session, self._door.config
        asked = StreamId.parse(self._request.stream_id)
        default = StreamId.parse(config.default_streamid.encode())
        if asked.path is None and default.path is None:
            raise Refused(Rejection.BAD_REQUEST, "the stream id has no path")
        action = asked.action or (default.action if asked.path is None else None) or config.default_mode
        session.direction = action
        credentials = Credentials(asked.user, asked.password, asked.query)
        path = asked.path or default.path or StreamPath()
        session.path = path
        return await self._server.streams.authorize(session, action, path, credentials), action

    def _accept(self, path: StreamPath) -> Link:
        passphrase = self._server.streams.secret(path) or self._door.config.passphrase
        if passphrase and not MIN_PASSPHRASE <= len(passphrase.encode()) <= MAX_PASSPHRASE:
            raise Refused(
                Rejection.INTERNAL,
                f"the secret of {path} must have {MIN_PASSPHRASE} to {MAX_PASSPHRASE} bytes to be a passphrase",
            )
        if passphrase and (missing := missing_library()):
            raise Refused(Rejection.INTERNAL, f"encryption {missing}")
        link = self._door.accept(self._request, self._session, passphrase)
        show(self._session, link, encrypted=bool(passphrase))
        return link

    async def _publish(self, path: StreamPath) -> None:
        server, session = self._server, self._session
        stream = server.streams.get(path)
        if stream is not None and stream.publisher is not None and not stream.options.override:
            raise AlreadyPublished(f"{path} is being published already")
        link = self._accept(path)
        try:
            publisher = server.streams.publish_authorized(session, path)
            await ingest(server, link, Ingest(publisher, server))
        finally:
            await part(link, session, self._door)

    async def _play(self, path: StreamPath) -> None:
        server, session = self._server, self._session
        streams = server.streams
        limit = server.config.server.wait_for_stream
        link: Link | None = None
        try:
            stream = await streams.open_authorized(session, path, wait=min(limit, HANDSHAKE_WAIT))
        except NotFound:
            if limit <= HANDSHAKE_WAIT or not server.config.stream(path).source:
                raise
            # It is on its way: the caller is let in, or it would not wait any longer.
            link = self._accept(path)
            stream = None
        try:
            if stream is None:
                stream = await streams.open_authorized(session, path, wait=limit - HANDSHAKE_WAIT)
            tracks = await player.tracks_of(server, stream)
            link = link or self._accept(path)
            await play(server, self._door.config, stream, tracks, link)
        finally:
            if link is not None:
                await part(link, session, self._door)


def show(session: Session, link: Link, *, encrypted: bool) -> None:
    """What is to be seen of a connection in its session's `info`."""
    session.info["srt"] = Figures(link)
    session.info["encrypted"] = encrypted


async def ingest(server: Server, link: Link, taken: Ingest) -> None:
    """Publish what comes until the peer leaves."""
    link.receive = taken.receive
    try:
        await link.wait()
        await taken.finish()
    finally:
        taken.publisher.close(link.session.reason or link.reason or "the publisher left")


async def play(
    server: Server, config: SrtConfig, stream: Stream, tracks: Sequence[Track], link: Link
) -> None:
    """Send these tracks until the stream ends or the peer leaves."""
    with player.attach(server, config, stream, tracks, link, link.end):
        await link.wait()
        link.session.reason = link.session.reason or link.reason


async def _last_words(link: Link, delay: float) -> None:
    """Wait until the peer has all, and then for `delay`, as far as there is time."""
    # In steps, as it is not the time that counts, but that who receives was running: where the machine stood still, it was not.
    left = math.ceil(delay / LAST_STEP)
    for _ in range(math.ceil(LAST_WAIT / LAST_STEP)):
        if link.over or not left:
            return
        if not link.press():
            left -= 1
        await anyio.sleep(LAST_STEP)


async def part(link: Link, session: Session, door: Door | None = None) -> None:
    """Say goodbye, once what was sent last has had its time: receivers drop at the goodbye what is not yet due."""
    statistics = link.statistics
    if statistics.pktSent:
        with anyio.CancelScope(shield=True):
            await _last_words(link, statistics.msSndTsbPdDelay / 1000 + LAST_LOOK)
    link.close(session.reason or link.reason or "closed")
    statistics = link.statistics
    for what, name in _COUNTED.items():
        session.count(what, getattr(statistics, name))
    if door is not None:
        door.release(link)
