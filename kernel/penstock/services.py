"""The services of plugins: started, watched, restarted with back-off, switched on and off one by one."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import anyio
from attrs import define, field

from penstock.errors import UserError, leading
from penstock.find import why
from penstock.hooks import Endpoint, Scheme, Service

if TYPE_CHECKING:
    from penstock.server import Server

BACKOFF_SECONDS = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Pauses before a service that died is started again."""

STEADY_SECONDS = 60.0
"""A service that ran for so long starts the back-off anew."""

START_SECONDS = 10.0
"""How long the start waits for services to call `started`; who is later is shown as failed until then."""

STOP_SECONDS = 5.0
"""How long a plugin that is switched off is waited for: its sessions have 3 s for their goodbye."""


@define(eq=False)
class _Running:
    service: Service
    scope: anyio.CancelScope = field(factory=anyio.CancelScope)
    decided: anyio.Event = field(factory=anyio.Event)
    ended: anyio.Event = field(factory=anyio.Event)
    endpoints: list[Endpoint] = field(factory=list[Endpoint])
    failure: str = ""
    """Why it does not run at the moment."""


class Services:
    """What runs, by plugin."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._running: dict[str, list[_Running]] = {}
        self._schemes: dict[str, dict[str, Scheme]] = {}
        self._lock = anyio.Lock()

    @property
    def endpoints(self) -> list[Endpoint]:
        return [e for services in self._running.values() for r in services for e in r.endpoints]

    @property
    def failures(self) -> dict[str, list[tuple[str, str]]]:
        """The services that do not run, by plugin: the name of each, and why."""
        return {
            name: [(entry.service.name, entry.failure) for entry in entries if entry.failure]
            for name, entries in self._running.items()
        }

    def scheme(self, name: str) -> Scheme | None:
        """The plugin's code for a URL scheme such as ``rtmp``."""
        return next((s[name] for s in self._schemes.values() if name in s), None)

    @property
    def schemes(self) -> list[str]:
        return sorted(name for s in self._schemes.values() for name in s)

    @property
    def unfinished(self) -> Iterator[tuple[str, str]]:
        """Plugin and name of each service that was told to stop and has not."""
        for name, services in self._running.items():
            for entry in services:
                if entry.scope.cancel_called and not entry.ended.is_set():
                    yield name, entry.service.name

    async def start_all(self) -> None:
        """Start every enabled plugin's services, all at once.

        A failure is reported, and raised only where the plugin is required.
        """
        server = self._server
        self.check_required()
        launched: list[str] = []
        for name in server.plugins.usable(server.config):
            try:
                self._launch(name)
                launched.append(name)
            except UserError as e:
                self._failed(name, e)
        with anyio.move_on_after(START_SECONDS):
            for name in launched:
                await self._decided(name)
        for name in launched:
            try:
                self._settle(name)
            except UserError as e:
                self._failed(name, e)

    def check_required(self) -> None:
        """Raises `UserError` where a plugin without which the server must not start cannot be used."""
        for record in self._server.plugins.required_failures(self._server.config):
            role = "is required" if record.required else "says who may do what"
            raise UserError(f"plugin {record.name} {role} and cannot be used: {record.reason}")

    def _failed(self, name: str, error: UserError) -> None:
        if self._server.config.plugin(name).required:
            raise UserError(f"plugin {name} is required and did not start: {error}") from error
        self._server.plugins.fail(name, str(error))

    async def enable(self, name: str) -> None:
        async with self._lock:
            record = self._server.plugins.get(name)
            if name in self._running:
                if record is None or record.status == "loaded":
                    return
                # It could not start, or not whole: once more from the beginning.
                await self._stop(name)
            self._server.plugins.enable(name)
            try:
                self._launch(name)
                with anyio.move_on_after(START_SECONDS):
                    await self._decided(name)
                self._settle(name)
            except UserError as e:
                await self._stop(name)
                self._server.plugins.disable(name)
                self._server.plugins.fail(name, str(e))
                raise

    async def disable(self, name: str) -> None:
        if self._server.config.plugin(name).required:
            raise UserError(f"the plugin {name} is required: set {name}.required = false to do without it")
        async with self._lock:
            schemes = self._schemes.get(name, {})
            await self._stop(name)
            for session in self._server.sessions:
                if session.protocol in schemes:
                    session.kick(f"{session.protocol} is switched off")
            self._server.plugins.disable(name)

    async def _stop(self, name: str) -> None:
        self._schemes.pop(name, None)
        running = self._running.get(name, [])
        with anyio.move_on_after(STOP_SECONDS):
            await _end(running)
        self.report_unfinished()
        self._running.pop(name, None)

    async def stop_all(self) -> None:
        """Close every listener; connections that are open stay until they are told."""
        await _end([entry for services in self._running.values() for entry in services])
        self._running.clear()

    def report_unfinished(self) -> None:
        """Name those that do not stop: nobody can end a task that shields itself but its author."""
        for name, service in self.unfinished:
            self._server.log.error("a service does not stop", plugin=name, service=service)

    def ask(self) -> None:
        """Ask every plugin for its URL schemes and services, and start nothing; who fails to answer is marked so."""
        for name in self._server.plugins.usable(self._server.config):
            try:
                self._schemes[name] = self._asked(name, "schemes", _checked_schemes) or {}
                self._asked(name, "services", _checked_services)
            except UserError as e:
                self._server.plugins.fail(name, str(e))

    def _asked(self, name: str, hook: str, check: Callable[[Any], Any]) -> Any:
        server = self._server
        config = server.config.plugin(name).config
        return server.plugins.call(name, hook, check, server=server, config=config)

    def _launch(self, name: str) -> None:
        """Start a plugin's services; `_decided` and `_settle` tell what became of them."""
        # Both are asked before anything runs, so that a plugin is started whole or not at all.
        schemes = self._asked(name, "schemes", _checked_schemes)
        services = self._asked(name, "services", _checked_services)
        self._schemes[name] = schemes or {}
        self._running[name] = [_Running(service) for service in services or ()]
        for entry in self._running[name]:
            self._server.spawn(partial(self._keep, name, entry))

    async def _decided(self, name: str) -> None:
        for entry in self._running[name]:
            await entry.decided.wait()

    def _settle(self, name: str) -> None:
        """Raises `UserError` where some service of a plugin that was launched does not run by now."""
        for entry in self._running[name]:
            if not entry.decided.is_set():
                entry.failure = f"its service {entry.service.name} did not start within {START_SECONDS:g} s"
        failure = self._failure(name)
        if failure:
            raise UserError(failure)

    def _failure(self, name: str) -> str:
        return next((r.failure for r in self._running.get(name, ()) if r.failure), "")

    async def _keep(self, name: str, entry: _Running) -> None:
        """Run one service until it is cancelled, starting it again when it dies."""
        try:
            with entry.scope:
                attempt = 0
                while True:
                    began = time.monotonic()
                    if await self._run(name, entry):
                        return
                    attempt = 0 if time.monotonic() - began > STEADY_SECONDS else attempt
                    await anyio.sleep(BACKOFF_SECONDS[min(attempt, len(BACKOFF_SECONDS) - 1)])
                    attempt += 1
        finally:
            entry.endpoints.clear()
            entry.decided.set()
            entry.ended.set()

    async def _run(self, name: str, entry: _Running) -> bool:
        """One life of a service; true where starting it again is of no use."""
        plugins = self._server.plugins

        runs = False

        def started(endpoints: Iterable[Endpoint]) -> None:
            nonlocal runs
            listening = list(endpoints)
            for e in listening:
                if not isinstance(e, Endpoint):  # pyright: ignore[reportUnnecessaryIsInstance]
                    raise TypeError(f"started takes Endpoints, not {type(e).__name__}")
            entry.endpoints[:] = listening
            runs = True
            entry.failure = ""
            entry.decided.set()
            if not self._failure(name):
                plugins.recovered(name)
            for e in listening:
                self._server.log.info(
                    "listening",
                    plugin=name,
                    what=e.what,
                    address=e.address,
                    port=e.port,
                    transport=e.transport,
                )

        error: BaseException | None = None
        try:
            await entry.service.run(started)
        except KeyboardInterrupt:
            raise  # the operator's, wherever it strikes
        except BaseException as e:
            # A plugin's bug ends that service and nothing else. So does SystemExit, which would end the process, and
            # a cancellation that nobody asked for.
            cancelled = entry.scope.cancel_called or anyio.current_effective_deadline() == -math.inf
            if cancelled and isinstance(e, anyio.get_cancelled_exc_class()):
                raise
            error = (
                leading(cast("BaseExceptionGroup[BaseException]", e))
                if isinstance(e, BaseExceptionGroup)
                else e
            )
        entry.endpoints.clear()
        if isinstance(error, UserError):
            entry.failure = str(error)
            if not entry.decided.is_set():
                return True  # `_settle` reports it; the operator has to act
            plugins.fail(name, entry.failure)
        elif error is not None:
            entry.failure = f"its service {entry.service.name} failed: {why(error)}"
            # The system refused what the operator asked for: where in the code is of no use to him.
            trace = runs or not isinstance(error, OSError)
            plugins.fail(name, entry.failure, error=error, trace=trace)
        else:
            entry.failure = f"its service {entry.service.name} ended by itself"
            plugins.fail(name, entry.failure)
        entry.decided.set()
        return False


async def _end(running: Iterable[_Running]) -> None:
    entries = tuple(running)
    for entry in entries:
        entry.scope.cancel()
    for entry in entries:
        await entry.ended.wait()


def _checked_schemes(answer: Any) -> dict[str, Scheme]:
    if not isinstance(answer, Mapping):
        raise TypeError(f"a mapping of URL schemes is wanted, not {type(answer).__name__}")
    schemes: Mapping[Any, Any] = answer  # pyright: ignore[reportUnknownVariableType]
    for name, scheme in schemes.items():
        if not isinstance(name, str) or not callable(scheme.pull) or not callable(scheme.push):
            raise TypeError("a scheme has a name, and the methods pull and push")
    return dict(schemes)


def _checked_services(answer: Any) -> list[Service]:
    services = list(answer)
    for service in services:
        if not isinstance(service.name, str) or not callable(service.run):
            raise TypeError("a service has a name, and the method run")
    return services
