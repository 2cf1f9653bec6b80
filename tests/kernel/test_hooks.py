"""Every notice reaches the plugins, in order, and a plugin that fails in one is not felt by the others."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

import penstock
from penstock import NS, Codec, CodecConfig, Kind, Plugin, PluginSet, Track, hookimpl
from penstock.path import StreamPath
from penstock.session import Session
from penstock.stream import Stream
from tests.kernel.feeding import Lines, peers
from tests.kernel.stage import VIDEO, Number

pytestmark = pytest.mark.anyio

TEST = Codec("test", Kind.AUDIO)


class Witness(Plugin):
    """Writes down every notice."""

    name = "witness"

    def __init__(self) -> None:
        self.seen: list[str] = []

    @hookimpl
    def session_opened(self, session: Session) -> None:
        self.seen.append(f"session_opened {session.protocol}")

    @hookimpl
    def session_closed(self, session: Session, reason: str) -> None:
        self.seen.append(f"session_closed {session.protocol} {reason}")

    @hookimpl
    def stream_published(self, stream: Stream) -> None:
        self.seen.append(f"stream_published {stream.path}")

    @hookimpl
    def stream_unpublished(self, stream: Stream, reason: str) -> None:
        self.seen.append(f"stream_unpublished {stream.path} {reason}")

    @hookimpl
    def track_added(self, stream: Stream, track: Track) -> None:
        self.seen.append(f"track_added {track.codec.name}")

    @hookimpl
    def track_changed(self, stream: Stream, track: Track) -> None:
        self.seen.append(f"track_changed {track.config}")

    @hookimpl
    def reader_joined(self, stream: Stream, session: Session) -> None:
        self.seen.append(f"reader_joined {session.protocol}")

    @hookimpl
    def reader_left(self, stream: Stream, session: Session, reason: str) -> None:
        self.seen.append(f"reader_left {session.protocol}")

    @hookimpl
    def reader_skipped(self, stream: Stream, session: Session, frames: int) -> None:
        self.seen.append(f"reader_skipped {session.protocol} {frames}")

    @hookimpl
    def stream_wanted(self, path: StreamPath) -> None:
        self.seen.append(f"stream_wanted {path}")

    @hookimpl
    def secret(self, path: StreamPath) -> str | None:
        return "sesame" if path == "live/one" else None


class Clumsy(Plugin):
    """Fails in every notice that it takes."""

    name = "clumsy"

    @hookimpl
    def stream_published(self) -> None:
        raise RuntimeError("clumsy")


class Segmenter(Plugin):
    name = "segmenter"

    @hookimpl
    def serves_segments(self) -> bool:
        return True


class Failing(Plugin):
    name = "failing"

    @hookimpl
    def serves_segments(self) -> bool:
        raise RuntimeError("clumsy")


async def test_frames_of_before_are_kept_while_a_plugin_serves_segments() -> None:
    plugins = PluginSet.discover([Failing(), Segmenter()], installed=False)
    async with penstock.Server({"server": {"drain_timeout": 0.0}}, plugins=plugins) as server:
        publisher = await server.streams.publish(server.sessions.add("out", "here"), "live/one")
        track = publisher.add_track(VIDEO, 90_000, Number())
        publisher.tracks_complete()
        stream, number = publisher.stream, 0

        def write() -> tuple[int, int]:
            nonlocal number
            for _ in range(50):
                at = number * NS // 25
                publisher.write(track.id, (b"%d" % number,), pts=at, dts=at, key=number % 25 == 0)
                number += 1
            return len(stream.cached), len(stream.replayed)

        assert write() == (25, 50)
        assert write() == (25, 100)
        await server.disable("segmenter")
        assert write() == (25, 25)
        await server.enable("segmenter")
        assert write() == (25, 75), "from the next key frame on"
        failing = server.plugins.get("failing")
        assert failing is not None
        assert failing.errors


async def test_a_reader_that_skips_is_told_of() -> None:
    witness = Witness()
    limits = {"drain_timeout": 0.0, "max_backlog_seconds": 1.0, "write_window": 0}
    async with penstock.Server(
        {"server": limits}, plugins=PluginSet.discover([witness], installed=False)
    ) as server:
        publisher = await server.streams.publish(server.sessions.add("out", "here"), "live/one")
        track = publisher.add_track(VIDEO, 90_000, Number())
        publisher.tracks_complete()
        async with peers(1, small=True) as (slow,):
            publisher.stream.feed(Lines(padding=5000)).attach(slow.sink, server.sessions.add("in", "there"))
            for n in range(200):
                at = n * 40_000_000
                publisher.write(track.id, (b"%d" % n,), pts=at, dts=at, key=n % 10 == 0)
                await publisher.flush()
                if not n:
                    await slow.lines(b"K0")
            await slow.lines(b"v199")
    told = [line for line in witness.seen if line.startswith("reader_skipped in ")]
    assert len(told) == 1
    assert 100 < int(told[0].rpartition(" ")[2]) < 200


class Name(CodecConfig):
    def __init__(self, name: str) -> None:
        self.name = name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Name) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __str__(self) -> str:
        return self.name


async def test_every_notice_reaches_the_plugins() -> None:
    witness = Witness()
    plugins = PluginSet.discover(extra=[Clumsy(), witness], installed=False)
    async with penstock.Server(plugins=plugins) as server:
        publisher_session = server.sessions.add("out", "here")
        reader_session = server.sessions.add("in", "there")

        async def told(line: str) -> None:
            with anyio.fail_after(5):
                while line not in witness.seen:
                    await anyio.sleep(0.001)

        async def publish() -> None:
            publisher = await server.streams.publish(publisher_session, "live/one")
            track = publisher.add_track(TEST, 1000, Name("a"))
            publisher.tracks_complete()
            await told("reader_joined in")
            publisher.configure(track.id, Name("b"))
            publisher.write(track.id, (b"x",), pts=0)
            publisher.close()

        async def read(tasks: Any) -> None:
            stream = await server.streams.open(reader_session, "live/one")
            async for event in stream.read(reader_session):
                if isinstance(event, penstock.Frame):
                    break

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read, tasks)
            await told("stream_wanted live/one")
            tasks.start_soon(server.run_session, publisher_session, publish)
        server.sessions.remove(reader_session)
        assert server.streams.secret(StreamPath.parse("live/one")) == "sesame"
        assert server.streams.secret(StreamPath.parse("live/two")) is None
    first = [
        "stream_wanted live/one",
        "session_opened out",
        "stream_published live/one",
        "track_added test",
        "reader_joined in",
        "track_changed b",
    ]
    assert witness.seen[: len(first)] == first
    assert set(witness.seen[len(first) :]) >= {"reader_left in", "session_closed out the peer left"}
    assert any(line.startswith("stream_unpublished live/one") for line in witness.seen)
    record = plugins.get("clumsy")
    assert record is not None
    assert record.errors == 1
