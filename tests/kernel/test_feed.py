"""Feeds and their readers at real sockets: joining, lagging, leaving, and what one reader's bug is to the others."""

from __future__ import annotations

import socket
import time
from collections.abc import AsyncGenerator, Generator, Hashable, Sequence
from contextlib import asynccontextmanager, contextmanager
from itertools import pairwise
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from attrs import define, field

from penstock import lanes
from penstock.errors import Denied
from penstock.feed import Cursor, Feed, Reader
from penstock.media import NS, Event, Frame, Kind, Track
from penstock.publisher import Publisher
from penstock.ring import Bounds, Unit
from penstock.sink import ByteSink
from penstock.stream import Stream, StreamOptions
from tests.kernel.stage import AUDIO, VIDEO, Host, Number, ms, publish, session, stream_of

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("logs")]


@define
class Lines:
    """A muxer of a line for each frame: ``v12`` or ``a12``, a key frame as ``K12``; a config as ``c1``."""

    key: Hashable = "lines"
    told: int | None = None
    padding: int = 0

    def mux(self, event: Event) -> Sequence[Unit]:
        if not isinstance(event, Frame):
            return ()
        video = event.track.kind is Kind.VIDEO
        config = Number.of(event.track.config).number
        line = (b"K" if video and event.key else b"v" if video else b"a") + event.units[0]
        unit = Unit(
            event.track, (line + b"." * self.padding, b"\n"), event.dts, key=video and event.key, video=video
        )
        changed, self.told = video and self.told not in (None, config), config if video else self.told
        told = self.config(event.track, event.dts) if changed else None
        return (unit,) if told is None else (told, unit)

    def config(self, track: Track, time: int) -> Unit | None:
        if track.kind is not Kind.VIDEO:
            return None
        return Unit(track, (b"c%d\n" % Number.of(track.config).number,), time, config=True)


@define
class Source:
    """Pictures 40 ms apart with sound beside each, a key frame every `gop`."""

    options: StreamOptions = field(factory=lambda: StreamOptions(window=0))
    gop: int = 10
    host: Host = field(factory=Host)
    number: int = 0
    stream: Stream = field(init=False)
    publisher: Publisher = field(init=False)
    video: Track = field(init=False)
    audio: Track = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.stream = stream_of(self.options, self.host)
        self.publisher = publish(self.stream)
        self.video = self.publisher.add_track(VIDEO, 90_000, Number())
        self.audio = self.publisher.add_track(AUDIO, 1000, Number())
        self.publisher.tracks_complete()

    def write(self, count: int, *, sound: bool = True) -> None:
        for _ in range(count):
            n = self.number
            self.number += 1
            at = ms(40 * n)
            self.publisher.write(self.video.id, (b"%d" % n,), pts=at, dts=at, key=n % self.gop == 0)
            if sound:
                self.publisher.write(self.audio.id, (b"%d" % n,), pts=at)

    async def send(self, count: int, *, sound: bool = True) -> None:
        """Each frame flushed as it comes."""
        for _ in range(count):
            self.write(1, sound=sound)
            await self.publisher.flush()

    def feed(self, **options: Any) -> Feed:
        return self.stream.feed(Lines(**options))


@define
class Peer:
    """A sink at one end of a connection, and what came at the other."""

    sink: ByteSink
    far: socket.socket

    async def lines(self, until: bytes = b"") -> list[str]:
        """What has come, up to a line if one is named, else all that comes within a moment."""
        got = b""
        with anyio.move_on_after(3 if until else 0.05):
            while not until or not got.endswith(until + b"\n"):
                await anyio.wait_readable(self.far)
                data = self.far.recv(1 << 20)
                if not data:
                    break
                got += data
        return got.decode().replace(".", "").splitlines()


@asynccontextmanager
async def peers(
    count: int = 1, *, small: bool = False, stall_timeout: float = 5
) -> AsyncGenerator[list[Peer]]:
    made: list[Peer] = []
    try:
        async with anyio.create_task_group() as tasks:
            for _ in range(count):
                near, far = socket.socketpair()
                near.setblocking(False)
                far.setblocking(False)
                if small:
                    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
                made.append(Peer(ByteSink(near, tasks.start_soon, stall_timeout), far))
            yield made
            tasks.cancel_scope.cancel()
    finally:
        for peer in made:
            peer.sink.sock.close()
            peer.far.close()


def pictures(first: int, last: int, gop: int = 10) -> list[str]:
    return [f"{'v' if n % gop else 'K'}{n}" for n in range(first, last)]


async def test_born_with_the_cache_and_its_reader_is_at_the_newest_key_frame() -> None:
    source = Source()
    await source.send(25, sound=False)
    async with peers() as (peer,):
        reader = source.feed().attach(peer.sink, session())
        assert await peer.lines(b"v24") == pictures(20, 25)
        await source.send(3, sound=False)
        assert await peer.lines(b"v27") == pictures(25, 28)
        assert reader.bytes_out == sum(len(line) + 1 for line in pictures(20, 28))
        assert reader.session.bytes_out == reader.bytes_out
        assert reader.skipped == {}


async def test_live_is_now() -> None:
    source = Source()
    await source.send(25, sound=False)
    async with peers() as (peer,):
        source.feed().attach(peer.sink, session(), start="live")
        assert await peer.lines() == []
        await source.send(2, sound=False)
        assert await peer.lines(b"v26") == ["v25", "v26"]


async def test_without_a_key_frame_at_hand_the_next_is_waited_for() -> None:
    """And asked for, where the publisher can act on that."""
    source = Source(StreamOptions(window=0, bounds=Bounds(frames=15)))
    asked: list[Track] = []
    source.publisher.on_key_frame_request = asked.append
    await source.send(18, sound=False)
    source.stream.feed(Lines())
    source.gop = 1 << 30
    await source.send(20, sound=False)
    assert source.stream.cached_bytes == 0, "the group of pictures is longer than the cache"
    async with peers() as (peer,):
        reader = source.feed().attach(peer.sink, session())
        assert reader.state == "waiting"
        assert asked == [source.video]
        await source.send(3, sound=False)
        assert await peer.lines() == []
        source.gop = source.number
        await source.send(2, sound=False)
        assert await peer.lines(b"v42") == ["K41", "v42"]


async def test_a_key_frame_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "KEY_WAIT", 0.05)
    source = Source(gop=1 << 30)
    source.number = 1
    await source.send(3, sound=False)
    async with peers() as (peer,):
        source.feed().attach(peer.sink, session())
        await source.send(1, sound=False)
        assert await peer.lines() == []
        await anyio.sleep(0.06)
        await source.send(2, sound=False)
        assert await peer.lines(b"v6") == ["v5", "v6"]


async def test_sound_alone_is_joined_anywhere() -> None:
    stream = stream_of(StreamOptions(window=0))
    publisher = publish(stream)
    track = publisher.add_track(AUDIO, 1000, Number())
    publisher.tracks_complete()
    async with peers() as (peer,):
        reader = stream.feed(Lines()).attach(peer.sink, session())
        for n in range(3):
            publisher.write(track.id, (b"%d" % n,), pts=ms(20 * n))
            await publisher.flush()
        assert await peer.lines(b"a2") == ["a0", "a1", "a2"]
        assert reader.state == "ready"


async def test_the_start_reply_tells_what_is_true_at_the_cursor() -> None:
    source = Source()
    await source.send(5)
    seen: list[Any] = []

    def preamble(cursor: Cursor) -> bytes:
        first = cursor.first_frame(source.video.id)
        assert first is not None
        assert cursor.first(source.audio.id) is not None
        assert cursor.first(99) is None
        seen.append((cursor.time, [Number.of(t.config).number for t in cursor.tracks], first.time))
        return b"hello\n"

    async with peers() as (peer,):
        feed = source.feed()
        source.publisher.configure(source.video.id, Number(1))
        source.write(1)
        feed.attach(peer.sink, session(), preamble=preamble)
        assert seen == [(NS, [0, 0], NS)]
        got = await peer.lines(b"a5")
        assert got[:3] == ["hello", "K0", "a0"]
        assert got[-4:] == ["a4", "c1", "v5", "a5"]
        assert got.count("c1") == 1


async def test_a_start_reply_that_fails_leaves_nothing() -> None:
    source = Source()
    await source.send(5)

    def preamble(cursor: Cursor) -> bytes:
        raise KeyError("a bug")

    async with peers() as (peer,):
        feed = source.feed()
        with pytest.raises(KeyError):
            feed.attach(peer.sink, session(), preamble=preamble)
        assert (feed.readers, source.stream.readers, peer.sink.closed) == (set(), 0, "")
        # The peer may be given something else.
        source.feed().attach(peer.sink, session())
        assert (await peer.lines(b"a4"))[0] == "K0"


async def test_readers_are_bounded_also_where_they_come_at_once() -> None:
    source = Source(StreamOptions(window=0, max_readers=1))
    async with peers(2) as (one, two):
        with source.feed().attach(one.sink, session()):
            with pytest.raises(Denied, match="has its 1 readers already"):
                source.feed(key="another").attach(two.sink, session())
            assert [feed.muxer.key for feed in source.stream.feeds] == ["lines"], (
                "a feed for nobody is dropped"
            )
        source.feed().attach(two.sink, session())


async def test_attached_to_what_has_ended() -> None:
    source = Source()
    feed = source.feed()
    source.publisher.close("gone")
    async with peers() as (peer,):
        told: list[str] = []
        reader = feed.attach(peer.sink, session(), on_end=told.append)
        assert (reader.state, told) == ("closed", ["gone"])
        one = session()
        feed.attach(peer.sink, one)
        assert one.reason == "gone"


async def test_attached_with_a_sink_that_is_closed() -> None:
    source = Source()
    async with peers() as (peer,):
        peer.sink.close("broken")
        told: list[str] = []
        reader = source.feed().attach(peer.sink, session(), on_end=told.append)
        assert (reader.state, told, source.stream.readers) == ("closed", ["broken"], 0)


async def test_pour_ends_with_the_stream_or_the_sink() -> None:
    for end, reason in (("stream", "gone"), ("sink", "broken")):
        source = Source(StreamOptions(window=0, reconnect_grace=0))
        got: list[str] = []

        async def pour(peer: Peer, source: Source = source, got: list[str] = got) -> None:
            got.append(await source.feed().pour(peer.sink, session()))

        async with peers() as (peer,), anyio.create_task_group() as tasks:
            tasks.start_soon(pour, peer)
            await anyio.wait_all_tasks_blocked()
            assert source.stream.readers == 1
            if end == "stream":
                source.publisher.close("gone")
            else:
                peer.sink.close("broken")
        assert got == [reason]
        assert source.stream.readers == 0


async def test_a_callback_that_fails_is_not_felt_by_the_others() -> None:
    """All readers are told of the end, whatever the first one's callback does."""
    source = Source(StreamOptions(window=0, reconnect_grace=0))
    told: list[str] = []

    def fails(reason: str) -> None:
        raise RuntimeError("a bug")

    async with peers(3) as (one, two, three):
        feed = source.feed()
        feed.attach(one.sink, session(), on_end=told.append)
        feed.attach(two.sink, session(), on_end=fails)
        feed.attach(three.sink, session(), on_end=told.append)
        source.publisher.close("gone")
        assert told == ["gone", "gone"]
        assert source.stream.ended
        assert source.host.gone_streams == [source.stream]


async def test_a_reader_that_leaves_takes_nothing_with_it() -> None:
    source = Source()
    await source.send(3, sound=False)
    async with peers(2) as (one, two):
        feed = source.feed()
        with feed.attach(one.sink, session()):
            feed.attach(two.sink, session())
            await one.lines(b"v2")
        await source.send(2, sound=False)
        assert await one.lines() == []
        assert await two.lines(b"v4") == pictures(0, 5)
        assert one.sink.closed == "", "a sink outlives its reader"
        assert source.host.hooks.count("reader_left") == 1


async def test_the_last_reader_takes_the_feed_with_it() -> None:
    source = Source()
    await source.send(3)
    async with peers() as (peer,):
        feed = source.feed()
        reader = feed.attach(peer.sink, session())
        assert source.stream.feeds == (feed,)
        reader.detach()
        reader.detach()
        assert len(source.stream.feeds) == 0
        assert (feed.ring.bytes, feed.ring.end - feed.ring.start) == (0, 0)


async def test_a_reader_that_cannot_keep_up_skips_to_a_key_frame() -> None:
    """It is counted for each track; the others have had everything meanwhile."""
    source = Source(StreamOptions(window=0, max_backlog=1.0))
    async with peers(1, small=True) as (slow,), peers(1) as (fast,):
        feed = source.feed(padding=2000)
        reader = feed.attach(slow.sink, session())
        feed.attach(fast.sink, session())
        quick: list[str] = []
        for _ in range(30):
            await source.send(10)
            quick += await fast.lines(b"a%d" % (source.number - 1) + b"." * 2000)
        assert [line for line in quick if line[0] != "a"] == pictures(0, 300)
        assert reader.state == "lagging"
        got = await slow.lines(b"a299" + b"." * 2000)
        shown = [int(line[1:]) for line in got if line[0] in "vK"]
        gaps = [(a, b) for a, b in pairwise(shown) if b != a + 1]
        assert shown[-1] == 299
        assert len(gaps) == 1
        assert gaps[0][1] % 10 == 0
        missed = gaps[0][1] - gaps[0][0] - 1
        assert reader.skipped[source.video.id] == missed
        assert 0 < reader.skipped[source.audio.id] <= missed + 1
        await source.send(1)
        assert await slow.lines(b"a300" + b"." * 2000) == ["K300", "a300"]
        assert reader.state == "ready"


async def test_who_skips_is_told_of_the_config_that_it_missed() -> None:
    source = Source(StreamOptions(window=0, max_backlog=1.0))
    async with peers(1, small=True) as (slow,):
        source.feed(padding=2000).attach(slow.sink, session())
        await source.send(40, sound=False)
        source.publisher.configure(source.video.id, Number(5))
        await source.send(100, sound=False)
        got = await slow.lines(b"v139" + b"." * 2000)
        at = got.index("c5")
        assert got.count("c5") == 1
        assert got[at + 1][0] == "K"
        assert int(got[at + 1][1:]) >= 40


async def test_who_takes_nothing_is_closed_with_a_reason() -> None:
    source = Source()
    async with peers(1, small=True, stall_timeout=0.2) as (stuck,), peers(1) as (other,):
        feed = source.feed(padding=20_000)
        one = session()
        feed.attach(stuck.sink, one)
        feed.attach(other.sink, session())
        await source.send(20, sound=False)
        with anyio.fail_after(3):
            while not one.reason:
                await anyio.sleep(0.01)
        assert one.reason == "the peer took no data for 0.2 s"
        assert source.stream.readers == 1


async def test_a_connection_that_broke_is_its_readers_end() -> None:
    source = Source()
    async with peers(2) as (gone, other):
        feed = source.feed()
        one = session()
        feed.attach(gone.sink, one)
        feed.attach(other.sink, session())
        await source.send(1, sound=False)
        await gone.lines(b"K0")
        gone.far.close()
        await source.send(2, sound=False)
        assert one.reason
        assert await other.lines(b"v2") == pictures(0, 3)


@contextmanager
def counting(peer: Peer) -> Generator[list[bytes]]:
    """The writes to a peer's socket."""
    writes: list[bytes] = []
    real = peer.sink.sock.send

    def send(data: bytes | memoryview) -> int:
        writes.append(bytes(data))
        return real(data)

    peer.sink.send = send
    yield writes


async def test_sound_rides_with_the_next_picture() -> None:
    """The default: as many writes as pictures, and none of them late."""
    source = Source(StreamOptions(window=None))
    async with peers() as (peer,):
        with counting(peer) as writes:
            source.feed().attach(peer.sink, session())
            await source.send(1)
            await peer.lines(b"a0")
            writes.clear()
            for n in range(1, 10):
                at = ms(40 * n)
                source.publisher.write(source.audio.id, (b"%d" % n,), pts=at)
                await source.publisher.flush()
                source.publisher.write(source.video.id, (b"%d" % n,), pts=at, dts=at, key=False)
                await source.publisher.flush()
        assert writes == [b"a%d\nv%d\n" % (n, n) for n in range(1, 10)]


async def test_sound_does_not_wait_for_a_picture_that_never_comes() -> None:
    source = Source(StreamOptions(window=None))
    await source.send(1, sound=False)
    async with peers() as (peer,):
        with counting(peer) as writes:
            feed = source.feed()
            feed.attach(peer.sink, session())
            await peer.lines(b"K0")
            writes.clear()
            source.publisher.write(source.audio.id, (b"1",), pts=ms(40))
            await source.publisher.flush()
            assert writes == []
            assert source.host.late_feeds[-1] is feed, "the server looks after it"
            due = feed.due_at
            assert due is not None
            assert 0 < due - time.monotonic_ns() <= lanes.PICTURE_WAIT_NS
            await anyio.sleep(0.05)
            await feed.flush(time.monotonic_ns())
            assert writes == [b"a1\n"]
            assert feed.due_at is None


@pytest.mark.parametrize("window", [0.0, 50.0])
async def test_a_window_of_milliseconds(window: float) -> None:
    """0 writes each frame as it comes; more lets frames gather, and the ingest may sleep meanwhile."""
    source = Source(StreamOptions(window=window))
    await source.send(1, sound=False)
    async with peers() as (peer,):
        with counting(peer) as writes:
            feed = source.feed()
            feed.attach(peer.sink, session())
            await peer.lines(b"K0")
            writes.clear()
            before = time.monotonic()
            for _ in range(4):
                source.write(1, sound=False)
                await source.publisher.flush(rest=True)
            took = time.monotonic() - before
            if not window:
                assert writes == [b"v1\n", b"v2\n", b"v3\n", b"v4\n"]
                assert feed.rest_until == 0
            else:
                assert len(writes) == 4
                assert took > 0.09, "each pass is behind the window of the one before"


async def test_frames_that_come_at_once_gather_in_a_window() -> None:
    source = Source(StreamOptions(window=50.0))
    await source.send(1, sound=False)
    async with peers() as (peer,):
        with counting(peer) as writes:
            feed = source.feed()
            feed.attach(peer.sink, session())
            await peer.lines(b"K0")
            source.write(1, sound=False)
            await source.publisher.flush()
            writes.clear()
            for _ in range(5):
                source.write(1, sound=False)
                await source.publisher.flush()
            assert writes == []
            await anyio.sleep(0.06)
            await source.publisher.flush()
            assert writes == [b"v2\nv3\nv4\nv5\nv6\n"]


async def test_control_bytes_come_between_frames_and_before_those_behind_them() -> None:
    source = Source()
    async with peers(1, small=True) as (peer,):
        source.feed(padding=3000).attach(peer.sink, session())
        for n in range(10):
            await source.send(1, sound=False)
            peer.sink.control(b"reply%d\n" % n)
        got = await peer.lines(b"reply9")
        assert [line for line in got if line[0] != "r"] == pictures(0, 10)
        replies = [line for line in got if line[0] == "r"]
        assert replies == [f"reply{n}" for n in range(10)]


async def test_a_peer_that_asks_and_never_reads_is_closed() -> None:
    source = Source()
    async with peers(1, small=True) as (peer,):
        one = session()
        source.feed().attach(peer.sink, one)
        for _ in range(100):
            peer.sink.control(bytes(30_000))
            await anyio.lowlevel.checkpoint()
        assert one.reason == "the peer asks but does not read"
        peer.sink.control(b"too late")


async def test_readers_come_and_go_in_the_middle_of_a_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pass yields between batches: who leaves or comes meanwhile disturbs nobody, and nothing is torn."""
    monkeypatch.setattr(lanes, "BATCH", 8)
    count = 26
    source = Source(StreamOptions(window=0))
    await source.send(3, sound=False)
    async with peers(count) as all_peers:
        feed = source.feed()
        readers = [feed.attach(peer.sink, session()) for peer in all_peers]
        for peer in all_peers:
            await peer.lines(b"v2")

        async def disturb() -> None:
            readers[5].detach()
            readers[-5].detach()
            all_peers[-1].sink.control(b"reply\n")
            late.append(feed.attach(extra.sink, session()))

        late: list[Reader] = []
        async with peers(1) as (extra,):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(disturb)
                await source.send(1, sound=False)
            await source.send(1, sound=False)
            for n, peer in enumerate(all_peers):
                got = await peer.lines(b"v4") if n not in (5, count - 5) else []
                wanted = ["v3", "v4"] if n not in (5, count - 5) else []
                assert [line for line in got if line != "reply"] == wanted
            assert await extra.lines(b"v4") == pictures(0, 5)
            assert late[0].state == "ready"


async def test_a_feed_that_fails_ends_its_readers_and_not_its_publisher(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = Source()
    async with peers(2) as (one, two):
        first, second = session(), session()
        feed = source.feed()
        feed.attach(one.sink, first)
        source.feed(key="other").attach(two.sink, second)
        await source.send(1, sound=False)

        async def fails() -> None:
            raise RuntimeError("a bug")

        monkeypatch.setattr(feed.lanes[0], "flush", fails)
        await source.send(1, sound=False)
        assert (first.reason, second.reason) == ("internal error", "")
        await source.send(1, sound=False)
        assert await two.lines(b"v2") == pictures(0, 3)
