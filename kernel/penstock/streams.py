"""All streams of a server by path: who may publish, and what a reader waits for."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import anyio

from penstock.derived import Derivation
from penstock.errors import AlreadyPublished, Denied, Full, NotFound
from penstock.feed import Feed
from penstock.hooks import Action
from penstock.media import NS, Track
from penstock.path import StreamPath
from penstock.publisher import Publisher
from penstock.ring import Bounds
from penstock.segment import SegmentBounds
from penstock.session import Credentials, Session
from penstock.stream import Stream, StreamOptions

if TYPE_CHECKING:
    from penstock.server import Server

ANYBODY = Credentials()


class Streams:
    """The streams of one server. Nothing is kept of a path that nobody publishes or waits for."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._streams: dict[StreamPath, Stream] = {}
        self._waiting: dict[StreamPath, list[anyio.Event]] = {}
        self._past: dict[StreamPath, Stream] = {}
        self._viewers = Counter[StreamPath]()

    def __iter__(self) -> Iterator[Stream]:
        return iter(tuple(self._streams.values()))

    def __len__(self) -> int:
        return len(self._streams)

    def get(self, path: str) -> Stream | None:
        """The stream at `path`, with or without a publisher at the moment."""
        # What is canonical already is not decoded again: it would be another path than the one that was authorized.
        return self._streams.get(path if isinstance(path, StreamPath) else StreamPath.parse(path))

    def past(self, path: StreamPath) -> Stream | None:
        """The stream that was at `path` and has ended, while somebody asks for its segments; None once there is another."""
        return None if path in self._streams else self._past.get(path)

    def view(self, path: StreamPath) -> Callable[[], None]:
        """Count another who fetches what is made of a stream; what is returned is called once when that one has left."""
        self._viewers[path] += 1

        def leave() -> None:
            self._viewers[path] -= 1
            if not self._viewers[path]:
                del self._viewers[path]

        return leave

    def drop_idle(self, now: float) -> None:
        """Let go of segments that nobody asks for any more; `now` in monotonic seconds."""
        for stream in (*self._streams.values(), *self._past.values()):
            if stream.stores or stream.derived:
                stream.drop_idle(now)
        self._past = {path: stream for path, stream in self._past.items() if stream.stores}

    def _options(self, path: StreamPath) -> StreamOptions:
        s, c = self._server.config.server, self._server.config.stream(path)
        return StreamOptions(
            bounds=Bounds(s.gop_cache_frames, s.gop_cache_bytes, s.gop_cache_seconds),
            max_backlog=s.max_backlog_seconds,
            window=s.write_window,
            reconnect_grace=s.reconnect_grace if c.reconnect_grace is None else c.reconnect_grace,
            override=c.override,
            max_readers=c.max_readers,
            segments=SegmentBounds(
                target=int(s.segment_seconds * NS),
                longest=int(s.segment_longest * NS),
                part=int(s.part_seconds * NS),
                window=int(s.segment_window * NS),
                bytes=s.segment_bytes,
                idle=s.segment_idle,
                replay=s.segment_replay_bytes,
            ),
        )

    async def authorize(
        self,
        session: Session,
        action: Action,
        path: str,
        credentials: Credentials = ANYBODY,
        *,
        asks: bool = False,
    ) -> StreamPath:
        """The canonical path, if `session` may do `action` there. With `asks` a peer that gave no credentials is going
        to be asked for some, and is not logged as refused.

        Raises `Denied`, or `ProtocolViolation` for a bad path.
        """
        canonical = path if isinstance(path, StreamPath) else StreamPath.parse(path)
        try:
            await self._server.plugins.ask_authorize(session, action, canonical, credentials)
        except Denied as e:
            if not (asks and e.anonymous):
                self._log(
                    "not authorized",
                    canonical,
                    session,
                    "warning",
                    action=action,
                    user=credentials.user,
                    reason=str(e),
                )
            raise
        session.user = session.user or credentials.user
        return canonical

    def secret(self, path: StreamPath) -> str | None:
        """The pre-shared key of a path, as some plugin gives it, or else the config. Raises `Denied` where that plugin fails."""
        found: str | None = self._server.plugins.first("secret", path=path)
        return found or self._server.config.stream(path).secret or None

    async def publish(self, session: Session, path: str, credentials: Credentials = ANYBODY) -> Publisher:
        """Authorize `session` and make it the publisher of `path`.

        Raises `Denied`, `AlreadyPublished`, or `ProtocolViolation` for a bad path.
        """
        return self.publish_authorized(session, await self.authorize(session, "publish", path, credentials))

    def publish_authorized(self, session: Session, path: StreamPath) -> Publisher:
        """As `publish`, for a path that `authorize` gave for this session."""
        stream = self._streams.get(path)
        if stream is None:
            stream = self._streams[path] = Stream(path, self._server.registry, self._options(path), self)
        elif stream.publisher is not None:
            if not stream.options.override:
                raise AlreadyPublished(f"{path} is being published already")
            old = stream.publisher
            # Readers stay: the stream goes on with its new publisher in the same step.
            stream.publisher = None
            old.close("taken over")
            old.session.kick("another publisher took over")
        publisher = Publisher(stream, session)
        session.direction, session.path, session.begin_by = "publish", path, None
        stream.take_over(publisher)
        self._log("stream published", path, session, user=session.user, apart="published")
        for event in self._waiting.get(path, ()):
            event.set()
        return publisher

    async def open(
        self, session: Session, path: str, credentials: Credentials = ANYBODY, *, wait: float | None = None
    ) -> Stream:
        """Authorize `session` to read `path`, and wait (at most `wait` or the configured seconds) until it is ready.

        Raises `Denied`, `NotFound`, or `ProtocolViolation` for a bad path.
        """
        return await self.open_authorized(
            session, await self.authorize(session, "read", path, credentials), wait=wait
        )

    async def open_authorized(
        self, session: Session, canonical: StreamPath, *, wait: float | None = None
    ) -> Stream:
        """As `open`, for a path that `authorize` gave for this session."""
        session.direction, session.path, session.begin_by = "read", canonical, None
        stream = await self.wait(
            canonical, self._server.config.server.wait_for_stream if wait is None else wait
        )
        if stream.full:
            raise Full(stream.full)
        return stream

    async def wait(self, path: str, timeout: float | None = None) -> Stream:
        """The stream at `path` once it is published and ready; asks for it where nobody publishes it.

        Raises `NotFound` after `timeout` seconds (none: waits for ever).
        """
        canonical = path if isinstance(path, StreamPath) else StreamPath.parse(path)
        stream = self._streams.get(canonical)
        if stream is not None and stream.published and stream.is_ready:
            # Nothing is to be waited for, so that a timeout of 0 does no harm.
            return stream
        with anyio.move_on_after(timeout):
            while True:
                stream = self._streams.get(canonical)
                if stream is None or not stream.published:
                    await self._wait_published(canonical)
                    continue
                await self._wait_ready(stream)
                if stream.is_ready:
                    return stream
                if stream.published:
                    # Ready means that there is at least one track; until then, look again.
                    await anyio.sleep(0.05)
        raise NotFound(f"nobody publishes {canonical}")

    async def _wait_published(self, path: StreamPath) -> None:
        event = anyio.Event()
        self._waiting.setdefault(path, []).append(event)
        try:
            self._server.relay.wanted(path)
            self._server.plugins.notify("stream_wanted", path=path)
            await event.wait()
        finally:
            self._waiting[path].remove(event)
            if not self._waiting[path]:
                del self._waiting[path]

    async def _wait_ready(self, stream: Stream) -> None:
        publisher = stream.publisher
        if publisher is None:
            return
        # Another publisher may come meanwhile: it has its own time, and its own event to wait for.
        left = self._server.config.server.ready_timeout - (time.monotonic() - publisher.since)
        with anyio.move_on_after(max(0.0, left)):
            await stream.wait_ready()
        if stream.publisher is publisher:
            stream.set_ready()

    def awaited(self, path: StreamPath) -> bool:
        """Whether somebody waits for `path` to be published."""
        return path in self._waiting

    # -- what streams tell --------------------------------------------------

    def _log(
        self, event: str, path: StreamPath, session: Session, level: str = "info", **values: Any
    ) -> None:
        self._server.plugins.limited_log(
            event,
            level=level,
            protocol=session.protocol,
            peer=session.address,
            session=session.id,
            path=path,
            **values,
        )

    def changed(self, hook: str, **arguments: object) -> None:
        self._server.plugins.notify(hook, **arguments)
        if hook in ("stream_published", "stream_unpublished", "reader_joined", "reader_left"):
            stream = arguments["stream"]
            assert isinstance(stream, Stream)
            self._server.relay.changed(stream)
            session = arguments.get("session")
            if hook == "reader_joined" and isinstance(session, Session):
                self._server.log_joined(session, stream.path)

    def left_out(self, feed: Feed, track: Track, reason: str) -> None:
        path, readers = feed.stream.path, feed.readers
        # Limited by the path: it is nobody's line, and a publisher may add tracks as often as it likes.
        self._server.plugins.limited.write(
            "info",
            str(path),
            "late track left out",
            path=path,
            protocol=", ".join(sorted({reader.session.protocol for reader in readers})),
            readers=len(readers),
            track=track.id,
            codec=track.codec.name,
            reason=reason,
        )

    def gone(self, stream: Stream) -> None:
        if self._streams.get(stream.path) is stream:
            del self._streams[stream.path]
            self._past.pop(stream.path, None)
            if stream.stores:
                self._past[stream.path] = stream

    def awake(self) -> None:
        self._server.poller.look()

    def late(self, feed: Feed) -> None:
        self._server.late(feed)

    def derivations(self, stream: Stream, track: Track) -> Iterable[Derivation]:
        return self._server.plugins.gather("derive", Derivation, track=track, path=stream.path)

    def serves_segments(self) -> bool:
        return self._server.plugins.any("serves_segments")

    def viewers(self, path: StreamPath) -> int:
        return self._viewers[path]

    def spawn(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._server.spawn(work)
