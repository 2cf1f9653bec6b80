"""The client's I/O: pull from and push to ``rtsp://`` and ``rtsps://``, over UDP or, where that fails, TCP."""

from __future__ import annotations

import secrets
import socket
import ssl
import time
from collections.abc import Callable
from functools import partial
from random import SystemRandom
from typing import Any
from urllib.parse import unquote, urlsplit

import anyio
from attrs import define, field

from penstock import net
from penstock.datagram import DatagramSink
from penstock.errors import Closed, PenstockError, ProtocolViolation, leading
from penstock.feed import Cursor
from penstock.media import Track
from penstock.poller import wait_readable
from penstock.publisher import Publisher
from penstock.server import Server
from penstock.session import Session
from penstock.stream import Stream
from penstock_formats.rtp.ingest import Ingest, TrackIngest
from penstock_formats.rtp.reorder import MAX_DELAY
from penstock_rtsp.config import RtspConfig
from penstock_rtsp.description import describe, offered
from penstock_rtsp.message import InterleavedFrame, Request, interleaved_header
from penstock_rtsp.muxer import RtpMuxer, formats
from penstock_rtsp.requester import (
    Answered,
    Described,
    Event,
    Failed,
    Prepared,
    Redirected,
    Requester,
    Started,
    TransportRefused,
)
from penstock_rtsp.transport import Lower, Mode, Transport
from penstock_rtsp.udp_pair import NoUdp, UdpPair, bind_pair

AGENT = "Penstock"
PORTS = {"rtsp": 554, "rtsps": 322}
READ = 256 << 10
UDP_WAIT = 3.0
"""Seconds without a packet after which UDP is given up for TCP: a firewall is in the way."""
REPORT_SECONDS = 5.0
TICK_SECONDS = 0.05
MAX_REDIRECTS = 4
MAX_EARLY = 16 << 20
"""Bytes kept of media that comes before the answer to PLAY, or with it: more than one read holds."""
TURN_FRAMES = 128
"""Frames that are worked on before others have their turn: of the smallest there are thousands in one read."""
FRAME_COST = 128
"""What a frame takes beside its payload."""


def _split(url: str) -> tuple[str, int, str, str | None, str]:
    """Host, port, URL without credentials, user and password."""
    try:
        parts = urlsplit(url)
        port = parts.port or PORTS[parts.scheme]
    except (ValueError, KeyError) as e:
        raise Closed(f"the URL is wrong: {e}") from None
    if not parts.hostname:
        raise Closed("the URL has no host")
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    user = unquote(parts.username) if parts.username else None
    return parts.hostname, port, bare, user, unquote(parts.password or "")


class RtspScheme:
    """Both directions of ``rtsp`` and ``rtsps``."""

    def __init__(self, server: Server, config: RtspConfig) -> None:
        self._server = server
        self._config = config

    async def pull(self, url: str, publish: Callable[[Session], Publisher], session: Session) -> None:
        await self._with_fallback(url, session, lambda link: link.pull(publish))

    async def push(self, url: str, stream: Stream, session: Session) -> None:
        await self._with_fallback(
            url, session, lambda link: link.push(stream, self._config.max_backlog_seconds)
        )

    async def _with_fallback(self, url: str, session: Session, work: Callable[[_Link], Any]) -> None:
        secure = url.startswith("rtsps:")
        udp = not secure
        for _ in range(MAX_REDIRECTS):
            link = await _Link.open(self._server, url, session, udp=udp)
            try:
                await work(link)
                return
            except NoUdp as e:
                self._server.log_peer(session, "falling back to TCP", reason=str(e))
                udp = False
            except _Elsewhere as e:
                url = e.url
            finally:
                await link.close()
        raise Closed("redirected too often")


class _Elsewhere(Closed):
    def __init__(self, url: str) -> None:
        super().__init__("redirected")
        self.url = url


@define(eq=False)
class _Link:
    """One connection to a server."""

    server: Server
    session: Session
    connection: net.Connection
    rtsp: Requester
    udp: bool
    host: str
    tracks: dict[int, UdpPair] = field(factory=dict[int, UdpPair])
    _events: list[Event] = field(factory=list[Event])
    _frames: list[InterleavedFrame] = field(factory=list[InterleavedFrame])
    _early: int = 0
    _heard: bool = False
    """Whether the peer has shown a sign of life since the last keep-alive."""

    @classmethod
    async def open(cls, server: Server, url: str, session: Session, *, udp: bool) -> _Link:
        host, port, bare, user, password = _split(url)
        limit = server.config.server.handshake_timeout
        sock = await net.connect(host, port, limit)
        if bare.startswith("rtsps:"):
            with anyio.move_on_after(limit) as deadline:
                sock = await net.start_tls(sock, ssl.create_default_context(), host)
            if deadline.cancelled_caught:
                raise Closed(f"{host}:{port} did not answer in time")
        connection = net.Connection(
            sock, sock.getpeername(), server.spawn, server.config.server.stall_timeout, server.poller
        )
        rtsp = Requester(bare, AGENT, secrets.token_hex(8), user, password)
        return cls(server, session, connection, rtsp, udp, str(sock.getpeername()[0]))

    def _send(self) -> None:
        data = self.rtsp.data_to_send()
        if data:
            self.connection.sink.control(data)

    async def _receive(self) -> bytes:
        """What comes next. Raises `Closed` at the server's end."""
        data = await self.connection.receive(READ)
        if not data:
            raise Closed("the server left")
        self._heard = True
        return data

    async def _read(self) -> None:
        """Read once from the server, and parse it."""
        for part in net.slices(await self._receive()):
            self._parse(part)
            await self.connection.turn()

    def _parse(self, data: bytes) -> None:
        self.rtsp.receive_data(data)
        try:
            while (event := self.rtsp.next_event()) is not None:
                if isinstance(event, InterleavedFrame):
                    self._early += len(event.payload) + FRAME_COST
                    if self._early > MAX_EARLY:
                        raise Closed("the server sends media but no answer")
                    self._frames.append(event)
                elif isinstance(event, Request):
                    self.rtsp.reply(event, 200 if event.method in ("OPTIONS", "GET_PARAMETER") else 501)
                else:
                    self._events.append(event)
        except ProtocolViolation as e:
            raise Closed(f"the server sent what it may not: {e}") from None

    async def _answer(self) -> Event:
        """The server's answer to what was asked last."""
        self._send()
        limit = self.server.config.server.handshake_timeout
        with anyio.move_on_after(limit):
            while not self._events:
                await self._read()
                self._send()
            event = self._events.pop(0)
            if isinstance(event, Failed):
                raise Closed(f"the server refused {event.method}: {event.status} {event.reason}".rstrip())
            if isinstance(event, Redirected):
                raise _Elsewhere(event.url)
            return event
        raise Closed(f"the server did not answer within {limit:g} s")

    async def _setup(self, controls: dict[int, str | None], mode: Mode) -> dict[int, tuple[int, int]]:
        """Set up every track; the interleaved channels of each, or none where UDP is used."""
        channels: dict[int, tuple[int, int]] = {}
        local = str(self.connection.sock.getsockname()[0])
        for number, (index, control) in enumerate(controls.items()):
            if self.udp:
                pair = self.tracks[index] = bind_pair(local)
                asked = Transport(client_port=(pair.rtp.number, pair.rtcp.number), mode=mode)
            else:
                asked = Transport(Lower.TCP, interleaved=(2 * number, 2 * number + 1), mode=mode)
            self.rtsp.setup(control, asked)
            event = await self._answer()
            if isinstance(event, TransportRefused):
                if self.udp:
                    raise NoUdp("the server takes no UDP")
                raise Closed("the server takes neither UDP nor TCP")
            if not isinstance(event, Prepared):
                raise Closed("the server answered SETUP with something else")
            chosen = event.transport
            if self.udp:
                if chosen.lower is Lower.TCP or chosen.server_port is None:
                    raise NoUdp("the server wants TCP")
                self.tracks[index].server = (self.host, *chosen.server_port)
            else:
                channels[index] = chosen.interleaved or (2 * number, 2 * number + 1)
        return channels

    # -- pull -------------------------------------------------------------------

    async def pull(self, publish: Callable[[Session], Publisher]) -> None:
        self.rtsp.options()
        await self._answer()
        self.rtsp.describe()
        described = await self._answer()
        if not isinstance(described, Described):
            raise Closed("the server answered DESCRIBE with something else")
        found, left_out = offered(self.server.registry, described.description)
        for reason in left_out:
            self.server.log_peer(self.session, "track left out", level="warning", reason=reason)
        if not found:
            raise Closed("the server has no track that could be used")
        channels = await self._setup({i: o.media.control for i, o in enumerate(found)}, Mode.PLAY)
        self.rtsp.play()
        if not isinstance(await self._answer(), Started):
            raise Closed("the server answered PLAY with something else")
        if self.udp:
            await self._hear()
        publisher = publish(self.session)
        ingest = Ingest(
            publisher,
            self.server.registry,
            found,
            SystemRandom().getrandbits(32),
            delay=MAX_DELAY if self.udp else None,
        )

        def want_key_frame(track: Track) -> None:
            for index, found in enumerate(ingest.tracks):
                if found.track.id == track.id:
                    data = ingest.picture_loss(found, time.monotonic_ns())
                    if data is not None:
                        self._report(index, channels, data)

        publisher.on_key_frame_request = want_key_frame
        try:
            await self._run(channels, ingest)
        finally:
            ingest.finish(time.monotonic_ns())

    async def _hear(self) -> None:
        """Wait until something comes over UDP. Raises `NoUdp` where nothing does: nobody was told of a stream yet."""
        with anyio.move_on_after(UDP_WAIT) as waited:
            async with anyio.create_task_group() as tasks:

                async def hear(sock: socket.socket) -> None:
                    await wait_readable(sock)
                    tasks.cancel_scope.cancel()

                for pair in self.tracks.values():
                    pair.open_ways()
                    tasks.start_soon(hear, pair.rtp.sock)
        if waited.cancelled_caught:
            raise NoUdp("no packet came over UDP")

    async def _run(self, channels: dict[int, tuple[int, int]], ingest: Ingest | None) -> None:
        """Take what comes until the server leaves."""
        try:
            async with anyio.create_task_group() as tasks:
                # Who sends is seen to live by that, and who is sent to over TCP by that it takes it.
                silent = ingest is not None or not self.udp
                tasks.start_soon(partial(self._keep_alive, may_be_silent=silent))
                if ingest is not None:
                    tasks.start_soon(self._look_after, ingest, channels)
                for index, pair in self.tracks.items():
                    if ingest is not None:
                        tasks.start_soon(self._datagrams, index, pair, ingest)
                    else:
                        tasks.start_soon(self._reports, pair)
                by_channel: dict[int, tuple[TrackIngest, bool]] = {}
                if ingest is not None:
                    for index, (rtp, rtcp) in channels.items():
                        by_channel[rtp] = ingest.tracks[index], False
                        by_channel[rtcp] = ingest.tracks[index], True
                await self._take(by_channel, ingest)
        except BaseExceptionGroup as group:
            raise leading(group) from None

    async def _take(self, by_channel: dict[int, tuple[TrackIngest, bool]], ingest: Ingest | None) -> None:
        data = b""
        while True:
            for part in net.slices(data):
                self._parse(part)
                await self._handle(by_channel, ingest)
                self._send()
            if ingest is not None:
                await ingest.publisher.flush(rest=len(data) < READ)
            data = await self._receive()

    async def _handle(self, by_channel: dict[int, tuple[TrackIngest, bool]], ingest: Ingest | None) -> None:
        """What was parsed, and what came before the answer to PLAY."""
        now = 0
        for number, frame in enumerate(self._frames):
            if number % TURN_FRAMES == 0:
                await self.connection.turn()
                now = time.monotonic_ns()
            track = by_channel.get(frame.channel)
            if track is None or ingest is None:
                continue
            if track[1]:
                ingest.rtcp(track[0], frame.payload, now)
            else:
                track[0].packet(frame.payload, now)
        self._frames.clear()
        self._early = 0
        for event in self._events:
            if isinstance(event, Failed) and event.method not in ("GET_PARAMETER", "OPTIONS"):
                raise Closed(f"the server refused {event.method}: {event.status} {event.reason}")
        self._events.clear()

    async def _datagrams(self, index: int, pair: UdpPair, ingest: Ingest) -> None:
        track = ingest.tracks[index]
        host, rtp, rtcp = pair.server or ("", 0, 0)

        def media(data: bytes, now: int) -> Publisher:
            track.packet(data, now)
            return ingest.publisher

        def control(data: bytes, now: int) -> None:
            ingest.rtcp(track, data, now)

        pair.rtp.add(host, rtp, media)
        pair.rtcp.add(host, rtcp, control)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(pair.rtp.run, self.server.poller)
            tasks.start_soon(pair.rtcp.run, self.server.poller)

    async def _reports(self, pair: UdpPair) -> None:
        """Hear what the peer reports of what is pushed to it: that it lives."""

        def heard(data: bytes, now: int) -> None:
            self._heard = True

        host, _, rtcp = pair.server or ("", 0, 0)
        pair.rtcp.add(host, rtcp, heard)
        await pair.rtcp.run(self.server.poller)

    async def _look_after(self, ingest: Ingest, channels: dict[int, tuple[int, int]]) -> None:
        reported = time.monotonic()
        while True:
            await anyio.sleep(TICK_SECONDS if self.udp or not ingest.aligned else 1.0)
            now = time.monotonic()
            ingest.handle_timeout(time.monotonic_ns())
            await ingest.publisher.flush()
            if ingest.ended:
                # gst-rtsp-server keeps the connection when its file has ended.
                raise Closed("the source said goodbye")
            if now - reported < REPORT_SECONDS:
                continue
            reported = now
            for index, track in enumerate(ingest.tracks):
                data = ingest.receiver_report(track, time.monotonic_ns())
                if data is None:
                    continue
                self._report(index, channels, data)

    def _report(self, index: int, channels: dict[int, tuple[int, int]], data: bytes) -> None:
        """Send RTCP about a track to the server."""
        if index in channels:
            self.connection.sink.control(interleaved_header(channels[index][1], len(data)) + data)
        elif (pair := self.tracks.get(index)) is not None and pair.server is not None:
            try:
                pair.rtcp.sock.sendto(data, (pair.server[0], pair.server[2]))
            except OSError:
                pass

    async def _keep_alive(self, *, may_be_silent: bool) -> None:
        """Ask again and again, which a peer answers. Raises `Closed` for one that does not, unless it `may_be_silent`."""
        self._heard = True
        while True:
            await anyio.sleep(self.rtsp.keep_alive_interval / 1e9)
            if not (self._heard or may_be_silent):
                raise Closed("the server shows no sign of life")
            self._heard = False
            self.rtsp.keep_alive()
            self._send()

    # -- push -------------------------------------------------------------------

    async def push(self, stream: Stream, backlog: float | None) -> None:
        local = str(self.connection.sock.getsockname()[0])
        tracks = stream.tracks
        description, left_out = describe(self.server.registry, tracks, local, SystemRandom().getrandbits(31))
        if left_out:
            self.server.log_peer(self.session, "tracks left out", level="warning", tracks=left_out)
        if not description.media:
            raise Closed("the stream has no track that RTSP carries")
        found, _ = formats(self.server.registry, tracks)
        track_ids = [track.id for track in tracks if track.id in found]
        self.rtsp.options()
        await self._answer()
        self.rtsp.announce(description)
        if not isinstance(await self._answer(), Answered):
            raise Closed("the server answered ANNOUNCE with something else")
        controls = {i: m.control for i, m in zip(track_ids, description.media, strict=True)}
        channels = await self._setup(controls, Mode.RECORD)
        self.rtsp.record()
        if not isinstance(await self._answer(), Started):
            raise Closed("the server answered RECORD with something else")
        interleaved = {i: pair[0] for i, pair in channels.items()} or None
        muxer = RtpMuxer(
            self.server.registry, stream.tracks, stream.clock, SystemRandom(), interleaved, chosen=controls
        )
        sink: Any = self.connection.sink
        if self.tracks:
            sink = DatagramSink(self._destinations(), self.server.spawn)

        def preamble(cursor: Cursor) -> bytes:
            return self.rtsp.data_to_send()

        reader = stream.feed(muxer, backlog).attach(sink, self.session, preamble=preamble)
        try:
            await self._run(channels, None)
        finally:
            reader.detach()

    def _destinations(self) -> dict[tuple[int, int], tuple[socket.socket, tuple[Any, ...]]]:
        found: dict[tuple[int, int], tuple[socket.socket, tuple[Any, ...]]] = {}
        for track_id, pair in self.tracks.items():
            if pair.server is not None:
                host, rtp, rtcp = pair.server
                found[track_id, 0] = pair.rtp.sock, (host, rtp)
                found[track_id, 1] = pair.rtcp.sock, (host, rtcp)
        return found

    async def close(self) -> None:
        """Leave in order: what the server has not had yet is still sent."""
        try:
            self.rtsp.teardown()
            self._send()
        except PenstockError:
            pass
        for pair in self.tracks.values():
            pair.close()
        with anyio.CancelScope(shield=True):
            await self.connection.linger()
        self.connection.close()
