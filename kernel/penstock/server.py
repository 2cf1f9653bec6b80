"""The server: who may send, what are they sending, who gets it."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
import structlog
from anyio.abc import TaskGroup

from penstock import net
from penstock.asgi import AsgiApp
from penstock.config import Config
from penstock.errors import Closed, PenstockError, ProtocolViolation, UserError
from penstock.hooks import Endpoint
from penstock.places import Places
from penstock.plugins import PluginSet
from penstock.poller import Poller
from penstock.publisher import Publisher
from penstock.relay import Relay
from penstock.services import Services
from penstock.session import Session, Sessions, kick_in_turns
from penstock.sink import broken
from penstock.streams import Streams
from penstock.watchdog import Watchdog

Handler = Callable[[net.Connection, Session], Awaitable[None]]
"""What a protocol does with one connection; it may raise `ProtocolViolation`, `Closed` or `StreamError`."""

PUBLISHER_CHECK_SECONDS = 1.0
DRAIN_SHARE = 0.9
"""Part of ``server.drain_timeout`` that sessions have for their goodbye: the command line exits hard at its end."""
MAX_DRAIN_LINES = 50
"""Log lines about sessions that end because the server stops: half of what a stop may write in all."""
SWITCH_OFF_SECONDS = 3.0
"""What the sessions of a listener that is switched off have for their goodbye."""
LATE_SECONDS = 0.1
"""How often feeds are looked at in which something waits that no frame came to flush."""


class Server:
    """A media server inside any anyio program: ``async with Server(config) as server``.

    `config` is a `Config`, or a mapping as a config file would have it. With no plugins named, every installed one
    is used.
    """

    def __init__(
        self, config: Config | Mapping[str, Any] | None = None, *, plugins: PluginSet | None = None
    ) -> None:
        self.plugins = plugins if plugins is not None else PluginSet.discover()
        if self.plugins.server is not None:
            raise UserError("a PluginSet is for one server: discover another for each")
        self.config = (
            config if isinstance(config, Config) else Config.from_mapping(config or {}, self.plugins.configs)
        )
        self.plugins.server = self
        self.registry = self.plugins.registry
        self.log = structlog.get_logger("penstock")
        self.sessions = Sessions()
        self.streams = Streams(self)
        self.services = Services(self)
        self.relay = Relay(self)
        self.poller = Poller()
        self.asgi = AsgiApp(self)
        """The routes of all plugins as an ASGI application, to be mounted in somebody else's project."""
        self._tasks: TaskGroup | None = None
        self._exit: Any = None
        self._stop = anyio.Event()
        self._places = Places()
        self._tls: ssl.SSLContext | None = None
        self._late: set[Any] = set()
        self._late_wake = anyio.Event()
        self._draining = False
        self._drained = 0

    # -- life -------------------------------------------------------------

    async def __aenter__(self) -> Server:
        if self._exit is not None:
            raise UserError("a Server is started once: make another")
        self._exit = self._run()
        await self._exit.__aenter__()
        return self

    async def __aexit__(self, *exc: Any) -> bool | None:
        result: bool | None = await self._exit.__aexit__(*exc)
        return result

    @asynccontextmanager
    async def _run(self) -> AsyncGenerator[None]:
        error: Exception | None = None
        with Watchdog(self.plugins) as watchdog, self.poller:
            async with anyio.create_task_group() as tasks:
                self._tasks = tasks
                self.spawn(watchdog.beat)
                self.spawn(partial(self._again_and_again, self._flush_late))
                self.spawn(partial(self._again_and_again, self._watch_publishers))
                try:
                    self._check_tls()
                    await self.services.start_all()
                    self._check_relay()
                    self.relay.start()
                    yield
                except Exception as e:  # noqa: BLE001 - raised again, as itself and not in the task group's wrapping
                    error = e
                finally:
                    with anyio.CancelScope(shield=True):
                        await self._drain()
                    self._tasks = None
                    tasks.cancel_scope.cancel()
        if error is not None:
            raise error

    async def _drain(self) -> None:
        """Stop listening, say goodbye to every session, and wait for them a bounded time."""
        self._draining = True
        self.relay.stop()
        with anyio.move_on_after(DRAIN_SHARE * self.config.server.drain_timeout):
            await kick_in_turns(self.sessions, "the server is stopping")
            await self.services.stop_all()
            while len(self.sessions):
                await anyio.sleep(0.01)
                # Also those that began since, by what their peers had asked before.
                await kick_in_turns((s for s in self.sessions if not s.reason), "the server is stopping")
        self.services.report_unfinished()
        if self._drained > MAX_DRAIN_LINES:
            self.log.info("sessions closed", sessions=self._drained, reason="the server is stopping")
        self.plugins.limited.flush()

    def check(self) -> None:
        """Look at what the config names, and start nothing. Raises `UserError` for what the start would refuse."""
        self._check_tls()
        self.services.ask()
        self.services.check_required()
        self.relay.check()

    def _check_tls(self) -> None:
        if self.has_tls:
            # Said once, before anything listens: who names a certificate does not mean to do without.
            self.tls_context()

    def _check_relay(self) -> None:
        try:
            self.relay.check()
        except UserError as e:
            # A plugin that failed, or may be enabled later, may know them: its fault stays its own.
            if all(record.status == "loaded" for record in self.plugins):
                raise
            for line in str(e).splitlines():
                self.log.warning(line)

    def stop(self) -> None:
        """Let `run_until_stopped` return."""
        self._stop.set()

    async def run_until_stopped(self) -> None:
        await self._stop.wait()

    @property
    def running(self) -> bool:
        """Whether it has been started, and not stopped since."""
        return self._tasks is not None

    @property
    def stopping(self) -> bool:
        """Whether it takes leave of its peers, and nobody new is let in."""
        return self._draining

    @property
    def endpoints(self) -> list[Endpoint]:
        """What listens where, with the ports that were given by the system where port 0 was asked for."""
        return self.services.endpoints

    async def enable(self, name: str) -> None:
        """Switch a plugin on while the server runs. Raises `UserError` where it is not there or cannot start."""
        await self.services.enable(name)

    async def disable(self, name: str) -> None:
        """Switch a plugin off: its listeners close and its sessions end; the others do not notice."""
        await self.services.disable(name)

    # -- what protocols use -------------------------------------------------

    def spawn(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Start a task that ends with the server at the latest; its error is logged and goes no further."""
        if self._tasks is not None:
            self._tasks.start_soon(self._guarded, work)

    async def _guarded(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await work()
        except (KeyboardInterrupt, anyio.get_cancelled_exc_class()):
            raise
        except BaseException:
            # SystemExit as well, which would end the process under asyncio.
            self.log.exception("a task failed")

    async def _again_and_again(self, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await work()
            except Exception:
                self.log.exception("a task failed")
                await anyio.sleep(1)

    @property
    def has_tls(self) -> bool:
        return bool(self.config.server.certificate or self.config.server.key)

    def tls_context(self) -> ssl.SSLContext:
        """The TLS context of all listeners of media. Raises `UserError` where certificate or key will not do."""
        if self._tls is None:
            self._tls = net.load_tls(self.config.server.certificate, self.config.server.key, tickets=False)
        return self._tls

    async def serve_tcp(
        self,
        listeners: Sequence[socket.socket],
        protocol: str,
        handle: Handler,
        *,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Accept connections until cancelled; each runs `handle` in a session of its own, and is told of the end."""
        # Sessions run in the server's tasks and not in this one's: its cancellation must leave them time for a goodbye.
        scopes: dict[anyio.CancelScope, Session | None] = {}

        def accepted(sock: socket.socket, peer: Any) -> None:
            self._accepted(scopes, sock, peer, protocol, handle, tls)

        try:
            async with anyio.create_task_group() as tasks:
                for listener in listeners:
                    tasks.start_soon(net.accept, listener, accepted)
        finally:
            for listener in listeners:
                listener.close()
            with anyio.CancelScope(shield=True):
                await self._dismiss(scopes, f"{protocol} is switched off")

    async def _dismiss(self, scopes: dict[anyio.CancelScope, Session | None], reason: str) -> None:
        limit = self.config.server.drain_timeout * DRAIN_SHARE if self._draining else SWITCH_OFF_SECONDS
        for number, (scope, session) in enumerate(tuple(scopes.items())):
            if session is not None:
                session.kick("the server is stopping" if self._draining else reason)
            else:
                scope.cancel()
            if number % 256 == 255:
                await anyio.lowlevel.checkpoint()
        with anyio.move_on_after(limit):
            while scopes:
                await anyio.sleep(0.01)
        for scope in tuple(scopes):
            scope.cancel()

    def _accepted(
        self,
        scopes: dict[anyio.CancelScope, Session | None],
        sock: socket.socket,
        peer: Any,
        protocol: str,
        handle: Handler,
        tls: ssl.SSLContext | None,
    ) -> None:
        release = self.admit(peer, protocol)
        if release is None:
            sock.close()
            return
        scope = anyio.CancelScope()
        scopes[scope] = None
        self.spawn(partial(self._serve, scopes, scope, sock, peer, release, protocol, handle, tls))

    def admit(self, peer: Any, protocol: str) -> Callable[[], None] | None:
        """A place among all connections for `peer`, a socket's address: what is called, once, gives it back.

        None, with a line in the log, where the server stops or has as many as ``server.max_connections`` and
        ``server.max_connections_per_address`` allow. For protocols whose connections `serve_tcp` does not accept.
        """
        host = str(peer[0]) if peer else ""
        refusal = (
            "the server is stopping" if self._draining else self._places.refusal(host, self.config.server)
        )
        if refusal:
            self.plugins.limited_log(
                "connection refused", peer=net.format_address(peer), protocol=protocol, reason=refusal
            )
            return None
        return self._places.take(host)

    async def _serve(
        self,
        scopes: dict[anyio.CancelScope, Session | None],
        scope: anyio.CancelScope,
        sock: socket.socket,
        peer: Any,
        release: Callable[[], None],
        protocol: str,
        handle: Handler,
        tls: ssl.SSLContext | None,
    ) -> None:
        try:
            with scope:
                await self._connected(scopes, scope, sock, peer, protocol, handle, tls)
        finally:
            # Closing twice does no harm; a task that was cancelled before its first step has closed nothing.
            sock.close()
            del scopes[scope]
            release()

    async def _connected(
        self,
        scopes: dict[anyio.CancelScope, Session | None],
        scope: anyio.CancelScope,
        sock: socket.socket,
        peer: Any,
        protocol: str,
        handle: Handler,
        tls: ssl.SSLContext | None,
    ) -> None:
        if tls is not None:
            try:
                with anyio.fail_after(self.config.server.handshake_timeout):
                    sock = await net.start_tls(sock, tls)
            except (Closed, TimeoutError) as e:
                self.plugins.limited_log(
                    "connection closed",
                    peer=net.format_address(peer),
                    protocol=protocol,
                    reason=str(e) or "TLS handshake timed out",
                )
                sock.close()
                return
        connection = net.Connection(sock, peer, self.spawn, self.config.server.stall_timeout, self.poller)
        session = scopes[scope] = self.sessions.add(protocol, connection.address)
        try:
            ours = await self.run_session(session, partial(handle, connection, session))
            if ours and not self._draining:
                await connection.linger()
        finally:
            session.bytes_in = connection.bytes_in
            connection.close(session.reason)

    async def run_session(self, session: Session, work: Callable[[], Awaitable[None]]) -> bool:
        """Run one session's work: its errors end it and nothing else, and are logged once, by who was wrong.

        Returns whether we ended it, so that the peer may still be sending.
        """
        self.plugins.notify("session_opened", session=session)
        error: BaseException | None = None
        try:
            with session.scope():
                await work()
        except BaseException as e:
            error = e
            if isinstance(e, KeyboardInterrupt | anyio.get_cancelled_exc_class()):
                raise
        finally:
            # Here also where the task was cancelled from outside: whoever was told of a session is told of its end.
            ours = self.close_session(session, error)
            # Its traceback has this frame: all that the session had would wait for the collector, ten thousand at once.
            error = None
        return ours

    def open_session(self, protocol: str, address: str) -> Session:
        """A session that is listed from now on, for a protocol whose work is not `run_session`'s; `close_session` ends it."""
        session = self.sessions.add(protocol, address)
        self.plugins.notify("session_opened", session=session)
        return session

    def close_session(self, session: Session, error: BaseException | None = None) -> bool:
        """The end of what `open_session` began; `error` is what its work raised, and is logged by who was wrong.

        Returns whether we ended it.
        """
        event, level, reason, ours = "session closed", "info", "", True
        match error:
            case None:
                ours = bool(session.reason)
                reason = session.reason or "the peer left"
            case ProtocolViolation():
                reason, event, level = str(error), "protocol violation", "warning"
                session.info["offset"] = error.offset
            case PenstockError():
                reason = session.reason or str(error)
            case OSError():
                reason = broken(error)
            case _ if isinstance(error, KeyboardInterrupt | anyio.get_cancelled_exc_class()):
                pass
            case _:
                # SystemExit as well: a plugin's bug ends its session and nothing else.
                reason, event, level = "internal error", "session failed", "error"
                self.log.error(
                    "session failed",
                    protocol=session.protocol,
                    peer=session.address,
                    session=session.id,
                    exc_info=error,
                )
        if session.relay and isinstance(error, PenstockError | OSError) and not session.reason:
            # Nobody else sees that it failed: a peer of ours has a user who does.
            event, level = f"{session.relay} failed", "warning"
        self.sessions.remove(session)
        session.reason = reason = reason or session.reason or "the server is stopping"
        self.plugins.notify("session_closed", session=session, reason=reason)
        self._drained += self._draining
        if event != "session failed" and self._drained <= MAX_DRAIN_LINES:
            self.log_peer(
                session,
                event,
                level=level,
                direction=session.direction,
                reason=reason,
                offset=session.info.get("offset"),
                **session.counters,
            )
        return ours

    def log_peer(self, session: Session, event: str, *, level: str = "info", **values: Any) -> None:
        """A line about what a session's peer did: as a peer decides how often that is, only so many a second."""
        self.plugins.limited_log(
            event,
            level=level,
            protocol=session.protocol,
            peer=session.address,
            session=session.id,
            path=session.path,
            **values,
        )

    def log_joined(self, session: Session, path: object) -> None:
        """A line, once, for a session that begins to read; those have places of their own among the address's lines."""
        if not session.joined:
            session.joined = True
            self.plugins.limited_log(
                "reader joined",
                apart="readers",
                protocol=session.protocol,
                peer=session.address,
                session=session.id,
                path=path,
                user=session.user or None,
            )

    # -- notices ------------------------------------------------------------

    def late(self, feed: Any) -> None:
        """`feed` has something pending: flush it when it is due, in case that no frame comes to do it."""
        self._late.add(feed)
        if not self._late_wake.is_set():
            self._late_wake.set()

    async def _flush_late(self) -> None:
        # Whoever writes frames flushes what is due; this is for publishers that pause with something pending, and
        # so it need not be exact, which would cost a wake-up for each picture.
        if not self._late:
            self._late_wake = anyio.Event()
            await self._late_wake.wait()
        await anyio.sleep(LATE_SECONDS)
        now = time.monotonic_ns()
        for feed in tuple(self._late):
            due = feed.due_at
            if due is not None and due <= now:
                await feed.flush(now)
                due = feed.due_at
            if due is None:
                self._late.discard(feed)

    async def _watch_publishers(self) -> None:
        """A publisher that fell silent, as a half-open connection does, is closed; so are streams that wait in vain."""
        limit = self.config.server.publisher_timeout
        check = min(PUBLISHER_CHECK_SECONDS, limit / 4)
        due = time.monotonic() + check
        await anyio.sleep(check)
        # As long as this process stood still (SIGSTOP, a machine that does too much) nobody could be heard.
        late = time.monotonic() - due
        self.plugins.limited.flush()
        await kick_in_turns(
            (s for s in self.sessions if s.begin_by is not None and time.monotonic() > s.begin_by),
            f"the peer asked for nothing within {self.config.server.handshake_timeout:g} s",
        )
        self.streams.drop_idle(time.monotonic())
        now = time.monotonic_ns()
        for stream in self.streams:
            publisher = stream.publisher
            if publisher is not None:
                if now - publisher.last_arrival > (limit - check + late) * 1e9:
                    publisher.session.kick(f"the publisher sent nothing for {limit:g} s")
                    publisher.close("the publisher fell silent")
            else:
                stream.end_if_left(time.monotonic())


__all__ = ["Handler", "Publisher", "Server", "UserError"]
