"""Feeds and their readers at real sockets: joining, lagging, leaving, and what one reader's bug is to the others."""

from __future__ import annotations

import time
from collections.abc import MutableMapping, Sequence
from itertools import pairwise
from typing import Any

import anyio
import pytest

from penstock import lanes
from penstock.errors import Closed, Denied
from penstock.feed import Cursor
from penstock.media import NS, Event, Track, TrackChanged
from penstock.ring import Bounds, Unit
from penstock.stream import StreamOptions
from tests.kernel.feeding import Lines, Peer, Source, peers, pictures
from tests.kernel.stage import AUDIO, Number, ms, publish, session, stream_of

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("logs")]


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


async def test_who_gets_no_picture_waits_for_none() -> None:
    """The muxer leaves it out: there will be no unit to begin or go on with."""

    class Sound(Lines):
        left_out: dict[int, str]

        def mux(self, event: Event) -> Sequence[Unit]:
            return [unit for unit in super().mux(event) if not unit.video]

    source = Source(StreamOptions(window=0, bounds=Bounds(frames=8)))
    asked: list[Track] = []
    source.publisher.on_key_frame_request = asked.append
    muxer = Sound("sound")
    muxer.left_out = {source.video.id: "not asked for"}
    await source.send(3)
    feed = source.stream.feed(muxer)
    assert not feed.has_video
    async with peers(small=True) as (peer,):
        reader = feed.attach(peer.sink, session())
        await source.send(1)
        assert await peer.lines(b"a3") == ["a3"]
        muxer.padding = 50_000
        await source.send(30)
        muxer.padding = 0
        assert await peer.lines(b"a4") == ["a4"]
        await source.send(1)
        assert await peer.lines(b"a34") == ["a34"]
        assert reader.skipped[source.audio.id] > 0
    assert not asked


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


async def test_without_grace_a_stream_ends_when_what_has_gathered_is_gone() -> None:
    """Sound waits for the next picture: where none comes any more, it goes out all the same."""
    source = Source(StreamOptions(window=None, reconnect_grace=0))
    async with peers() as (peer,):
        feed = source.feed()
        feed.attach(peer.sink, session())
        await source.send(1)
        source.publisher.write(source.audio.id, (b"1",), pts=ms(40))
        await source.publisher.flush()
        source.publisher.close("gone")
        assert not source.stream.ended
        assert feed in source.host.late_feeds
        assert feed.due_at == 0
        # The server's look comes before the flush, where the end came in one read with the last frames.
        source.stream.end_if_left(time.monotonic() + 1)
        assert not source.stream.ended
        await feed.flush(time.monotonic_ns())
        assert await peer.lines() == ["K0", "a0", "a1"]
        source.stream.end_if_left(time.monotonic() + 1)
        assert source.stream.ended


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
            quick += await fast.lines(b"a%d" % (source.number - 1))
        assert [line for line in quick if line[0] != "a"] == pictures(0, 300)
        assert reader.state == "lagging"
        got = await slow.lines(b"a299")
        shown = [int(line[1:]) for line in got if line[0] in "vK"]
        gaps = [(a, b) for a, b in pairwise(shown) if b != a + 1]
        assert shown[-1] == 299
        assert len(gaps) == 1
        assert gaps[0][1] % 10 == 0
        missed = gaps[0][1] - gaps[0][0] - 1
        assert reader.skipped[source.video.id] == missed
        assert 0 < reader.skipped[source.audio.id] <= missed + 1
        told = [a["frames"] for hook, a in source.host.told if hook == "reader_skipped"]
        assert told == [sum(reader.skipped.values())]
        await source.send(1)
        assert await slow.lines(b"a300") == ["K300", "a300"]
        assert reader.state == "ready"


async def test_who_skips_is_told_of_the_config_that_it_missed() -> None:
    source = Source(StreamOptions(window=0, max_backlog=1.0))
    async with peers(1, small=True) as (slow,):
        source.feed(padding=2000).attach(slow.sink, session())
        await source.send(40, sound=False)
        source.publisher.configure(source.video.id, Number(5))
        await source.send(100, sound=False)
        got = await slow.lines(b"v139")
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


async def test_a_muxer_that_cannot_go_on_lets_its_readers_go_with_its_reason(
    logs: list[MutableMapping[str, Any]],
) -> None:
    source = Source()

    class Ending(Lines):
        def mux(self, event: Event) -> Sequence[Unit]:
            if isinstance(event, TrackChanged):
                raise Closed("that cannot be told")
            return super().mux(event)

    async with peers() as (peer,):
        await source.send(1)
        why: list[str] = []
        feed = source.stream.feed(Ending())
        feed.attach(peer.sink, session(), on_end=why.append)
        source.publisher.configure(source.video.id, Number(2))
        assert why == ["that cannot be told"]
        assert feed not in source.stream.feeds
        await source.send(1)
    assert not logs, "it is no bug"
