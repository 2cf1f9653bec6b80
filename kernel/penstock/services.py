"""The services of plugins: started, watched, restarted with back-off, switched on and off one by one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import anyio
from attrs import define, field

from penstock.errors import UserError
from penstock.hooks import Endpoint, Scheme, Service

if TYPE_CHECKING:
    from penstock.server import Server

BACKOFF_SECONDS = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Pauses before a service that died is started again."""

START_SECONDS = 30.0
"""What a service has to call `started`."""


@define(eq=False)
class _Running:
    service: Service
    scope: anyio.CancelScope = field(factory=anyio.CancelScope)
    decided: anyio.Event = field(factory=anyio.Event)
    ended: anyio.Event = field(factory=anyio.Event)
    endpoints: list[Endpoint] = field(factory=list[Endpoint])
    failure: str = ""


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

    def scheme(self, name: str) -> Scheme | None:
        """The plugin's code for a URL scheme such as ``rtmp``."""
        return next((s[name] for s in self._schemes.values() if name in s), None)

    @property
    def schemes(self) -> list[str]:
        return sorted(name for s in self._schemes.values() for name in s)

    async def start_all(self) -> None:
        """Start every enabled plugin's services; a failure is reported, and raised only where the plugin is required."""
        for record in self._server.plugins.required_failures(self._server.config):
            raise UserError(f"plugin {record.name} is required and cannot be used: {record.reason}")
        for name in self._server.plugins.usable(self._server.config):
            try:
                await self._start(name)
            except UserError as e:
                if self._server.config.plugin(name).required:
                    raise
                self._server.plugins.fail(name, str(e))

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
                await self._start(name)
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
        running = self._running.pop(name, [])
        for entry in running:
            entry.scope.cancel()
        for entry in running:
            await entry.ended.wait()

    async def stop_all(self) -> None:
        """Close every listener; connections that are open stay until they are told."""
        for services in self._running.values():
            for entry in services:
                entry.scope.cancel()
        for services in self._running.values():
            for entry in services:
                await entry.ended.wait()
        self._running.clear()

    async def _start(self, name: str) -> None:
        server = self._server
        config = server.config.plugin(name).config
        self._schemes[name] = dict(server.plugins.call(name, "schemes", server=server, config=config) or {})
        services: Iterable[Service] = (
            server.plugins.call(name, "services", server=server, config=config) or ()
        )
        running = self._running.setdefault(name, [])
        for service in services:
            entry = _Running(service)
            running.append(entry)
            server.tasks.start_soon(self._keep, name, entry)
            with anyio.move_on_after(START_SECONDS):
                await entry.decided.wait()
            if entry.failure:
                raise UserError(entry.failure)

    async def _keep(self, name: str, entry: _Running) -> None:
        """Run one service until it is cancelled, starting it again when it dies."""
        try:
            with entry.scope:
                for attempt in range(1 << 30):
                    if attempt:
                        await anyio.sleep(BACKOFF_SECONDS[min(attempt - 1, len(BACKOFF_SECONDS) - 1)])
                    if await self._run(name, entry):
                        return
        finally:
            entry.endpoints.clear()
            entry.decided.set()
            entry.ended.set()

    async def _run(self, name: str, entry: _Running) -> bool:
        """One life of a service; true where starting it again is of no use."""
        plugins = self._server.plugins

        def started(endpoints: Iterable[Endpoint]) -> None:
            entry.endpoints[:] = endpoints
            entry.decided.set()
            plugins.recovered(name)
            for e in entry.endpoints:
                self._server.log.info(
                    "listening",
                    plugin=name,
                    what=e.what,
                    address=e.address,
                    port=e.port,
                    transport=e.transport,
                )

        try:
            await entry.service.run(started)
        except UserError as e:
            if not entry.decided.is_set():
                entry.failure = str(e)
                return True
            plugins.fail(name, str(e))
        except Exception as e:  # noqa: BLE001 - a plugin's bug ends that service and nothing else
            plugins.fail(name, f"its service {entry.service.name} failed: {type(e).__name__}: {e}", error=e)
        else:
            plugins.fail(name, f"its service {entry.service.name} ended by itself")
        entry.endpoints.clear()
        entry.decided.set()
        return False
