"""Streams by path: who may publish and read, who waits, and that nothing is kept of a path that nobody uses."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import anyio
import anyio.lowlevel
import pytest

import penstock
from penstock import Action, Credentials, Plugin, PluginSet, Publisher, Session, Stream, StreamPath, hookimpl
from penstock.errors import AlreadyPublished, Denied, NotFound, ProtocolViolation
from tests.kernel.stage import AUDIO, VIDEO, Number

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("logs")]


class Witness(Plugin):
    """Lets those in who know the word, and writes down who asked for what."""

    name = "witness"

    def __init__(self, word: str | None = None) -> None:
        self.word = word
        self.asked: list[str] = []
        self.wanted: list[str] = []

    @hookimpl
    async def authorize(
        self, session: Session, action: Action, path: StreamPath, credentials: Credentials
    ) -> bool | None:
        await anyio.lowlevel.checkpoint()
        self.asked.append(f"{action} {path}")
        return None if self.word is None else credentials.verify(password=self.word)

    @hookimpl
    def stream_wanted(self, path: StreamPath) -> None:
        self.wanted.append(path)


def server_of(*plugins: Plugin, **tables: Any) -> penstock.Server:
    # The sessions here are nobody's work, so that nobody takes leave of them.
    tables["server"] = {"drain_timeout": 0.0, **tables.get("server", {})}
    return penstock.Server(tables, plugins=PluginSet.discover(plugins, installed=False))


async def publish(server: penstock.Server, path: str = "live/one", *, ready: bool = True) -> Publisher:
    publisher = await server.streams.publish(server.sessions.add("out", "::1"), path)
    publisher.add_track(VIDEO, 90_000, Number() if ready else None)
    publisher.tracks_complete()
    return publisher


async def test_who_waits_gets_what_comes() -> None:
    witness = Witness()
    found: list[Stream] = []

    async def wait() -> None:
        found.append(await server.streams.wait("/live/one?x", 5))

    async with server_of(witness) as server, anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        path = StreamPath.parse("live/one")
        assert (server.streams.awaited(path), server.streams.get("live/one")) == (True, None)
        await publish(server)
        with anyio.fail_after(2):
            while len(found) < 3:
                await anyio.sleep(0.01)
        assert set(found) == {server.streams.get("live/one")}
        assert server.streams.awaited(path) is False
        assert witness.wanted == ["live/one"] * 3


async def test_what_is_there_is_had_without_time_to_wait() -> None:
    async with server_of() as server:
        await publish(server)
        assert (await server.streams.wait("live/one", 0)).published


async def test_who_waits_in_vain_is_told_and_leaves_nothing() -> None:
    async with server_of() as server:
        with pytest.raises(NotFound, match="nobody publishes live/none"):
            await server.streams.wait("live/none", 0.05)
        reader = server.sessions.add("in", "::1")
        with pytest.raises(NotFound):
            await server.streams.open(reader, "live/none", wait=0.01)
        with anyio.move_on_after(0.01):
            await server.streams.wait("live/none")
        assert not server.streams.awaited(StreamPath.parse("live/none"))
        assert len(server.streams) == 0


async def test_ready_with_what_is_there_after_a_while() -> None:
    """A track whose config never comes is not waited for longer than `ready_timeout`; before that, for all of them."""
    async with server_of(server={"ready_timeout": 0.3}) as server:
        publisher = await publish(server, ready=False)
        audio = publisher.add_track(AUDIO, 48_000, Number())
        before = anyio.current_time()
        stream = await server.streams.wait("live/one", 5)
        assert 0.25 <= anyio.current_time() - before < 2
        assert stream.is_ready
        assert [t.config for t in stream.tracks] == [None, Number()]
        assert audio.id == 2
        # Who comes later does not wait at all.
        before = anyio.current_time()
        assert await server.streams.wait("live/one", 5) is stream
        assert anyio.current_time() - before < 0.2


async def test_a_stream_without_a_track_is_never_ready() -> None:
    async with server_of(server={"ready_timeout": 0.05}) as server:
        publisher = await server.streams.publish(server.sessions.add("out", "::1"), "live/one")
        with pytest.raises(NotFound):
            await server.streams.wait("live/one", 0.3)
        publisher.add_track(VIDEO, 90_000, Number())
        assert (await server.streams.wait("live/one", 1)).is_ready


async def test_a_second_publisher_is_refused() -> None:
    async with server_of() as server:
        first = await publish(server)
        with pytest.raises(AlreadyPublished, match="live/one is being published already"):
            await publish(server, "/live/one/")
        first.close()
        await publish(server)


async def test_a_second_publisher_takes_over_where_that_is_allowed() -> None:
    config = {"live/*": {"override": True}, "live/mine": {}}
    async with server_of(streams=config) as server:
        first = await publish(server)
        stream = server.streams.get("live/one")
        assert stream is not None
        frames = stream.read()
        second = await publish(server)
        assert (first.closed, second.closed) == (True, False)
        assert first.session.reason == "another publisher took over"
        assert server.streams.get("live/one") is stream
        assert (stream.publisher, stream.readers) == (second, 1)
        frames.close()
        await publish(server, "live/mine")
        with pytest.raises(AlreadyPublished):  # the more specific table counts, whole
            await publish(server, "live/mine")


async def test_nobody_gets_in_without_the_word() -> None:
    """It is asked on the canonical path, before anything is waited or looked for."""
    witness = Witness("sesame")
    right, wrong = Credentials("user", "sesame"), Credentials("user", "open")
    async with server_of(witness) as server:
        session = server.sessions.add("x", "::1")
        with pytest.raises(Denied, match="not allowed") as denied:
            await server.streams.publish(session, "live//one".replace("//", "%2F"), wrong)
        assert not denied.value.anonymous
        with pytest.raises(Denied) as denied:
            await server.streams.open(session, "live/one")
        assert denied.value.anonymous, "to ask for credentials may help"
        assert (len(server.streams), witness.wanted) == (0, [])
        assert (session.direction, session.path, session.user) == ("", None, "")
        publisher = await server.streams.publish(session, "/live/one?x=y", right)
        assert (session.direction, session.path, session.user) == ("publish", "live/one", "user")
        publisher.add_track(VIDEO, 90_000, Number())
        publisher.tracks_complete()
        reader = server.sessions.add("x", "::1")
        stream = await server.streams.open(reader, "live/one/", right)
        assert (stream.path, reader.direction, reader.path) == ("live/one", "read", "live/one")
        with pytest.raises(ProtocolViolation):
            await server.streams.publish(session, "live/../one", right)
    assert witness.asked == ["publish live/one", "read live/one", "publish live/one", "read live/one"]


class Silent(Plugin):
    name = "silent"

    @hookimpl
    async def authorize(self) -> bool:
        await anyio.sleep_forever()
        return True


async def test_a_plugin_that_does_not_answer_has_denied(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the next is not asked: whoever is asked first may have a reason to say no."""
    monkeypatch.setattr("penstock.plugins.AUTHORIZE_SECONDS", 0.05)
    witness = Witness()
    async with server_of(Silent(), witness) as server:
        with pytest.raises(Denied, match="authorization failed"):
            await publish(server)
        assert witness.asked == []
        record = server.plugins.get("silent")
        assert record is not None
        assert record.last_error == "authorize: TimeoutError"


async def test_who_stops_to_wait_for_an_answer_is_not_denied() -> None:
    """A session that is kicked meanwhile ends, and that is no mistake of the plugin's."""
    async with server_of(Silent()) as server:
        with anyio.move_on_after(0.05):
            await publish(server)
        record = server.plugins.get("silent")
        assert record is not None
        assert record.errors == 0


@pytest.mark.parametrize("raised", [SystemExit(1), GeneratorExit(), KeyError("x")])
async def test_whatever_a_plugin_raises_denies(raised: BaseException) -> None:
    class Raises(Plugin):
        name = "raises"

        @hookimpl
        async def authorize(self) -> bool:
            raise raised

        @hookimpl
        def secret(self) -> str:
            raise raised

        @hookimpl
        def stream_published(self) -> None:
            raise raised

    async with server_of(Raises()) as server:
        with pytest.raises(Denied, match="authorization failed"):
            await publish(server)
        with pytest.raises(Denied, match="the plugin raises failed to answer"):
            server.streams.secret(StreamPath.parse("live/one"))
        server.streams.publish_authorized(server.sessions.add("x", "::1"), StreamPath.parse("live/one"))
        record = server.plugins.get("raises")
        assert record is not None
        assert record.errors == 3


async def test_a_secret_is_a_plugins_or_else_the_configs() -> None:
    class Knows(Plugin):
        name = "knows"

        @hookimpl
        def secret(self, path: StreamPath) -> str | None:
            return "plugin's" if path == "live/one" else None

    async with server_of(Knows(), streams={"live/*": {"secret": "config's"}}) as server:
        paths = map(StreamPath.parse, ("live/one", "live/two", "other"))
        assert [server.streams.secret(path) for path in paths] == ["plugin's", "config's", None]


async def test_readers_are_bounded() -> None:
    async with server_of(streams={"live/*": {"max_readers": 2}}) as server:
        await publish(server)
        stream = await server.streams.wait("live/one", 1)
        one, two = stream.read(), stream.read()
        with pytest.raises(Denied, match="live/one has its 2 readers already"):
            await server.streams.open(server.sessions.add("x", "::1"), "live/one")
        one.close()
        await server.streams.open(server.sessions.add("x", "::1"), "live/one")
        two.close()


async def test_a_canonical_path_is_not_decoded_again() -> None:
    """`live/%41` that came as `live/%2541` is not `live/A`."""
    async with server_of() as server:
        await publish(server, "live/%2541")
        path = StreamPath.parse("live/%2541")
        assert path == "live/%41"
        assert server.streams.get(path) is not None
        assert server.streams.get("live/%41") is None
        assert (await server.streams.wait(path, 1)).path == path


async def until(condition: Callable[[], bool], seconds: float = 5) -> None:
    with anyio.fail_after(seconds):
        while not condition():
            await anyio.sleep(0.01)


async def test_a_publisher_that_falls_silent_is_sent_away() -> None:
    """As a half-open connection is; its readers are kept for as long as is configured, and not longer."""
    times = {"publisher_timeout": 0.4, "reconnect_grace": 0.5}
    async with server_of(server=times, streams={"live/short": {"reconnect_grace": 0.0}}) as server:
        publishers = {path: await publish(server, path) for path in ("live/one", "live/short")}
        kept = {path: (await server.streams.wait(path, 1)) for path in publishers}
        frames = [stream.read() for stream in kept.values()]
        await until(lambda: publishers["live/one"].closed and publishers["live/short"].closed)
        assert publishers["live/one"].session.reason == "the publisher sent nothing for 0.4 s"
        assert kept["live/short"].ended
        assert not kept["live/one"].ended
        await until(lambda: kept["live/one"].ended)
        assert kept["live/one"].end_reason == "the publisher fell silent"
        assert len(server.streams) == 0
        for reader in frames:
            reader.close()


async def test_a_server_that_stood_still_takes_nobody_for_silent() -> None:
    """As a process that was stopped (SIGSTOP), or had no processor: what was sent meanwhile is yet to be read."""
    async with server_of(server={"publisher_timeout": 0.4}) as server:
        publisher = await publish(server, "live/one")
        await anyio.sleep(0.01)
        time.sleep(0.8)  # noqa: ASYNC251 - that is what is tested
        for _ in range(10):
            await anyio.lowlevel.checkpoint()
        assert not publisher.closed
        await until(lambda: publisher.closed)


async def test_streams_are_listed_while_they_come_and_go() -> None:
    async with server_of() as server:
        publishers = [await publish(server, f"live/{n}") for n in range(3)]
        listed: Iterable[Stream] = server.streams
        for stream, publisher in zip(listed, publishers, strict=True):
            publisher.close()
            assert stream.ended
        assert len(server.streams) == 0
