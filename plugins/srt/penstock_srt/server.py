"""The SRT listener: one UDP socket for all callers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import partial
from random import SystemRandom

import anyio

from penstock.errors import Closed, PenstockError
from penstock.hooks import Endpoint
from penstock.net import format_address, open_udp
from penstock.server import DRAIN_SHARE, SWITCH_OFF_SECONDS, Server
from penstock.session import Session
from penstock.settings import parse_listen
from penstock_srt.bond import Joined
from penstock_srt.config import SrtConfig
from penstock_srt.handshake import meaning
from penstock_srt.listener import Accepted, Event, Listener, PutOff, Refused, Request, Requested
from penstock_srt.rejection import Rejection
from penstock_srt.session import SrtSession
from penstock_srt.settings import Settings
from penstock_srt.udp import Link, Port

WAIT_SECONDS = 0.01
PUT_OFF = "too many callers with keys at once; it may ask again"

Outcome = Accepted | Joined | PutOff | int


class SrtService:
    """What listens on ``srt.listen``; sessions run in the server's tasks, so that they have time for a goodbye."""

    name = "srt"

    def __init__(self, server: Server, config: SrtConfig) -> None:
        self.server = server
        self.config = config
        self._listener = Listener(settings(config), SystemRandom())
        self._sessions: set[Session] = set()
        self._dismissing = False
        self._deciding = False
        self._outcome: Outcome | None = None
        self._port: Port[Event]

    async def run(self, started: Callable[[Iterable[Endpoint]], None]) -> None:
        if not self.config.listen:
            started([])
            await anyio.sleep_forever()
        host, number = parse_listen(self.config.listen)
        sock = open_udp(host, number, what="SRT", key="srt.listen")
        self._port = Port(
            sock, self._listener, self._told, forget=self._listener.release, failed=self._failed
        )
        number = self._port.number
        # Of all spellings the one that needs no quoting inside of URLs, by FFmpeg nor by OBS.
        url = f"srt://{{host}}:{number}?streamid="
        ways = (f"{url}publish:/live/stream",), (f"{url}read:/live/stream",)
        started([Endpoint("srt", host or "", number, "udp", publish=ways[0], play=ways[1])])
        try:
            await self._port.run(self.server.poller)
        finally:
            with anyio.CancelScope(shield=True):
                await self._dismiss()
            # After the task that reads it: libuv aborts the process where a descriptor that it watches is closed.
            sock.close()

    async def _dismiss(self) -> None:
        """Say goodbye to every session, and hear meanwhile what they have of what was sent last."""
        self._dismissing = True
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._port.run, self.server.poller)
            await self._part()
            tasks.cancel_scope.cancel()

    async def _part(self) -> None:
        stopping = self.server.stopping
        limit = self.server.config.server.drain_timeout * DRAIN_SHARE if stopping else SWITCH_OFF_SECONDS
        for session in tuple(self._sessions):
            session.kick("the server is stopping" if stopping else "srt is switched off")
        with anyio.move_on_after(limit):
            while self._sessions:
                await anyio.sleep(WAIT_SECONDS)

    def _told(self, event: Event) -> None:
        match event:
            case Requested(request):
                self._requested(request)
            case Accepted() | Joined():
                self._outcome = event
            case Refused(_, _, reason) if self._deciding:
                # Its session tells of it.
                self._outcome = reason
            case PutOff() if self._deciding:
                self._outcome = event
            case PutOff(address):
                self.server.plugins.limited_log(
                    "connection put off",
                    apart="put off",
                    peer=format_address(address),
                    protocol="srt",
                    reason=PUT_OFF,
                )
            case Refused(address, _, reason):
                self.server.plugins.limited_log(
                    "connection refused", peer=format_address(address), protocol="srt", reason=meaning(reason)
                )

    def _failed(self, error: Exception) -> None:
        self.server.plugins.limited_log("a handshake failed", level="error", protocol="srt", exc_info=error)

    def _requested(self, request: Request) -> None:
        # Told of after the answer to another one, it is not to be answered before that is done.
        if request.bond is not None:
            self.server.spawn(partial(self._join, request))
        elif (release := self._admit(request)) is not None:
            self.server.spawn(partial(self._serve, request, release))

    def _admit(self, request: Request) -> Callable[[], None] | None:
        release = None if self._dismissing else self.server.admit(request.address, "srt")
        if release is None:
            down = self._dismissing or self.server.stopping
            self.refuse(request, Rejection.DOWN if down else Rejection.OVERLOAD)
        return release

    async def _serve(self, request: Request, release: Callable[[], None]) -> None:
        session = self.server.sessions.add("srt", format_address(request.address))
        self._sessions.add(session)
        try:
            await self.server.run_session(session, SrtSession(self, request, session).run)
        finally:
            self._sessions.discard(session)
            release()

    async def _join(self, request: Request) -> None:
        """Let in one more link of a group, whose place it has until it is over."""
        if (release := self._admit(request)) is None:
            return
        # Its session is that of the first link: this one is for who is asked whether it may come from there.
        session = Session("", "srt", format_address(request.address))
        try:
            await (await SrtSession(self, request, session).join()).wait()
        except PenstockError as error:
            self.server.log_peer(session, "link refused", reason=str(error))
        finally:
            release()

    def accept(self, request: Request, session: Session, passphrase: str) -> Link:
        outcome = self._answered(lambda now: request.accept(now, passphrase))
        match outcome:
            case Accepted(connection, bond):
                return self._port.add(connection, session, bond)
            case Joined(connection, bond):
                return self._port.join(connection, bond)
            case PutOff():
                raise Closed(PUT_OFF)
            case _:
                pass
        raise Closed("the caller gave up" if outcome is None else f"refused: {meaning(outcome)}")

    def refuse(self, request: Request, code: Rejection) -> None:
        self._answered(lambda _: request.reject(code))

    def _answered(self, answer: Callable[[int], None]) -> Outcome | None:
        """What comes of an answer to a request: a connection, the reason why there is none, None where nobody waits."""
        now = time.monotonic_ns()
        self._outcome, self._deciding = None, True
        try:
            answer(now)
            self._port.negotiate(now)
        finally:
            self._deciding = False
        return self._outcome

    def release(self, link: Link) -> None:
        self._listener.release(link.connection)


def settings(config: SrtConfig) -> Settings:
    """What we want of each connection, in the protocol's own terms."""
    return Settings(latency=config.latency, peer_latency=config.latency, key_length=config.pbkeylen)
