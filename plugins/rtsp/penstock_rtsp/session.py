"""One client's connection to the server: what it sends is read, answered, and looked after until it leaves."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable

import anyio

from penstock.errors import Closed, ProtocolViolation
from penstock.net import Connection, slices
from penstock.session import Session
from penstock_formats.rtp.ingest import Ingest
from penstock_rtsp import goodbye
from penstock_rtsp.channels import Channels
from penstock_rtsp.connection import Asked, Refused, ServerConnection
from penstock_rtsp.date import date
from penstock_rtsp.message import InterleavedFrame
from penstock_rtsp.methods import Methods
from penstock_rtsp.player import Player
from penstock_rtsp.shared import Shared

NAME = "Penstock"
RECEIVE = 256 << 10
PLAYER_RECEIVE = 16 << 10
REPORT_SECONDS = 5.0
TICK_SECONDS = 0.05
"""How often a publisher is looked after whose frames wait: for missing packets over UDP, or for their track's place."""

Receive = Callable[[int], Awaitable[bytes]]


class RtspSession:
    """The I/O around a `ServerConnection`; what is asked is `Methods`' to do."""

    def __init__(
        self, shared: Shared, connection: Connection, session: Session, receive: Receive, *, tunnelled: bool
    ) -> None:
        self._shared = shared
        self._server = shared.server
        self._connection = connection
        self._session = session
        self._receive = receive
        self._rtsp = ServerConnection(NAME)
        self._failure: Exception | None = None
        self._over = anyio.Event()
        """Set where a publisher's session has failed or ended."""
        self._limit = shared.server.config.server.handshake_timeout
        self._begin_by = time.monotonic() + self._limit
        """Monotonic seconds by which the peer has to play or record."""
        udp = not (tunnelled or connection.secure)
        self._channels = Channels(
            str(connection.peer[0]), shared.ports if udp else None, shared.multicast if udp else None
        )
        self._methods = Methods(
            shared, connection, session, self._rtsp, self._channels, began=self._began, fail=self._fail
        )

    async def run(self) -> None:
        self._shared.sessions.add(self)
        try:
            # Players are many, and have this task only; a publisher is looked after by more.
            await self._loop()
            if self._ingest is not None:
                await self._record()
        finally:
            self._shared.sessions.discard(self)
            await self._take_leave()
            # They call each other: what a session had would wait for the collector, thousands at once.
            del self._methods
            self._failure = None

    def _began(self) -> None:
        self._begin_by = math.inf

    async def _record(self) -> None:
        # What is cancelled, or raised through the group, would keep itself until the collector comes.
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._look_after, tasks.cancel_scope)
            try:
                await self._loop()
            except Exception as error:  # noqa: BLE001 - raised again below
                self._fail(error)
            finally:
                self._over.set()
        if self._failure is not None:
            try:
                raise self._failure
            finally:
                self._failure = None

    async def _loop(self) -> None:
        """Serve the peer until it leaves or begins to record."""
        rtsp = self._rtsp
        began = self._ingest
        while True:
            # A player only reports now and then.
            player = self._methods.player
            self._connection.patient = player is not None and player.playing
            data = await self._receive(RECEIVE if began is not None else PLAYER_RECEIVE)
            if not data:
                self._session.reason = self._session.reason or self._methods.missing
                return
            self._channels.alive = time.monotonic()
            try:
                for part in slices(data):
                    # Anew for each: a busy server takes seconds for a read of smallest packets, whose sender is not silent.
                    now = time.monotonic_ns()
                    rtsp.receive_data(part)
                    while (event := rtsp.next_event()) is not None:
                        if isinstance(event, InterleavedFrame):
                            self._interleaved(event, now)
                        elif isinstance(event, Asked):
                            await self._methods.answer(event)
                        elif isinstance(event, Refused):
                            self._methods.refuse(event)
                    if part is not data:
                        await self._connection.turn()
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
        recorder = self._methods.recorder
        return recorder.ingest if recorder is not None else None

    @property
    def _must_show_life(self) -> bool:
        """Whether nothing else tells that the peer is gone: a stalled connection, or a publisher's silence."""
        if self._rtsp.session is None or self._ingest is not None:
            return False
        player = self._methods.player
        return player is None or not (player.playing and player.channels)

    def check_life(self, now: float) -> None:
        """End a peer that has asked for nothing, or shown no sign of life, for too long at `now` (monotonic seconds)."""
        if now > self._begin_by:
            self._session.kick(f"the peer neither played nor recorded within {self._limit:g} s")
            return
        limit = self._shared.config.session_timeout
        if self._must_show_life and now - self._channels.alive > limit:
            self._session.kick(f"no sign of life for {limit} s")

    def _fail(self, error: Exception) -> None:
        """End the session with what went wrong: at the shared ports, or in either of a publisher's tasks."""
        self._failure = self._failure or error
        self._over.set()

    async def _look_after(self, session: anyio.CancelScope) -> None:
        """Look after a publisher until its `session`, which ends with what fails, is over."""
        try:
            with anyio.CancelScope(shield=True):  # `_over` ends it, as soon
                await self._tick()
        except Exception as error:  # noqa: BLE001 - raised again by who started this
            self._fail(error)
        if self._failure is not None:
            session.cancel()

    async def _tick(self) -> None:
        """Reports to a publisher, and what its reorder buffers gave up waiting for."""
        reported = time.monotonic()
        while (ingest := self._ingest) is not None and not ingest.publisher.closed:
            with anyio.move_on_after(TICK_SECONDS if self._channels.datagrams or not ingest.aligned else 1.0):
                await self._over.wait()
                return
            ingest.handle_timeout(time.monotonic_ns())
            await ingest.publisher.flush()
            if time.monotonic() - reported >= REPORT_SECONDS:
                reported = time.monotonic()
                self._report(ingest)

    def _report(self, ingest: Ingest) -> None:
        now = time.monotonic_ns()
        recorder = self._methods.recorder
        for index, track in recorder.set_up.items() if recorder is not None else ():
            data = ingest.receiver_report(track, now) if track is not None else None
            if data is not None:
                self._channels.report(index, data, self._connection.sink)

    def _interleaved(self, frame: InterleavedFrame, now: int) -> None:
        """A packet inside the connection: media of a publisher, reports of either; anything else is dropped."""
        player, recorder = self._methods.player, self._methods.recorder
        if player is not None and player.playing:
            for track_id, (_, rtcp) in self._channels.interleaved.items():
                if frame.channel == rtcp:
                    player.feedback(track_id, frame.payload)
            return
        if recorder is None or recorder.ingest is None or recorder.ingest.publisher.closed:
            return
        for index, (rtp, rtcp) in self._channels.interleaved.items():
            if frame.channel == rtp:
                recorder.packet(index, frame.payload, now)
                return
            if frame.channel == rtcp:
                recorder.rtcp(index, frame.payload, now)
                return

    async def _take_leave(self) -> None:
        """Give back what the session had, and tell a player whose end is not its own that no more comes."""
        player, recorder = self._methods.player, self._methods.recorder
        if recorder is not None:
            recorder.close(self._session.reason or "the publisher left")
        if player is not None:
            tell = player.leave(
                lambda track_id, data: self._channels.report(track_id, data, self._connection.sink)
            )
            if tell is not None and self._session.reason:
                await self._part(player, tell)
            if player.multicast is not None:
                player.multicast.release(player.stream.path, self._session)
        self._channels.close()

    async def _part(self, player: Player, tell: Callable[[], None]) -> None:
        """Let go a player that may leave by itself at any time, and is told to when nothing can be overtaken by that."""
        seconds = 0.0 if player.channels else goodbye.rest(player.stream, time.monotonic())
        if seconds > 0 and await self._leaves_within(seconds):
            return
        tell()
        await self._leaves_within(goodbye.LAST_SECONDS if self._server.stopping else goodbye.FAREWELL_SECONDS)

    async def _leaves_within(self, seconds: float) -> bool:
        with anyio.move_on_after(seconds, shield=True):
            await self._let_leave()
            return True
        return False

    async def _let_leave(self) -> None:
        """Answer a player that leaves at the BYE: GStreamer pauses first, and calls a closed connection an error."""
        rtsp = self._rtsp
        self._connection.patient = False
        try:
            while data := await self._receive(PLAYER_RECEIVE):
                rtsp.receive_data(data)
                while (event := rtsp.next_event()) is not None:
                    if isinstance(event, Asked):
                        method = event.request.method
                        # RFC 2326 11.3.5: there is no session any more but to be left.
                        status = 200 if method in ("PAUSE", "TEARDOWN") else 454
                        self._connection.sink.control(rtsp.respond(event.request, status, date=date()))
                        if method == "TEARDOWN":
                            return
                    elif isinstance(event, Refused):
                        self._connection.sink.control(rtsp.refuse(event, date()))
        except (Closed, ProtocolViolation):
            pass  # gone, or nothing to be understood any more: closed in either case
