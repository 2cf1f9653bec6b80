"""A stream: its readers of frames, its life across publishers, and what it does when a muxer fails."""

from __future__ import annotations

import gc
import time
from collections.abc import Hashable, Sequence
from contextlib import aclosing

import anyio
import pytest
import structlog

from penstock.frames import Frames
from penstock.media import NS, Event, Frame, Track
from penstock.publisher import Publisher
from penstock.ring import Bounds, Unit
from penstock.stream import Stream, StreamOptions
from tests.kernel.stage import AUDIO, DATA, VIDEO, Host, Number, ms, publish, session, stream_of

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("logs")]


def feeding(stream: Stream) -> tuple[Publisher, Track, Track]:
    publisher = publish(stream)
    video = publisher.add_track(VIDEO, 90_000, Number())
    audio = publisher.add_track(AUDIO, 48_000, Number())
    publisher.tracks_complete()
    return publisher, video, audio


def write(publisher: Publisher, track: Track, first: int, last: int, gop: int = 10) -> None:
    """Pictures `first` to before `last`, 40 ms apart, each with its number."""
    for n in range(first, last):
        publisher.write(track.id, (b"%d" % n,), pts=ms(40 * n), dts=ms(40 * n), key=n % gop == 0)


def shown(events: Sequence[Event]) -> list[str]:
    return [e.units[0].decode() if isinstance(e, Frame) else type(e).__name__ for e in events]


async def take(frames: Frames, count: int) -> list[str]:
    found: list[Event] = []
    with anyio.fail_after(3):
        while len(found) < count:
            found.append(await anext(frames))
    return shown(found)


async def test_a_reader_of_frames_starts_at_the_newest_key_frame() -> None:
    """Behind the tracks as they are now; what comes later follows without a gap."""
    stream = stream_of()
    publisher, video, _ = feeding(stream)
    write(publisher, video, 0, 25)
    frames = stream.read()
    write(publisher, video, 25, 27)
    assert await take(frames, 9) == ["TrackAdded", "TrackAdded", *map(str, range(20, 27))]
    publisher.close("gone")
    assert not stream.ended, "it waits for a publisher as long as somebody reads"
    stream.end("nobody came")
    with anyio.fail_after(1):
        assert [event async for event in frames] == []
    assert stream.readers == 0


async def test_a_slow_reader_of_frames_misses_some_up_to_a_key_frame() -> None:
    stream = stream_of()
    publisher, video, _ = feeding(stream)
    frames = stream.read(max_frames=5)
    write(publisher, video, 0, 40)
    assert await take(frames, 5) == ["TrackAdded", "TrackAdded", "0", "1", "2"]
    assert frames.skipped > 0
    rest = await take(frames, 2)
    write(publisher, video, 40, 42)
    assert (rest, await take(frames, 2)) == (["3", "4"], ["40", "41"])


async def test_a_reader_leaves_where_its_loop_ends_breaks_or_fails() -> None:
    host = Host()
    stream = stream_of(host=host)
    publisher, video, _ = feeding(stream)
    write(publisher, video, 0, 5)
    who = session("reader")
    async for _ in stream.read(who):
        break
    gc.collect()
    assert stream.readers == 0

    async def fails() -> None:
        async with aclosing(stream.read(who)) as frames:
            async for _ in frames:
                raise KeyError

    with pytest.raises(KeyError):
        await fails()
    with anyio.move_on_after(0.02):
        async for _ in stream.read(who):
            pass
    assert stream.readers == 0
    assert host.hooks.count("reader_joined") == host.hooks.count("reader_left") == 3


async def test_a_stream_that_ended_gives_nothing() -> None:
    host = Host()
    stream = stream_of(host=host)
    publisher, video, _ = feeding(stream)
    write(publisher, video, 0, 5)
    publisher.close()
    assert stream.ended
    assert host.gone_streams == [stream]
    assert [event async for event in stream.read()] == []
    stream.end("twice")
    assert (host.gone_streams, stream.end_reason) == ([stream], "the publisher left")


async def test_without_readers_or_grace_a_stream_ends_with_its_publisher() -> None:
    for grace, reads, ends in ((10.0, False, True), (0.0, True, True), (10.0, True, False)):
        stream = stream_of(StreamOptions(reconnect_grace=grace))
        publisher, _, _ = feeding(stream)
        frames = stream.read() if reads else None
        publisher.close()
        assert stream.ended == ends
        if frames is not None:
            frames.close()
            frames.close()
        assert stream.ended, "its last reader left, and nobody publishes"


async def test_readers_survive_a_change_of_publishers() -> None:
    """An epoch marks the seam; what the cache had of the old one is not shown to who joins later."""
    stream = stream_of()
    publisher, video, _ = feeding(stream)
    write(publisher, video, 0, 3)
    frames = stream.read()
    publisher.close()
    assert not stream.published
    again, video, _ = feeding(stream)
    assert stream.cached_bytes == 0
    write(again, video, 0, 2)
    assert await take(frames, 8) == ["TrackAdded", "TrackAdded", "0", "1", "2", "Epoch", "0", "1"]
    assert await take(stream.read(), 4) == ["TrackAdded", "TrackAdded", "0", "1"]


class Broken:
    """A muxer that fails at its third frame."""

    key: Hashable = "broken"

    def __init__(self) -> None:
        self.count = 0

    def mux(self, event: Event) -> Sequence[Unit]:
        if not isinstance(event, Frame):
            return ()
        self.count += 1
        if self.count == 3:
            raise RuntimeError("a bug")
        return (Unit(event.track, event.units, event.dts, key=event.key, video=True),)

    def config(self, track: Track, time: int) -> Unit | None:
        return None


class Whole(Broken):
    key = "whole"

    def mux(self, event: Event) -> Sequence[Unit]:
        self.count = 0
        return super().mux(event)


async def test_a_muxer_that_fails_ends_its_own_readers() -> None:
    stream = stream_of()
    publisher, video, _ = feeding(stream)
    other = stream.feed(Whole())
    broken = stream.feed(Broken())
    with structlog.testing.capture_logs() as logs:
        write(publisher, video, 0, 5)
    assert [e["event"] for e in logs] == ["a muxer failed"]
    assert stream.feeds == (other,)
    assert broken.ring.end == 2
    assert other.ring.end == 5
    assert stream.frames_in == 5


async def test_a_publisher_that_fails_at_a_wish_does_not_end_who_wished() -> None:
    stream = stream_of()
    publisher, video, _ = feeding(stream)

    def fails(*_: object) -> None:
        raise RuntimeError("a bug")

    publisher.on_key_frame_request = publisher.on_bitrate_hint = fails
    with structlog.testing.capture_logs() as logs:
        stream.request_key_frame()
        stream.bitrate_hint(video, 1)
    assert [e["event"] for e in logs] == ["a publisher failed at a reader's wish"] * 2


async def test_feeds_are_shared_by_key_and_born_with_what_is_cached() -> None:
    stream = stream_of()
    publisher, video, _ = feeding(stream)
    write(publisher, video, 0, 15)
    feed = stream.feed(Whole())
    assert stream.feed(Whole()) is feed
    assert [feed.ring[n].payloads for n in range(feed.ring.start, feed.ring.end)] == [
        (b"%d" % n,) for n in range(10, 15)
    ]
    with pytest.raises(RuntimeError, match="a bug"):
        stream.feed(Broken())
    assert stream.feeds == (feed,), "one that fails at once is no feed"


async def test_counts_and_bounds() -> None:
    stream = stream_of(StreamOptions(bounds=Bounds(frames=5)))
    publisher, video, _ = feeding(stream)
    write(publisher, video, 0, 4)
    assert (stream.frames_in, stream.bytes_in, stream.cached_bytes) == (4, 4, 4)
    write(publisher, video, 4, 8)
    assert stream.cached_bytes == 0, "its group of pictures is longer than the bound"


async def test_wall_time_goes_with_arrivals() -> None:
    stream = stream_of()
    publisher, video, _ = feeding(stream)
    assert stream.clock.wall(NS) == 0
    write(publisher, video, 0, 1)
    assert abs(stream.clock.wall(stream.last_time) - time.time_ns()) < NS


async def test_data_that_comes_before_it_is_due_moves_no_wall_time() -> None:
    stream = stream_of()
    publisher, video, _ = feeding(stream)
    data = publisher.add_track(DATA, 90_000, Number())
    write(publisher, video, 0, 1)
    before = stream.clock.wall(0)
    publisher.write(data.id, (b"subtitle",), pts=ms(3000))
    assert stream.clock.wall(0) == before


async def test_flush_without_feeds_costs_nothing() -> None:
    publisher, video, _ = feeding(stream_of())
    write(publisher, video, 0, 1)
    await publisher.flush(rest=True)
    assert not publisher.stream.rested
