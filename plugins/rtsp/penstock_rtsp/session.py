"""One client's connection to the server: its requests carried out on the kernel."""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from random import Random, SystemRandom
from typing import Any

import anyio
from attrs import define, field

from penstock.errors import (
    AlreadyPublished,
    Closed,
    Denied,
    NotFound,
    ProtocolViolation,
    StreamError,
    leading,
)
from penstock.net import Connection
from penstock.path import StreamPath
from penstock.publisher import Publisher
from penstock.server import Server
from penstock.session import Session
from penstock_formats.sdp import SessionDescription
from penstock_rtsp.config import RtspConfig
from penstock_rtsp.connection import Asked, Refused, ServerConnection
from penstock_rtsp.credentials import Authenticator
from penstock_rtsp.description import describe, offered
from penstock_rtsp.ingest import Ingest
from penstock_rtsp.message import InterleavedFrame, Request, interleaved_header
from penstock_rtsp.multicast import Multicast
from penstock_rtsp.player import Player
from penstock_rtsp.recorder import Recorder
from penstock_rtsp.session_header import SessionHeader
from penstock_rtsp.state import METHODS
from penstock_rtsp.transport import Lower, Mode, Pair, Transport, parse_transports
from penstock_rtsp.udp import Ports
from penstock_rtsp.udp import Receive as Datagram

NAME = "Penstock"
RECEIVE = 256 << 10
REPORT_SECONDS = 5.0
TICK_SECONDS = 0.05
"""How often a publisher over UDP is looked after: its reorder buffers wait in steps of this."""
MAX_TRACKS = 32


@define(eq=False)
class Shared:
    """What all sessions of the plugin share."""

    server: Server
    config: RtspConfig
    authenticator: Authenticator
    ports: Ports | None = None
    multicast: Multicast | None = None
    random: Random = field(factory=SystemRandom)
    sessions: set[RtspSession] = field(factory=lambda: set[RtspSession]())

    async def watch(self) -> None:
        """Look after all sessions' signs of life, until cancelled: one task, as players are many."""
        while True:
            await anyio.sleep(1.0)
            now = time.monotonic()
            for session in tuple(self.sessions):
                session.check_life(now)


class Refusal(Exception):
    """A request that is answered with a status other than 200, after which the session goes on."""

    def __init__(self, status: int, *headers: tuple[str, str]) -> None:
        self.status = status
        self.headers = headers


Receive = Callable[[int], Awaitable[bytes]]


class RtspSession:
    """The I/O around a `ServerConnection`: DESCRIBE, SETUP and PLAY, or ANNOUNCE, SETUP and RECORD."""

    def __init__(
        self, shared: Shared, connection: Connection, session: Session, receive: Receive, *, tunnelled: bool
    ) -> None:
        self._shared = shared
        self._server = shared.server
        self._connection = connection
        self._session = session
        self._receive = receive
        self._udp = not (tunnelled or connection.secure)
        self._rtsp = ServerConnection(NAME)
        self._host = str(connection.peer[0])
        self._player: Player | None = None
        self._recorder: Recorder | None = None
        self._channels: dict[int, tuple[int, int]] = {}
        self._ports: list[tuple[int, Any, Any]] = []
        self._failure: Exception | None = None
        self._failed = anyio.Event()
        self._authorized: set[tuple[str, StreamPath]] = set()
        self._alive = time.monotonic()
        self._deadline = anyio.CancelScope()

    # -- the connection -----------------------------------------------------

    async def run(self) -> None:
        limit = self._server.config.server.handshake_timeout
        self._deadline.deadline = anyio.current_time() + limit
        self._shared.sessions.add(self)
        try:
            with self._deadline:
                # Players are many, and have this task only; a publisher is looked after by more.
                await self._loop()
                if self._ingest is not None:
                    await self._record()
            if self._deadline.cancelled_caught:
                raise ProtocolViolation(f"the peer neither played nor recorded within {limit:g} s")
        finally:
            self._shared.sessions.discard(self)
            self._goodbye()

    async def _record(self) -> None:
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._tick)
                tasks.start_soon(self._raise)
                await self._loop()
                tasks.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            raise leading(group) from None

    async def _loop(self) -> None:
        """Serve the peer until it leaves or begins to record."""
        rtsp = self._rtsp
        began = self._ingest
        while True:
            data = await self._receive(RECEIVE)
            if not data:
                return
            self._alive = time.monotonic()
            now = time.monotonic_ns()
            rtsp.receive_data(data)
            try:
                while (event := rtsp.next_event()) is not None:
                    if isinstance(event, InterleavedFrame):
                        self._interleaved(event, now)
                    elif isinstance(event, Asked):
                        await self._answer(event)
                    elif isinstance(event, Refused):
                        self._connection.sink.control(rtsp.refuse(event, _date()))
            except ProtocolViolation:
                self._connection.sink.control(rtsp.farewell())
                raise
            if (ingest := self._ingest) is not None:
                if ingest.publisher.closed:
                    return
                await ingest.publisher.flush(rest=len(data) < RECEIVE)
                if began is None:
                    return

    @property
    def _ingest(self) -> Ingest | None:
        return self._recorder.ingest if self._recorder is not None else None

    @property
    def _must_show_life(self) -> bool:
        """Whether nothing else tells that the peer is gone: a stalled connection, or a publisher's silence."""
        if self._rtsp.session is None or self._ingest is not None:
            return False
        return self._player is None or not (self._player.playing and self._player.channels)

    def _fail(self, error: Exception) -> None:
        self._failure = self._failure or error
        self._failed.set()

    async def _raise(self) -> None:
        """End the session with what went wrong at the shared ports."""
        await self._failed.wait()
        if self._failure is not None:
            raise self._failure

    def check_life(self, now: float) -> None:
        """End a peer that has shown no sign of life for too long at `now` (monotonic seconds)."""
        limit = self._shared.config.session_timeout
        if self._must_show_life and now - self._alive > limit:
            self._session.kick(f"no sign of life for {limit} s")

    async def _tick(self) -> None:
        """Reports to a publisher, and what its reorder buffers gave up waiting for."""
        reported = time.monotonic()
        while (ingest := self._ingest) is not None and not ingest.publisher.closed:
            await anyio.sleep(TICK_SECONDS if self._ports else 1.0)
            ingest.handle_timeout(time.monotonic_ns())
            await ingest.publisher.flush()
            if time.monotonic() - reported >= REPORT_SECONDS:
                reported = time.monotonic()
                self._report(ingest)

    def _report(self, ingest: Ingest) -> None:
        now = time.monotonic_ns()
        for index, track in self._recorder.set_up.items() if self._recorder is not None else ():
            data = ingest.receiver_report(track, now) if track is not None else None
            if data is None:
                continue
            if index in self._channels:
                self._connection.sink.control(interleaved_header(self._channels[index][1], len(data)) + data)
            for number, _, rtcp in self._ports:
                if number == index and self._shared.ports is not None:
                    try:
                        self._shared.ports.rtcp.sock.sendto(data, rtcp)
                    except OSError:
                        pass

    def _interleaved(self, frame: InterleavedFrame, now: int) -> None:
        """A packet inside the connection: media of a publisher; anything else is dropped."""
        recorder = self._recorder
        if recorder is None or recorder.ingest is None or recorder.ingest.publisher.closed:
            return
        for index, (rtp, rtcp) in self._channels.items():
            if frame.channel == rtp:
                recorder.packet(index, frame.payload, now)
                return
            if frame.channel == rtcp:
                recorder.rtcp(index, frame.payload)
                return

    # -- requests -------------------------------------------------------------

    async def _answer(self, asked: Asked) -> None:
        request = asked.request
        handler = getattr(self, f"_on_{request.method.lower()}")
        try:
            reply: bytes | None = await handler(asked)
        except Refusal as refusal:
            reply = self._reply(request, refusal.status, *refusal.headers)
        except Denied:
            reply = self._reply(request, 403)
        except NotFound:
            reply = self._reply(request, 404)
        except AlreadyPublished:
            self._connection.sink.control(self._reply(request, 403))
            raise
        except StreamError as error:
            self._server.log.info(
                "request refused", session=self._session.id, method=request.method, reason=str(error)
            )
            reply = self._reply(request, 503)
        except ProtocolViolation as violation:
            self._server.log.info(
                "request refused", session=self._session.id, method=request.method, reason=str(violation)
            )
            reply = self._reply(request, 400)
        else:
            self._rtsp.state.advance(request.method)
        if reply:
            self._connection.sink.control(reply)
        if request.method == "TEARDOWN":
            raise Closed("the peer left")

    def _reply(self, request: Request, status: int, *headers: tuple[str, str], body: bytes = b"") -> bytes:
        return self._rtsp.respond(request, status, *headers, body=body, date=_date())

    async def _challenge(self, request: Request) -> Refusal:
        """Ask for credentials, whatever the URL's query says: cameras' clients have one and answer nonetheless."""
        await anyio.sleep(self._shared.authenticator.pause(request))
        return Refusal(
            401, *[("WWW-Authenticate", c) for c in self._shared.authenticator.challenges(request)]
        )

    def _path(self, asked: Asked) -> StreamPath:
        if asked.target.path is None:
            raise Refusal(404)
        return asked.target.path

    async def _authorize(self, asked: Asked, action: Any) -> StreamPath:
        """The path, once for each action and path of the connection."""
        path = self._path(asked)
        if (action, path) not in self._authorized:
            credentials = self._shared.authenticator.credentials(asked.request, asked.target.query)
            try:
                await self._server.streams.authorize(self._session, action, path, credentials)
            except Denied:
                raise await self._challenge(asked.request) from None
            self._authorized.add((action, path))
        return path

    async def _on_options(self, asked: Asked) -> bytes:
        return self._reply(asked.request, 200, ("Public", ", ".join(METHODS)))

    async def _on_get_parameter(self, asked: Asked) -> bytes:
        return self._reply(asked.request, 200)

    async def _on_set_parameter(self, asked: Asked) -> bytes:
        return self._reply(asked.request, 451 if asked.request.body.strip() else 200)

    async def _on_describe(self, asked: Asked) -> bytes:
        path = await self._authorize(asked, "read")
        stream = await self._server.streams.open_authorized(self._session, path)
        if self._player is not None:
            self._session.path = self._player.stream.path
        local = str(self._connection.sock.getsockname()[0]).removeprefix("::ffff:")
        description, left_out = describe(
            self._server.registry, stream.tracks, local, self._shared.random.getrandbits(31)
        )
        if left_out:
            self._session.info["left_out"] = left_out
            self._server.log.info("tracks left out", session=self._session.id, tracks=left_out)
        if not description.media:
            raise Refusal(415)
        base = asked.request.url.rstrip("/") + "/"
        return self._reply(
            asked.request,
            200,
            ("Content-Base", base),
            ("Content-Type", "application/sdp"),
            body=description.build(),
        )

    async def _on_announce(self, asked: Asked) -> bytes:
        path = await self._authorize(asked, "publish")
        stream = self._server.streams.get(path)
        if stream is not None and stream.publisher is not None and not stream.options.override:
            raise AlreadyPublished(f"{path} is being published already")
        kind = asked.request.headers.get("Content-Type") or ""
        if kind and "application/sdp" not in kind.lower():
            raise Refusal(415)
        found, left_out = offered(self._server.registry, SessionDescription.parse(asked.request.body))
        for reason in left_out:
            self._server.log.warning("track left out", session=self._session.id, path=path, reason=reason)
        if not found or len(found) > MAX_TRACKS:
            raise Refusal(415)
        self._recorder = Recorder(self._server, self._session, path, found, self._shared.random, self._fail)
        self._session.path, self._session.direction = path, "publish"
        return self._reply(asked.request, 200)

    async def _on_setup(self, asked: Asked) -> bytes:
        header = asked.request.headers.get("Transport")
        if header is None:
            raise Refusal(400)
        transports = parse_transports(header)
        if self._recorder is not None:
            reply = self._set_up_recording(asked, transports, self._recorder)
        else:
            reply = await self._set_up_playing(asked, transports)
        if self._rtsp.session is None:
            self._rtsp.session = SessionHeader(secrets.token_hex(8), self._shared.config.session_timeout)
        return self._reply(asked.request, 200, ("Transport", reply.build()))

    def _choose(self, transports: tuple[Transport, ...], mode: Mode) -> Transport:
        """The first of the peer's alternatives that can be had. Raises `Refusal` 461 where there is none."""
        for t in transports:
            if t.profile != "AVP" or (t.mode is not None and t.mode is not mode):
                continue
            if t.lower is Lower.TCP:
                return t
            if t.multicast:
                if self._udp and mode is Mode.PLAY and self._shared.multicast is not None:
                    return t
            elif self._udp and self._shared.ports is not None and t.client_port is not None:
                return t
        raise Refusal(461)

    def _interleave(self, transport: Transport, number: int) -> Pair:
        used = {c for pair in self._channels.values() for c in pair}
        pair = transport.interleaved or (2 * number, 2 * number + 1)
        while used & set(pair):
            pair = (pair[0] + 2, pair[0] + 3)
        if pair[1] > 255 or pair[1] != pair[0] + 1:
            raise Refusal(461)
        return pair

    async def _set_up_playing(self, asked: Asked, transports: tuple[Transport, ...]) -> Transport:
        path = await self._authorize(asked, "read")
        player = self._player
        if player is None:
            stream = await self._server.streams.open_authorized(self._session, path)
            player = Player(self._server, stream, self._session, self._shared.random)
        elif player.stream.path != path or player.playing:
            raise Refusal(455)
        elif player.stream.ended:
            raise NotFound(f"{path} has ended")
        tracks = [t.id for t in player.stream.tracks]
        track_id = (
            asked.target.track
            if asked.target.track is not None
            else (tracks[0] if len(tracks) == 1 else None)
        )
        if track_id not in tracks:
            raise Refusal(404)
        if track_id in player.track_ids:
            raise Refusal(455)
        chosen = self._choose(transports, Mode.PLAY)
        kinds = (bool(player.channels), bool(player.addresses), player.multicast is not None)
        wanted = (
            chosen.lower is Lower.TCP,
            chosen.lower is Lower.UDP and not chosen.multicast,
            chosen.multicast,
        )
        if any(kinds) and kinds != wanted:
            raise Refusal(461)
        if chosen.lower is Lower.TCP:
            pair = self._interleave(chosen, len(player.channels))
            player.channels[track_id] = pair[0]
            self._channels[track_id] = pair
            reply = Transport(Lower.TCP, interleaved=pair)
        elif chosen.multicast and self._shared.multicast is not None:
            multicast = self._shared.multicast
            player.multicast = multicast
            port = multicast.track_port(tracks.index(track_id))
            reply = Transport(
                multicast=True,
                destination=multicast.claim(path, self._session),
                port=(port, port + 1),
                ttl=multicast.ttl,
            )
        else:
            rtp, rtcp, reply = self._open_ports(track_id, chosen, _ignore, self._player_rtcp)
            player.addresses[track_id] = rtp, rtcp
        self._player = player
        return reply

    def _open_ports(
        self, number: int, chosen: Transport, rtp: Datagram, rtcp: Datagram
    ) -> tuple[Any, Any, Transport]:
        """Let both shared ports know the peer's. T9: never an address other than that of this connection."""
        ports, pair = self._shared.ports, chosen.client_port
        if ports is None or pair is None:
            raise Refusal(461)
        first = ports.rtp.add(self._host, pair[0], rtp)
        if first is None:
            raise Refusal(461)
        second = ports.rtcp.add(self._host, pair[1], rtcp)
        if second is None:
            ports.rtp.remove(first)
            raise Refusal(461)
        self._ports.append((number, first, second))
        self._session.info["transport"] = "udp"
        return first, second, Transport(client_port=pair, server_port=(ports.rtp.number, ports.rtcp.number))

    def _player_rtcp(self, data: bytes, now: int) -> Publisher | None:
        self._alive = now / 1e9
        return None

    def _set_up_recording(
        self, asked: Asked, transports: tuple[Transport, ...], recorder: Recorder
    ) -> Transport:
        index = recorder.index(asked)
        if index is None:
            raise Refusal(404)
        if index in recorder.set_up:
            raise Refusal(455)
        chosen = self._choose(transports, Mode.RECORD)
        if chosen.lower is Lower.TCP:
            pair = self._interleave(chosen, len(recorder.set_up))
            self._channels[index] = pair
            reply = Transport(Lower.TCP, interleaved=pair, mode=Mode.RECORD)
        else:
            _, _, reply = self._open_ports(
                index,
                chosen,
                lambda data, now: recorder.datagram(index, data, now),
                lambda data, now: recorder.datagram_rtcp(index, data),
            )
            reply = Transport(client_port=reply.client_port, server_port=reply.server_port, mode=Mode.RECORD)
        recorder.set_up[index] = None
        return reply

    async def _on_play(self, asked: Asked) -> bytes | None:
        player = self._player
        if player is None:
            raise Refusal(455)
        if player.playing:
            return self._reply(asked.request, 200)
        if player.stream.ended:
            raise NotFound(f"{player.stream.path} has ended")
        request = asked.request
        base = request.url.rstrip("/")

        def reply(rtp_info: str) -> bytes:
            headers = [("RTP-Info", rtp_info)] if rtp_info else []
            return self._reply(request, 200, *headers)

        player.play(self._connection, self._shared.ports, base, reply, self._ended)
        self._deadline.deadline = float("inf")
        return None

    async def _on_record(self, asked: Asked) -> bytes:
        recorder = self._recorder
        if recorder is None or not recorder.set_up:
            raise Refusal(455)
        if recorder.ingest is None:
            self._session.info["transport"] = "udp" if self._ports else "tcp"
            recorder.record(reorder=bool(self._ports))
        self._deadline.deadline = float("inf")
        return self._reply(asked.request, 200)

    async def _on_pause(self, asked: Asked) -> bytes:
        if self._player is not None:
            self._player.pause()
        return self._reply(asked.request, 200)

    async def _on_teardown(self, asked: Asked) -> bytes:
        return self._reply(asked.request, 200)

    # -- the end --------------------------------------------------------------

    def _ended(self, reason: str) -> None:
        self._session.kick(reason)

    def _goodbye(self) -> None:
        ports = self._shared.ports
        if ports is not None:
            for _, rtp, rtcp in self._ports:
                ports.rtp.remove(rtp)
                ports.rtcp.remove(rtcp)
        self._ports.clear()
        if self._player is not None:
            self._player.pause()
            if self._player.multicast is not None:
                self._player.multicast.release(self._player.stream.path, self._session)
        if self._recorder is not None:
            self._recorder.close(self._session.reason or "the publisher left")


def _ignore(_data: bytes, _now: int) -> None:
    """What a player sends to the RTP port only opens its firewall."""


def _date() -> str:
    return formatdate(usegmt=True)
