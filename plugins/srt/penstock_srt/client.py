"""The client's I/O: pull from and push to ``srt://``, calling, or waiting to be called."""

from __future__ import annotations

import socket
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from random import SystemRandom
from typing import Any

import anyio
from attrs import evolve

from penstock.errors import Closed, ProtocolViolation
from penstock.hooks import Action
from penstock.net import UDP_BUFFER, format_address, open_udp
from penstock.publisher import Publisher
from penstock.server import Server
from penstock.session import Session
from penstock.stream import Stream
from penstock.udp import Address
from penstock_srt import player
from penstock_srt.bond import Joined
from penstock_srt.caller import Caller, Connected, Rejected
from penstock_srt.config import SrtConfig, missing_library
from penstock_srt.extension import GroupType
from penstock_srt.group_caller import GroupCaller, Way
from penstock_srt.handshake import meaning
from penstock_srt.ingest import Ingest
from penstock_srt.listener import Accepted, Listener, PutOff, Refused, Requested
from penstock_srt.listener import Event as ListenerEvent
from penstock_srt.rejection import Rejection
from penstock_srt.rendezvous import Rendezvous
from penstock_srt.server import settings
from penstock_srt.session import ingest, part, play, show
from penstock_srt.settings import Settings
from penstock_srt.stream_id import standard
from penstock_srt.udp import Link, Port
from penstock_srt.url import Mode, SrtUrl

CallerEvent = Connected | Rejected
GroupEvent = Joined | Rejected
RESOLVE_SECONDS = 10.0


class SrtScheme:
    """Both directions of ``srt``."""

    def __init__(self, server: Server, config: SrtConfig) -> None:
        self._server = server
        self._config = config

    async def pull(self, url: str, publish: Callable[[Session], Publisher], session: Session) -> None:
        """Publish what the peer sends until it leaves."""
        async with self._connected(url, "read", session) as link:
            await ingest(self._server, link, Ingest(publish(session), self._server))

    async def push(self, url: str, stream: Stream, session: Session) -> None:
        """Send the stream until it ends or the peer leaves."""
        tracks = await player.tracks_of(self._server, stream)
        async with self._connected(url, "publish", session) as link:
            await play(self._server, self._config, stream, tracks, link)

    @asynccontextmanager
    async def _connected(self, text: str, action: Action, session: Session) -> AsyncGenerator[Link]:
        try:
            url = SrtUrl.parse(text)
        except ProtocolViolation as violation:
            raise Closed(f"the URL is wrong: {violation}") from None
        if url.passphrase and (missing := missing_library()):
            raise Closed(f"encryption {missing}")
        wanted = settings(self._config)
        latency = self._config.latency if url.latency is None else url.latency
        wanted = evolve(
            wanted, latency=latency, peer_latency=latency, key_length=url.key_length, mode=url.cipher
        )
        if url.connect_timeout is not None:
            wanted = evolve(wanted, connect_timeout=url.connect_timeout)
        call = _KINDS[url.mode if url.group is None else url.group](url, session)
        port = await call.open(wanted, action)
        scope, finished = anyio.CancelScope(), anyio.Event()

        async def serve() -> None:
            try:
                with scope:
                    await port.run(self._server.poller)
            finally:
                finished.set()
                call.done.set()

        try:
            # In the server's tasks: the goodbye must still find it when this session's work is cancelled.
            self._server.spawn(serve)
            await call.done.wait()
            if call.link is None:
                raise Closed(call.refusal or "the call came to nothing")
            show(session, call.link, encrypted=bool(url.passphrase))
            try:
                yield call.link
            finally:
                await part(call.link, session)
        finally:
            scope.cancel()
            with anyio.move_on_after(1, shield=True):
                # libuv aborts the process where a descriptor that it watches is closed.
                await finished.wait()
            port.sock.close()


class _Call:
    """One connection to be made: `link` is there when it is `done`, or a `refusal` is."""

    def __init__(self, url: SrtUrl, session: Session) -> None:
        self.url = url
        self.session = session
        self.done = anyio.Event()
        self.link: Link | None = None
        self.refusal = ""

    async def open(self, wanted: Settings, action: Action) -> Port[Any]:
        """The port at which the connection is made, once it is run. Raises `Closed`."""
        raise NotImplementedError

    def stream_id(self, action: Action) -> bytes:
        """What is sent, or the one that the URL's path means."""
        url = self.url
        return (url.stream_id or (standard(url.path, action) if url.path is not None else "")).encode()


class _Calling(_Call):
    """We call."""

    async def open(self, wanted: Settings, action: Action) -> Port[CallerEvent]:
        sock, address = await _towards(self.url.host, self.url.port)
        try:
            self._prepare(sock)
            caller = self._negotiator(wanted, address, self.stream_id(action), time.monotonic_ns())
            self._port: Port[CallerEvent] = Port(sock, caller, self._told)
            self._port.negotiate(time.monotonic_ns())
        except BaseException:
            sock.close()
            raise
        return self._port

    def _prepare(self, sock: socket.socket) -> None:
        """What is to be done with the socket before."""

    def _negotiator(
        self, wanted: Settings, address: Address, stream_id: bytes, now: int
    ) -> Caller | Rendezvous:
        return Caller(wanted, address, stream_id, self.url.passphrase, SystemRandom(), now)

    def _told(self, event: CallerEvent) -> None:
        match event:
            case Connected(connection):
                self.link = self._port.add(connection, self.session)
            case Rejected(reason):
                self.refusal = f"the peer refused: {meaning(reason)}"
        self.done.set()


class _Meeting(_Calling):
    """Both call: our port is the peer's."""

    def _prepare(self, sock: socket.socket) -> None:
        try:
            sock.bind((self.url.adapter, self.url.port))
        except OSError as error:
            raise Closed(f"{self.url.adapter}:{self.url.port}: {error.strerror}") from None

    def _negotiator(
        self, wanted: Settings, address: Address, stream_id: bytes, now: int
    ) -> Caller | Rendezvous:
        return Rendezvous(wanted, address, stream_id, self.url.passphrase, SystemRandom(), now)


class _Bonding(_Call):
    """We call by several ways."""

    async def open(self, wanted: Settings, action: Action) -> Port[GroupEvent]:
        url = self.url
        sock, address = await _towards(url.host, url.port)
        try:
            ways = [Way(address, len(url.nodes) + 1)]
            for n, node in enumerate(url.nodes):
                ways.append(Way(await _find(*node, sock.family), len(url.nodes) - n))
            caller = GroupCaller(
                wanted,
                ways,
                url.group or GroupType.BROADCAST,
                self.stream_id(action),
                url.passphrase,
                SystemRandom(),
                time.monotonic_ns(),
            )
            self._port: Port[GroupEvent] = Port(sock, caller, self._told)
            self._port.negotiate(time.monotonic_ns())
        except BaseException:
            sock.close()
            raise
        return self._port

    def _told(self, event: GroupEvent) -> None:
        match event:
            case Joined(connection, bond):
                if self.link is None:
                    self.link = self._port.add(connection, self.session, bond)
                else:
                    self._port.join(connection, bond)
            case Rejected(reason):
                self.refusal = f"the peer refused: {meaning(reason)}"
        self.done.set()


class _Called(_Call):
    """We are called, by one peer."""

    async def open(self, wanted: Settings, action: Action) -> Port[ListenerEvent]:
        sock = open_udp(self.url.host, self.url.port, what="SRT", key="the URL")
        self._port: Port[ListenerEvent] = Port(sock, Listener(wanted, SystemRandom()), self._told)
        return self._port

    def _told(self, event: ListenerEvent) -> None:
        match event:
            case Requested(request):
                if self.link is None or request.bond is not None:
                    request.accept(time.monotonic_ns(), self.url.passphrase)
                else:
                    request.reject(Rejection.CONFLICT)
            case Joined(connection, bond):
                self._port.join(connection, bond)
            case Accepted(connection, bond):
                self.session.address = format_address(connection.address)
                self.link = self._port.add(connection, self.session, bond)
                self.done.set()
            case Refused() | PutOff():
                # It may try again.
                pass


_KINDS: Mapping[Mode | GroupType, type[_Call]] = {
    Mode.CALLER: _Calling,
    Mode.LISTENER: _Called,
    Mode.RENDEZVOUS: _Meeting,
    GroupType.BROADCAST: _Bonding,
    GroupType.BACKUP: _Bonding,
}


async def _find(host: str, port: int, family: int = socket.AF_UNSPEC) -> Address:
    """The address of a host, as sockets of that family have it. Raises `Closed`."""
    try:
        with anyio.fail_after(RESOLVE_SECONDS):
            found = await anyio.getaddrinfo(host, port, family=family, type=socket.SOCK_DGRAM)
            return found[0][4]
    except TimeoutError:
        raise Closed(f"{host} was not found within {RESOLVE_SECONDS:g} s") from None
    except (OSError, UnicodeError) as error:
        raise Closed(f"{host}:{port}: {getattr(error, 'strerror', None) or error}") from None


async def _towards(host: str, port: int) -> tuple[socket.socket, Address]:
    """A socket for a peer, and its address as that socket gives it. Raises `Closed`."""
    address = await _find(host, port)
    try:
        sock = socket.socket(socket.AF_INET6 if len(address) > 2 else socket.AF_INET, socket.SOCK_DGRAM)
    except OSError as error:
        raise Closed(f"{host}:{port}: {error.strerror}") from None
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, UDP_BUFFER)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, UDP_BUFFER)
    return sock, address
