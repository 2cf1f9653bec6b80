"""Derived tracks: made of the publisher's for readers that cannot have those, while somebody reads them."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager

import anyio
import pytest
from attrs import define, field

import penstock
from penstock import (
    Codec,
    Derivation,
    DerivedTrack,
    Event,
    Feed,
    Frame,
    Kind,
    Plugin,
    PluginSet,
    Registry,
    StampSink,
    StreamPath,
    Track,
    TrackChanged,
    TrackRemoved,
    Unit,
    hookimpl,
)
from penstock import derived as module
from tests.kernel import feeding
from tests.kernel.segmenting import Lines, text, texts
from tests.kernel.stage import AUDIO, VIDEO, Number, ms, session
from tests.kernel.test_datagram import ports

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("logs")]

LOUD = Codec("test-loud", Kind.AUDIO)
RATE = 1000

Run = Callable[[DerivedTrack], Awaitable[None]]


async def shout(track: DerivedTrack) -> None:
    """Makes capitals of each frame."""
    while events := await track.read():
        for event in events:
            if isinstance(event, Frame):
                track.write((event.units[0].upper(),), pts=event.pts)
        await track.flush()


class Maker(Plugin):
    """Offers to make LOUD of AUDIO by `run`."""

    name = "maker"

    def __init__(self, run: Run = shout) -> None:
        self.runs = 0
        self.stopped = 0
        self._run = run

    @hookimpl
    def register(self, registry: Registry) -> None:
        for codec in (VIDEO, AUDIO, LOUD):
            registry.add(codec)

    @hookimpl
    def derive(self, track: Track) -> Iterable[Derivation]:
        return [Derivation(LOUD, RATE, Number(7), self.make)] if track.codec is AUDIO else []

    @hookimpl
    def serves_segments(self) -> bool:
        return True

    async def make(self, track: DerivedTrack) -> None:
        self.runs += 1
        try:
            await self._run(track)
        finally:
            self.stopped += 1


class Wrong(Plugin):
    """Offers what is no offer."""

    name = "wrong"

    @hookimpl
    def derive(self) -> Iterable[Derivation]:
        return ["opus"]  # type: ignore[list-item]


@define
class Pad:
    """A muxer that writes down what it gets of sound, and of tracks that go."""

    key: str = "pad"
    seen: list[str] = field(factory=list[str])

    def mux(self, event: Event) -> Sequence[Unit]:
        if isinstance(event, Frame) and event.track.kind is Kind.AUDIO:
            self.seen.append(event.units[0].decode())
        elif isinstance(event, TrackRemoved):
            self.seen.append(f"without {event.track.codec.name}")
        return ()

    def config(self, track: Track, time: int) -> Unit | None:
        return None


class Stage:
    """A server with a publisher of a picture and sound, every 40 ms."""

    def __init__(self, server: penstock.Server, publisher: penstock.Publisher) -> None:
        self.server = server
        self.publisher = publisher
        self.stream = publisher.stream
        self.video = publisher.add_track(VIDEO, 90_000, Number())
        self.audio = publisher.add_track(AUDIO, RATE, Number())
        publisher.tracks_complete()
        self.number = 0

    def write(self, count: int) -> None:
        for _ in range(count):
            at, name = ms(40 * self.number), b"s%d" % self.number
            self.publisher.write(self.video.id, (b"x",), pts=at, dts=at, key=self.number % 10 == 0)
            self.publisher.write(self.audio.id, (name,), pts=at)
            self.number += 1

    async def loud(self, name: str = "pad") -> tuple[Feed, Pad, tuple[Track, ...]]:
        """A reader's feed that has no AUDIO, but LOUD."""
        tracks = await self.stream.tracks_for(lambda track: track.codec is not AUDIO)
        pad = Pad(name)
        return self.stream.feed(pad, tracks=tracks), pad, tracks

    async def until(self, done: Callable[[], bool]) -> None:
        with anyio.fail_after(3):
            while not done():
                await anyio.sleep(0.001)


@asynccontextmanager
async def staged(*plugins: Plugin) -> AsyncGenerator[Stage]:
    async with penstock.Server(
        {"server": {"drain_timeout": 0.0}}, plugins=PluginSet.discover(plugins, installed=False)
    ) as server:
        session = server.sessions.add("out", "here")
        yield Stage(server, await server.streams.publish(session, "live/one"))


async def test_it_is_made_once_for_all_who_cannot_have_the_source() -> None:
    """From the key frame on, with which they begin; whoever can have the source is told of nothing."""
    maker = Maker()
    async with staged(Wrong(), maker) as stage:
        stage.write(13)
        plain = Pad("plain")
        stage.stream.feed(plain)
        feed, pad, tracks = await stage.loud()
        assert [t.codec.name for t in tracks] == ["test-video", "test-loud"]
        assert (tracks[1].source, tracks[1].config) == (stage.audio.id, Number(7))
        assert pad.seen == ["s10", "S10", "s11", "S11", "s12", "S12"]
        assert tracks[1] in feed.tracks
        stage.write(2)
        await stage.until(lambda: "S14" in pad.seen)
        other, second, again = await stage.loud("other")
        assert (maker.runs, again) == (1, tracks)
        assert {"S10", "S14"} <= set(second.seen)
        assert other is not feed
        assert plain.seen == ["s10", "s11", "s12", "s13", "s14"]
        assert stage.stream.tracks == (stage.video, stage.audio), "it is nobody's who did not ask"
        assert stage.server.plugins.get("wrong").errors  # type: ignore[union-attr]


async def test_the_ingest_does_not_sleep_on_what_sound_is_made_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read with a picture is made anew when that has gone: it would wait for the picture after it as well."""
    monkeypatch.setattr("penstock.datagram.RIDERS", 1)
    async with staged(Maker()) as stage, ports(1) as (spawn, sock, (port,)):
        stage.write(1)
        _, _, tracks = await stage.loud()
        feeds = stage.stream.feed(feeding.Lines("of both"), tracks=tracks), stage.stream.feed(feeding.Lines())
        for feed in feeds:
            feed.attach(StampSink(sock, port.address, lambda units: (), spawn), session())
        await stage.until(lambda: all(reader.state == "ready" for feed in feeds for reader in feed.readers))
        stage.write(1)
        await stage.publisher.flush()
        made, plain = (feed.rest_until for feed in feeds)
        assert made == 0
        assert plain > time.monotonic_ns()


async def test_who_can_have_the_source_or_has_another_sound_asks_for_none() -> None:
    maker = Maker()
    async with staged(maker) as stage:
        stage.write(3)
        assert await stage.stream.tracks_for(lambda _: True) == stage.stream.tracks
        spoken = stage.publisher.add_track(LOUD, RATE, Number())
        assert await stage.stream.tracks_for(lambda t: t.codec is not AUDIO) == stage.stream.tracks
        assert spoken in stage.stream.tracks
        nothing = await stage.stream.tracks_for(lambda t: t.kind is not Kind.AUDIO)
        assert (nothing, maker.runs) == (stage.stream.tracks, 0)


async def test_it_stops_after_its_last_reader_and_begins_again() -> None:
    maker = Maker()
    async with staged(maker) as stage:
        stage.write(12)
        feed, _, tracks = await stage.loud()
        now = 1e9
        stage.stream.drop_idle(now)
        assert not maker.stopped, "it is being read"
        stage.stream.drop(feed)
        stage.stream.drop_idle(now + module.LINGER_SECONDS)
        assert not maker.stopped, "its reader has only just left"
        stage.stream.drop_idle(now + module.LINGER_SECONDS + 1)
        await stage.until(lambda: maker.stopped == 1)
        _, pad, again = await stage.loud()
        assert (maker.runs, again) == (2, tracks)
        assert "S11" in pad.seen
        stage.publisher.close()
        stage.stream.end("over")
        await stage.until(lambda: maker.stopped == 2)
        (derived,) = stage.stream.derived
        derived.stop()
        assert await derived.read() == [], "it is stopped"


async def test_one_that_fails_is_left_out_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stream goes on all the while; who comes meanwhile is given the source, as if nobody offered anything."""
    monkeypatch.setattr(module, "RESTART_SECONDS", (0.02,))
    broken = True

    async def clumsy(track: DerivedTrack) -> None:
        if broken:
            await track.read()
            raise RuntimeError("clumsy")
        await shout(track)

    maker = Maker(clumsy)
    async with staged(maker) as stage:
        stage.write(3)
        tracks = await stage.stream.tracks_for(lambda t: t.codec is not AUDIO)
        assert tracks == stage.stream.tracks
        broken = False
        await stage.until(lambda: maker.runs >= 2)
        stage.write(1)
        await stage.until(lambda: not [d for d in stage.stream.derived if d.failed])
        _, pad, tracks = await stage.loud()
        assert [t.codec.name for t in tracks] == ["test-video", "test-loud"]
        assert "S3" in pad.seen


async def test_one_that_ends_too_early_has_failed() -> None:
    async def lazy(track: DerivedTrack) -> None:
        await track.read()

    async with staged(Maker(lazy)) as stage:
        stage.write(3)
        assert await stage.stream.tracks_for(lambda t: t.codec is not AUDIO) == stage.stream.tracks


async def test_one_that_is_too_slow_misses_frames_and_holds_up_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 5)
    go = anyio.Event()

    async def slow(track: DerivedTrack) -> None:
        first = await track.read()
        assert len(first) == 3
        waiting = len(await track.read())
        await go.wait()
        assert waiting == 1
        assert len(await track.read()) == 5
        await anyio.sleep_forever()

    async with staged(Maker(slow)) as stage:
        stage.write(3)
        await stage.loud()
        stage.write(1)
        await anyio.wait_all_tasks_blocked()
        stage.write(20)
        go.set()
        await anyio.wait_all_tasks_blocked()
        assert [d.failed for d in stage.stream.derived] == [""]
        stage.publisher.close()
        stage.stream.end("over")


async def test_one_that_is_never_without_work_is_read_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is a little too slow: what it makes is there, and moves less smoothly."""
    monkeypatch.setattr(module, "START_SECONDS", 1.0)
    stages: list[Stage] = []

    async def busy(track: DerivedTrack) -> None:
        while events := await track.read():
            await anyio.sleep(0.002)
            stages[0].write(1)
            for event in events:
                if isinstance(event, Frame):
                    track.write((event.units[0].upper(),), pts=event.pts)

    async with staged(Maker(busy)) as stage:
        stages.append(stage)
        stage.write(3)
        assert not stage.stream.derived.pending(lambda track: True)
        tracks = await stage.stream.tracks_for(lambda track: track.codec is not AUDIO)
        assert [track.codec.name for track in tracks] == ["test-video", "test-loud"]
        (derived,) = stage.stream.derived
        assert derived.frames[0].units == (b"S0",)
        assert stage.stream.derived.pending(lambda track: track is derived.track)
        assert not stage.stream.derived.pending(lambda track: False)
        derived.stop()
        assert not stage.stream.derived.pending(lambda track: True)


async def test_what_can_be_made_is_told_without_making_it() -> None:
    maker = Maker()
    async with staged(maker) as stage:
        assert stage.stream.derivable(stage.audio) == (LOUD,)
        assert stage.stream.derivable(stage.video) == ()
        assert maker.runs == 0


async def test_times_only_go_up_and_it_goes_with_its_source() -> None:
    async def stutter(track: DerivedTrack) -> None:
        while events := await track.read():
            for event in events:
                if isinstance(event, Frame):
                    track.write((event.units[0].upper(),), pts=event.pts)
                    track.write((b"late",), pts=event.pts - 1)
            await track.flush()

    async with staged(Maker(stutter)) as stage:
        stage.write(2)
        _, pad, _ = await stage.loud()
        assert pad.seen == ["s0", "S0", "s1", "S1"]
        frames = stage.stream.read()
        stage.publisher.close("gone")
        again = await stage.server.streams.publish(stage.server.sessions.add("out", "here"), "live/one")
        again.add_track(VIDEO, 90_000, Number())
        again.tracks_complete()
        assert pad.seen[-2:] == ["without test-audio", "without test-loud"]
        assert not list(stage.stream.derived)
        frames.close()


async def test_a_picture_has_key_frames_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who comes begins with the last of them, and who asks for one asks its maker, or else the publisher of its source."""
    small = Codec("test-small", Kind.VIDEO)
    makers: list[DerivedTrack] = []
    asked: list[str] = []

    async def shrink(track: DerivedTrack) -> None:
        makers.append(track)
        number = 0
        while events := await track.read():
            for event in events:
                if isinstance(event, Frame):
                    track.configure(Number(number // 10))
                    track.write((b"p%d" % number,), pts=event.pts, key=number % 4 == 0)
                    number += 1
            await track.flush()

    class Shrinker(Plugin):
        name = "shrinker"

        @hookimpl
        def derive(self, track: Track, path: StreamPath) -> Iterable[Derivation]:
            assert path == "live/one"
            return [Derivation(small, 90_000, Number(), shrink)] if track.codec is VIDEO else []

    @define
    class Screen(Pad):
        def mux(self, event: Event) -> Sequence[Unit]:
            if isinstance(event, Frame) and event.track.codec is small:
                self.seen.append(event.units[0].decode())
            elif isinstance(event, TrackChanged):
                self.seen.append(f"as {event.track.config}")
            return ()

    async with staged(Maker(), Shrinker()) as stage:
        stream = stage.stream
        stage.publisher.on_key_frame_request = lambda track: asked.append(f"publisher of {track.id}")
        stage.write(7)
        tracks = await stream.tracks_for(lambda t: t.codec is not VIDEO)
        assert tracks[0].source == stage.video.id
        screen = Screen("screen")
        feed = stream.feed(screen, tracks=tracks)
        assert screen.seen == ["p4", "p5", "p6"]
        stage.write(4)
        await stage.until(lambda: "p10" in screen.seen)
        assert screen.seen[3:] == ["p7", "p8", "p9", f"as {Number(1)}", "p10"]
        assert [t.config for t in feed.tracks if t.codec is small] == [Number(1)]
        stream.request_key_frame(tracks[0])
        makers[0].on_key_frame_request = lambda: asked.append("maker")
        monkeypatch.setattr("penstock.wishes.KEY_REQUEST_NS", 0)
        stream.request_key_frame(tracks[0])
        assert asked == [f"publisher of {stage.video.id}", "maker"]


async def test_segments_have_what_is_made_for_them() -> None:
    """From as far back as they go, for as long as they are kept; a store that was there without it gets it, too."""
    maker = Maker()
    async with staged(maker) as stage:
        stream = stage.stream
        stage.write(60)
        lines = Lines(unknown=frozenset({AUDIO}))
        plain = stream.segments(Lines("plain"))
        late = stream.segments(Lines("late", unknown=frozenset({AUDIO})))
        store = await stream.segments_for(lines)
        assert await stream.segments_for(Lines("plain")) is plain
        assert [r.tracks[0].codec.name for r in store.renditions.values()] == ["test-video", "test-loud"]
        assert not store.left_out
        first = stream.replayed[0].dts
        assert first < stream.cached[0].dts
        stage.write(60)
        await stage.until(
            lambda: any("S119" in frame.units[0].decode() for d in stream.derived for frame in d.frames)
        )
        _, sound = store.renditions.values()
        begun = text(sound.segments[0]).split()[0]
        assert begun == f"aS{first // ms(40) - 25}"
        assert "aS90" in " ".join(texts(sound))
        assert not [name for name in " ".join(texts(sound)).split() if not name.startswith("aS")]
        assert "test-loud" not in [r.tracks[0].codec.name for r in plain.renditions.values()]
        (loud,) = stream.derived
        assert not late.has(loud.track)
        await stream.segments_for(Lines("late", unknown=frozenset({AUDIO})))
        assert late.has(loud.track)
        now = 1e9
        for kept in (plain, late):
            kept.asked = -now
        stream.derived.stop_idle(now)
        stream.derived.stop_idle(now + module.LINGER_SECONDS + 1)
        await anyio.wait_all_tasks_blocked()
        assert not maker.stopped
        store.asked = -now
        stream.drop_idle(now + module.LINGER_SECONDS + 2)
        stream.drop_idle(now + 2 * module.LINGER_SECONDS + 3)
        await stage.until(lambda: maker.stopped == 1)
        stage.publisher.close()
        stream.end("over")
        assert (await stream.segments_for(lines)).ended
