"""Relay: streams that are pulled from a URL, always or on demand, and streams that are pushed on."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import anyio

from penstock.errors import Closed, NotFound, UserError, leading
from penstock.path import StreamPath
from penstock.publisher import Publisher
from penstock.session import Session
from penstock.stream import Stream
from penstock.structure import Problem

if TYPE_CHECKING:
    from penstock.config import StreamConfig
    from penstock.hooks import Scheme
    from penstock.server import Server

BACKOFF_SECONDS = (0.5, 1.0, 2.0, 5.0, 10.0)
"""Pauses before a peer that failed is tried again."""
STEADY_SECONDS = 10.0
"""A connection that lasted so long starts the back-off anew."""
IDLE_CHECK_SECONDS = 0.5
LAST_LOOK_SECONDS = 0.02
LAST_SECONDS = 1.0
"""For so long at most what a publisher sent last is waited for, before its pushes end."""


class Relay:
    """The sources and pushes that the config asks for; each runs in a session that can be seen and kicked."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._pulling: set[StreamPath] = set()
        self._pushing: set[tuple[StreamPath, str]] = set()
        self._pushes: dict[StreamPath, set[Session]] = {}
        self._stopped = False

    def check(self) -> None:
        """Raises `UserError` where the config has URLs whose scheme no plugin knows, with a line for each."""
        config = self._server.config
        problems = [
            Problem(("streams", pattern, key), f"is refused: {reason}")
            for pattern, stream in config.streams.items()
            for key, urls in (("source", [stream.source or ""]), ("push", stream.push))
            for url in urls
            if url and (reason := self._unknown(url))
        ]
        if problems:
            raise UserError("\n".join(map(config.places.located, problems)))

    def start(self) -> None:
        """Begin the sources that run always."""
        for text, config in self._server.config.fixed_streams.items():
            if config.source and not config.source_on_demand:
                self._pull(StreamPath.parse(text), config)

    def stop(self) -> None:
        self._stopped = True

    def wanted(self, path: StreamPath) -> None:
        """Somebody asks for `path`: pull it if the config has a source for it."""
        config = self._server.config.stream(path)
        if config.source:
            self._pull(path, config)

    def changed(self, stream: Stream) -> None:
        """A stream came, went, or its readers did: its pushes begin and end with its publisher.

        A server that is sent nothing sees a publisher that has stalled; whether to wait for another is its own affair.
        """
        if self._stopped:
            return
        if stream.publisher is None:
            if sessions := self._pushes.pop(stream.path, None):
                self._server.spawn(partial(self._end_pushes, stream, sessions))
            return
        for url in self._server.config.stream(stream.path).push:
            job = (stream.path, url)
            if job not in self._pushing:
                self._pushing.add(job)
                self._server.spawn(partial(self._keep_pushing, stream.path, url))

    def _pull(self, path: StreamPath, config: StreamConfig) -> None:
        if path not in self._pulling and not self._stopped:
            self._pulling.add(path)
            self._server.spawn(partial(self._keep_pulling, path, config))

    async def _keep_pulling(self, path: StreamPath, config: StreamConfig) -> None:
        try:
            attempt = 0
            while not self._stopped:
                began = time.monotonic()
                wanted = await self._pull_once(path, config)
                if config.source_on_demand and not wanted:
                    if not self._is_wanted(path):
                        return
                    continue  # somebody came while it was being closed
                attempt = 0 if time.monotonic() - began > STEADY_SECONDS else attempt
                await anyio.sleep(BACKOFF_SECONDS[min(attempt, len(BACKOFF_SECONDS) - 1)])
                attempt += 1
                if config.source_on_demand and not self._is_wanted(path):
                    return
        finally:
            self._pulling.discard(path)

    def _is_wanted(self, path: StreamPath) -> bool:
        stream = self._server.streams.get(path)
        return self._server.streams.awaited(path) or (stream is not None and stream.in_use)

    async def _pull_once(self, path: StreamPath, config: StreamConfig) -> bool:
        """One connection to the source; false where it was closed because nobody reads."""
        url = config.source or ""
        publisher: Publisher | None = None
        idle = False

        def publish(session: Session) -> Publisher:
            nonlocal publisher
            publisher = self._server.streams.publish_authorized(session, path)
            return publisher

        async def close_when_idle(session: Session) -> None:
            nonlocal idle
            last = time.monotonic()
            while True:
                await anyio.sleep(IDLE_CHECK_SECONDS)
                if self._is_wanted(path):
                    last = time.monotonic()
                elif time.monotonic() - last > config.on_demand_close_after:
                    idle = True
                    session.kick("nobody reads")
                    return

        async def work() -> None:
            scheme = self._scheme(url)
            async with anyio.create_task_group() as tasks:
                if config.source_on_demand:
                    tasks.start_soon(close_when_idle, session)
                await scheme.pull(url, publish, session)
                tasks.cancel_scope.cancel()

        session = self._session(url, "source")
        session.path, session.direction = path, "publish"
        try:
            await self._server.run_session(session, lambda: _single(work))
        finally:
            if publisher is not None:
                publisher.close(session.reason or "the source ended")
        return not idle

    async def _keep_pushing(self, path: StreamPath, url: str) -> None:
        try:
            attempt = 0
            # By path: the stream may end, and another be published there, during a pause.
            while self._published(path) and not self._stopped:
                began = time.monotonic()
                await self._push_once(path, url)
                attempt = 0 if time.monotonic() - began > STEADY_SECONDS else attempt
                if self._published(path):
                    await anyio.sleep(BACKOFF_SECONDS[min(attempt, len(BACKOFF_SECONDS) - 1)])
                attempt += 1
        finally:
            self._pushing.discard((path, url))

    async def _end_pushes(self, stream: Stream, sessions: set[Session]) -> None:
        with anyio.move_on_after(LAST_SECONDS):
            await anyio.sleep(LAST_LOOK_SECONDS)
            while any(feed.due_at is not None for feed in stream.feeds):
                await anyio.sleep(LAST_LOOK_SECONDS)
        for session in sessions:
            session.kick(stream.end_reason or "the publisher left")

    def _published(self, path: StreamPath) -> bool:
        stream = self._server.streams.get(path)
        return stream is not None and stream.published

    async def _push_once(self, path: StreamPath, url: str) -> None:
        session = self._session(url, "push")
        session.path, session.direction = path, "read"

        async def work() -> None:
            try:
                stream = await self._server.streams.wait(path, self._server.config.server.wait_for_stream)
            except NotFound:
                return
            await self._scheme(url).push(url, stream, session)

        sessions = self._pushes.setdefault(path, set())
        sessions.add(session)
        try:
            await self._server.run_session(session, work)
        finally:
            sessions.discard(session)
            if not sessions and self._pushes.get(path) is sessions:
                del self._pushes[path]

    def _session(self, url: str, relay: str) -> Session:
        parts = urlsplit(url)
        # Never show the password that a URL may have.
        session = self._server.sessions.add(parts.scheme, parts.netloc.rpartition("@")[2])
        session.relay = relay
        return session

    def _scheme(self, url: str) -> Scheme:
        scheme = self._server.services.scheme(urlsplit(url).scheme)
        if scheme is None:
            raise Closed(self._unknown(url))
        return scheme

    def _unknown(self, url: str) -> str:
        """The sentence about a URL whose scheme no plugin knows, else empty."""
        name = urlsplit(url).scheme
        if self._server.services.scheme(name) is not None:
            return ""
        known = ", ".join(self._server.services.schemes) or "none"
        return f"no plugin knows {name}:// URLs (known: {known})"


async def _single(work: Callable[[], Awaitable[None]]) -> None:
    """Raise the leading error of a task group as itself."""
    try:
        await work()
    except BaseExceptionGroup as group:
        raise leading(group) from None
