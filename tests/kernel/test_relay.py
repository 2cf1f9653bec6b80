"""Sources that are pulled and streams that are pushed on, through the schemes that plugins bring."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

import penstock
from penstock import Closed, Plugin, PluginSet, Publisher, Session, Stream, hookimpl
from penstock import relay as relay_module
from penstock.errors import AlreadyPublished, NotFound, UserError
from tests.kernel.stage import AUDIO, VIDEO, Number

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("logs")]


class Wire:
    """A scheme ``wire://``: what is pulled publishes at once, what is pushed is read to its end.

    It fails as often as `failures` says before it works.
    """

    def __init__(self) -> None:
        self.pulled: list[str] = []
        self.pushed: list[str] = []
        self.ended: list[str] = []
        self.failures = 0
        self.sessions: list[Session] = []
        self.publisher: Publisher | None = None
        self.got = 0
        self.error: Callable[[], BaseException] = lambda: Closed("no answer")

    def _maybe_fail(self) -> None:
        if self.failures:
            self.failures -= 1
            raise self.error()

    async def pull(self, url: str, publish: Callable[[Session], Publisher], session: Session) -> None:
        self.pulled.append(url)
        self.sessions.append(session)
        self._maybe_fail()
        self.publisher = publisher = publish(session)
        track = publisher.add_track(VIDEO, 90_000, Number())
        publisher.tracks_complete()
        try:
            for n in range(1 << 30):
                publisher.write(track.id, (b"x",), pts=n * 20_000_000, dts=n * 20_000_000, key=True)
                await publisher.flush()
                await anyio.sleep(0.02)
        finally:
            self.ended.append(url)

    async def push(self, url: str, stream: Stream, session: Session) -> None:
        self.pushed.append(url)
        self.sessions.append(session)
        self._maybe_fail()
        async for event in stream.read(session):
            self.got += isinstance(event, penstock.Frame)


class Wires(Plugin):
    name = "wires"

    def __init__(self) -> None:
        self.wire = Wire()

    @hookimpl
    def schemes(self) -> Mapping[str, penstock.Scheme]:
        return {"wire": self.wire}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_module, "BACKOFF_SECONDS", (0.02, 0.05))
    monkeypatch.setattr(relay_module, "IDLE_CHECK_SECONDS", 0.02)


@asynccontextmanager
async def serving(streams: Mapping[str, Any], **server: Any) -> AsyncGenerator[tuple[penstock.Server, Wire]]:
    plugin = Wires()
    config = {"streams": streams, "server": {"drain_timeout": 1.0, **server}}
    async with penstock.Server(config, plugins=PluginSet.discover([plugin], installed=False)) as made:
        yield made, plugin.wire


async def until(condition: Callable[[], bool], seconds: float = 5) -> None:
    with anyio.fail_after(seconds):
        while not condition():
            await anyio.sleep(0.005)


async def test_a_source_is_pulled_always_and_again_when_it_fails() -> None:
    async with serving({"cam/one": {"source": "wire://user:secret@camera/1"}}) as (server, wire):
        wire.failures = 3
        stream = await server.streams.wait("cam/one", 5)
        assert wire.pulled == ["wire://user:secret@camera/1"] * 4
        session = wire.sessions[-1]
        assert (session.protocol, session.address) == ("wire", "camera/1".partition("/")[0])
        assert "secret" not in repr(session)
        assert (session.path, session.direction) == ("cam/one", "publish")
        assert stream.publisher is not None
        session.kick("because")
        await until(
            lambda: wire.publisher is not None and not wire.publisher.closed and len(wire.pulled) == 5
        )
    assert len(wire.ended) == 2, "the last one at the server's end"


async def test_a_bug_of_the_scheme_is_tried_again_like_any_failure() -> None:
    async with serving({"cam/one": {"source": "wire://camera"}}) as (server, wire):
        wire.failures, wire.error = 2, lambda: RuntimeError("a bug")
        assert await server.streams.wait("cam/one", 5)
        wire.failures, wire.error = 1, lambda: SystemExit(1)
        wire.sessions[-1].kick("again")
        await until(lambda: len(wire.pulled) >= 5)
        assert await server.streams.wait("cam/one", 5)


async def test_on_demand_it_is_pulled_while_somebody_reads() -> None:
    table = {"source": "wire://camera", "source_on_demand": True, "on_demand_close_after": 0.1}
    async with serving({"cam/*": table}, reconnect_grace=0.0) as (server, wire):
        await anyio.sleep(0.1)
        assert wire.pulled == []
        for turn in (1, 2):
            stream = await server.streams.wait("cam/one", 5)
            frames = stream.read()
            await anyio.sleep(0.3)
            assert not stream.ended, "as long as somebody reads"
            frames.close()
            await until(lambda stream=stream: stream.ended)  # type: ignore[misc]
            assert (len(wire.pulled), len(wire.ended)) == (turn, turn)
            assert wire.sessions[-1].reason == "nobody reads"
        assert server.streams.get("cam/two") is None


async def test_on_demand_a_source_that_fails_is_given_up_with_its_readers() -> None:
    table = {"source": "wire://camera", "source_on_demand": True}
    async with serving({"cam/*": table}) as (server, wire):
        wire.failures = 1 << 30
        with pytest.raises(NotFound):
            await server.streams.wait("cam/one", 0.3)
        tried = len(wire.pulled)
        assert 2 <= tried < 30
        await anyio.sleep(0.2)
        assert len(wire.pulled) <= tried + 1
        assert len(server.streams) == 0


async def test_many_who_ask_make_one_pull() -> None:
    table = {"source": "wire://camera", "source_on_demand": True}
    async with serving({"cam/*": table}) as (server, wire):
        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(server.streams.wait, "cam/one", 5)
        assert wire.pulled == ["wire://camera"]


async def test_a_path_that_is_published_by_somebody_else() -> None:
    """The relay is refused like any second publisher, and tries again."""
    async with serving({"cam/one": {"source": "wire://camera"}}) as (server, wire):
        await until(lambda: wire.publisher is not None)
        with pytest.raises(AlreadyPublished):
            await published(server, "cam/one")
    async with serving({"cam/one": {"source": "wire://camera"}}, reconnect_grace=0.0) as (server, wire):
        await until(lambda: wire.publisher is not None)
        wire.failures = 3
        wire.sessions[-1].kick("again")
        await until(lambda: wire.publisher is not None and wire.publisher.closed)
        publisher, _ = await published(server, "cam/one")
        await until(lambda: wire.sessions[-1].reason == "cam/one is being published already")
        publisher.close()
        await until(lambda: (found := server.streams.get("cam/one")) is not None and found.published)


async def published(server: penstock.Server, path: str = "live/one") -> tuple[Publisher, int]:
    session = server.sessions.add("test", "::1")
    server.sessions.remove(session)  # nobody's work, so that the server's end does not wait for it
    publisher = await server.streams.publish(session, path)
    track = publisher.add_track(AUDIO, 48_000, Number())
    publisher.tracks_complete()
    return publisher, track.id


async def test_a_stream_is_pushed_to_each_place_while_it_is_published() -> None:
    urls = ["wire://a/live", "wire://b/live"]
    async with serving({"live/*": {"push": urls}}, reconnect_grace=0.0) as (server, wire):
        publisher, track = await published(server)
        await until(lambda: len(wire.pushed) == 2)
        assert sorted(wire.pushed) == urls
        for n in range(5):
            publisher.write(track, (b"x",), pts=n * 20_000_000)
        await until(lambda: wire.got == 10)
        assert {s.direction for s in wire.sessions} == {"read"}
        publisher.close()
        await until(lambda: len(server.sessions) == 0)
        assert len(server.streams) == 0, "a push keeps no stream alive"
        await published(server)
        await until(lambda: len(wire.pushed) == 4)


async def test_a_push_does_not_wait_for_another_publisher() -> None:
    """The server at the other end would see one that has stalled."""
    async with serving({"live/*": {"push": ["wire://a"]}}, reconnect_grace=60.0) as (server, wire):
        for turn in (1, 2):
            publisher, track = await published(server)
            await until(lambda turn=turn: len(wire.pushed) == turn and len(server.sessions) == 1)  # type: ignore[misc]
            publisher.write(track, (b"x",), pts=0)
            publisher.close("it has gone home")
            await until(lambda: len(server.sessions) == 0, 2)
            assert wire.got == turn, "its last frame was still pushed"
            assert wire.sessions[-1].reason == "it has gone home"
            assert len(server.streams) == 0


async def test_a_push_that_fails_is_tried_again_while_there_is_something_to_push() -> None:
    async with serving({"live/*": {"push": ["wire://a"]}}, reconnect_grace=0.0) as (server, wire):
        wire.failures = 3
        publisher, _ = await published(server)
        await until(lambda: len(wire.pushed) == 4)
        wire.failures = 1 << 30
        wire.sessions[-1].kick("again")
        await until(lambda: len(wire.pushed) >= 6)
        publisher.close()
        await until(lambda: len(server.sessions) == 0)
        await anyio.sleep(0.15)
        pushed = len(wire.pushed)
        await anyio.sleep(0.15)
        assert len(wire.pushed) == pushed


async def test_a_scheme_that_nobody_knows_is_named(logs: list[dict[str, Any]]) -> None:
    streams = {
        "cam/one": {"source": "http://camera/x"},
        "live/*": {"push": ["wire://a", "gopher://u:secret@x"]},
    }
    with pytest.raises(UserError) as raised:
        async with serving(streams):
            pass
    assert str(raised.value).splitlines() == [
        'streams."cam/one".source is refused: no plugin knows http:// URLs (known: wire)',
        'streams."live/*".push is refused: no plugin knows gopher:// URLs (known: wire)',
    ]


async def test_a_scheme_that_a_failed_plugin_may_know_ends_no_start(logs: list[dict[str, Any]]) -> None:
    broken: Plugin = type("Broken", (Plugin,), {"name": "broken", "api": (2, 2)})()
    plugins = PluginSet.discover([Wires(), broken], installed=False)
    config = {"streams": {"cam/one": {"source": "http://camera/x"}}, "server": {"drain_timeout": 1.0}}
    async with penstock.Server(config, plugins=plugins):
        await until(lambda: any(e["event"] == "source failed" for e in logs))
    reason = "no plugin knows http:// URLs (known: wire)"
    assert any(e["event"] == f'streams."cam/one".source is refused: {reason}' for e in logs)
    closed = next(e for e in logs if e["event"] == "source failed")
    assert closed["reason"] == reason
    assert (closed["protocol"], closed["peer"]) == ("http", "camera")


async def test_what_fails_is_a_warning_that_names_the_stream_and_a_reader_is_told_of_once(
    logs: list[dict[str, Any]],
) -> None:
    streams = {"cam/one": {"source": "wire://user:secret@camera/1", "push": ["wire://backup/1"]}}
    async with serving(streams) as (server, wire):
        wire.failures = 1
        await server.streams.wait("cam/one", 5)
        await until(lambda: wire.got > 0)
        wire.failures = 1
        pushed = wire.sessions[-1]
        pushed.kick("enough")
        await until(lambda: any(e["event"] == "push failed" for e in logs))
    told = ("log_level", "protocol", "peer", "path", "direction", "reason")
    failed = [[e[key] for key in told] for e in logs if str(e["event"]).endswith("failed")]
    assert failed == [
        ["warning", "wire", "camera", "cam/one", "publish", "no answer"],
        ["warning", "wire", "backup", "cam/one", "read", "no answer"],
    ]
    assert [e["event"] for e in logs if "failed" in str(e["event"])] == ["source failed", "push failed"]
    (joined,) = [e for e in logs if e["event"] == "reader joined" and e["session"] == pushed.id]
    assert [joined[key] for key in told[:4]] == ["info", "wire", "backup", "cam/one"]
    closed = next(e for e in logs if e["event"] == "session closed")
    assert [closed[key] for key in told[:4]] == ["info", "wire", "backup", "cam/one"]


async def test_its_scheme_switched_off_and_on() -> None:
    """The session ends, and is there again once the plugin is."""
    async with serving({"cam/one": {"source": "wire://camera"}}) as (server, wire):
        stream = await server.streams.wait("cam/one", 5)
        frames = stream.read()
        await server.disable("wires")
        await until(lambda: not stream.published)
        assert wire.sessions[-1].reason == "wire is switched off"
        await anyio.sleep(0.1)
        assert len(wire.pulled) == 1
        await server.enable("wires")
        await until(lambda: stream.published)
        assert len(wire.pulled) == 2
        frames.close()
