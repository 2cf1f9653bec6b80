"""Faults at the core of streams, without sockets: rows X1 to X4 of the list of bad inputs."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import anyio
import anyio.lowlevel
import pytest
from attrs import define

import penstock
from penstock.errors import AlreadyPublished, Denied, NotFound
from penstock.gop import GopCache
from penstock.hooks import Plugin, hookimpl
from penstock.media import NS, Frame, Track
from penstock.path import StreamPath
from penstock.plugins import PluginSet
from penstock.publisher import Publisher
from penstock.queue import FrameQueue
from penstock.registry import Registry
from penstock.ring import Bounds
from penstock.segment import SegmentBounds
from penstock.session import Credentials, Session
from penstock.stream import Stream, StreamOptions
from penstock_codecs.aac import AAC, AacConfig
from penstock_codecs.h264 import H264
from penstock_codecs.h264.record import parse_record
from penstock_formats.flv.script import SCRIPT, ScriptConfig
from penstock_rtmp.muxer import RtmpMuxer

from . import rtmp

NAMES = 100_000
VIDEO = parse_record(rtmp.AVCC)
SOUND = AacConfig.parse(b"\x11\x90")
BOUNDS = Bounds(frames=500, bytes=1 << 20, seconds=10.0)
ONE_LOOP = pytest.mark.parametrize("anyio_backend", ["asyncio"])
NOTHING: dict[str, object] = {
    "rtmp": {"enabled": False},
    "rtsp": {"enabled": False},
    "srt": {"enabled": False},
    "webrtc": {"enabled": False},
    "http": {"enabled": False},
}


class OnlyOwner(Plugin):
    """Lets nobody publish but who knows the word."""

    name = "only-owner"

    @hookimpl
    async def authorize(self, action: str, credentials: Credentials) -> bool | None:
        await anyio.lowlevel.checkpoint()
        return credentials.verify(password="word") if action == "publish" else None


@pytest.mark.anyio
async def test_X1_takeover_comes_only_after_authorization() -> None:
    """Who may not publish does not disturb who does, even where a second publisher takes over."""
    plugins = PluginSet.discover((OnlyOwner(),))
    config = NOTHING | {"streams": {"x/*": {"override": True}}}
    async with penstock.Server(config, plugins=plugins) as server:
        owner, thief = (server.sessions.add("test", f"192.0.2.{n}:1") for n in (1, 2))
        first = await server.streams.publish(owner, "x/1", Credentials("me", "word"))
        with pytest.raises(Denied):
            await server.streams.publish(thief, "x/1", Credentials("me", "guess"))
        assert not first.closed
        second = await server.streams.publish(thief, "x/1", Credentials("me", "word"))
        assert first.closed
        second.close()
        assert not len(server.streams)
        for session in (owner, thief):
            server.sessions.remove(session)


@ONE_LOOP
@pytest.mark.anyio
async def test_X2_names_that_fail_leave_no_state() -> None:
    """Asked for in vain, published and left, refused: nothing of any name stays."""
    async with penstock.Server(NOTHING) as server:
        session = server.sessions.add("test", "192.0.2.1:1")
        streams = server.streams
        for number in range(100):
            await _touch(server, session, number)
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            for number in range(NAMES // 100):
                await _touch(server, session, number)
            grown = tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()
        for number in range(NAMES):
            (await streams.publish(session, f"x2/{number}")).close()
        assert not len(streams)
        assert grown < 256 << 10, f"{grown} bytes kept"
        server.sessions.remove(session)


async def _touch(server: penstock.Server, session: Session, number: int) -> None:
    streams, path = server.streams, f"x2/name-{number}"
    with pytest.raises(NotFound):
        await streams.open(session, path, wait=0)
    assert not streams.awaited(StreamPath.parse(path))
    publisher = await streams.publish(session, path)
    with pytest.raises(AlreadyPublished):
        await streams.publish(session, path)
    publisher.close()
    assert streams.get(path) is None


@define
class Host:
    """A server that takes no notice."""

    def changed(self, hook: str, **arguments: object) -> None: ...

    def gone(self, stream: Stream) -> None: ...

    def awake(self) -> None: ...

    def late(self, feed: object) -> None: ...

    def left_out(self, feed: object, track: object, reason: str) -> None: ...

    def derivations(self, stream: object, track: object) -> tuple[()]:
        return ()

    def serves_segments(self) -> bool:
        return True

    def viewers(self, path: object) -> int:
        return 0

    def spawn(self, work: object) -> None: ...


"""Hours of frames need no loop, and no second one."""


@pytest.fixture(scope="module")
def registry() -> Registry:
    plugins = PluginSet.discover()
    plugins.activate(penstock.Config.from_mapping({}, plugins.configs))
    return plugins.registry


@pytest.fixture
async def stream(registry: Registry) -> Stream:
    return Stream(StreamPath.parse("x3/stream"), registry, StreamOptions(bounds=BOUNDS), Host())


def publisher_of(stream: Stream) -> Publisher:
    publisher = Publisher(stream, Session("x3-1", "test", "192.0.2.1:1"))
    stream.take_over(publisher)
    return publisher


def hours(number: float, rate: float) -> Iterator[int]:
    """Times in ns of frames at `rate` a second."""
    return (int(n * NS / rate) for n in range(int(number * 3600 * rate)))


def check(stream: Stream, rings: int) -> None:
    """The bounds hold for the cache and for the ring of each feed."""
    assert stream.cached_bytes <= BOUNDS.bytes
    assert len(stream.feeds) == rings
    for feed in stream.feeds:
        ring = feed.ring
        assert ring.bytes <= BOUNDS.bytes
        assert ring.end - ring.start <= BOUNDS.frames
        if ring.end > ring.start:
            assert ring[ring.end - 1].time - ring[ring.start].time <= BOUNDS.seconds * NS


def fed(stream: Stream) -> None:
    stream.feed(RtmpMuxer(stream.registry, stream.tracks, stream_id=1, chunk_size=65_536))


@ONE_LOOP
@pytest.mark.anyio
async def test_X3_sound_alone_for_hours(stream: Stream) -> None:
    publisher = publisher_of(stream)
    track = publisher.add_track(AAC, 48_000, SOUND)
    publisher.tracks_complete()
    fed(stream)
    for number, pts in enumerate(hours(1, 46.875)):
        publisher.write(track.id, (b"s" * 100,), pts=pts)
        if number % 1000 == 0:
            check(stream, 1)
    assert stream.frames_in == 168_750
    check(stream, 1)


@ONE_LOOP
@pytest.mark.anyio
@pytest.mark.parametrize("keys", ["never", "first", "each-minute", "all"])
async def test_X3_pictures_alone_for_hours(stream: Stream, keys: str) -> None:
    """Without a key frame nothing is kept; a group of pictures beyond the bounds is let go of whole."""
    publisher = publisher_of(stream)
    track = publisher.add_track(H264, 90_000, VIDEO)
    publisher.tracks_complete()
    fed(stream)
    for number, pts in enumerate(hours(0.5, 25)):
        key = {"never": False, "first": number == 0, "each-minute": number % 1500 == 0, "all": True}[keys]
        publisher.write(track.id, (b"p" * 1000,), pts=pts, dts=pts, key=key)
        if number % 500 == 0:
            check(stream, 1)
    check(stream, 1)


@ONE_LOOP
@pytest.mark.anyio
async def test_X3_data_alone_for_a_day(stream: Stream) -> None:
    publisher = publisher_of(stream)
    track = publisher.add_track(SCRIPT, 1000, ScriptConfig())
    publisher.tracks_complete()
    fed(stream)
    for number, pts in enumerate(hours(24, 1)):
        publisher.write(track.id, (b"d" * 5000,), pts=pts)
        if number % 1000 == 0:
            check(stream, 1)
    check(stream, 1)


def test_X3_one_video_track_that_stopped_beside_one_of_key_frames_alone(registry: Registry) -> None:
    """The first track's only key frame must not hold the second's for ever."""
    cache = GopCache(BOUNDS, SegmentBounds(), lambda: True)
    still, moving = (Track(n, H264, 90_000, VIDEO) for n in (1, 2))
    cache.add(Frame(still, 0, 0, (b"k" * 1000,), True))
    for number in range(20_000):
        time = number * NS // 25
        cache.add(Frame(moving, time, time, (b"k" * 1000,), True))
        assert cache.bytes <= BOUNDS.bytes
        assert len(cache.frames) <= BOUNDS.frames
    frames = cache.frames
    assert frames, "the newest key frame is kept in any case"
    assert frames[-1].dts - frames[0].dts <= BOUNDS.seconds * NS


def test_X3_a_key_frame_beyond_the_bound_is_not_kept() -> None:
    cache = GopCache(BOUNDS, SegmentBounds(), lambda: True)
    track = Track(1, H264, 90_000, VIDEO)
    cache.add(Frame(track, 0, 0, (bytes(BOUNDS.bytes + 1),), True))
    assert not cache.frames
    assert cache.bytes == 0
    cache.add(Frame(track, NS, NS, (b"small",), True))
    assert len(cache.frames) == 1


def test_X4_queue_that_nobody_reads_is_bounded_while_configs_change() -> None:
    """Frames are missed; of the configs that change meanwhile the last of each track is kept."""
    queue = FrameQueue(64)
    tracks = [Track(n, H264, 90_000, VIDEO) for n in (1, 2)]
    for number in range(10_000):
        for track in tracks:
            queue.put(penstock.TrackChanged(track))
            queue.put(Frame(track, number, number, (b"p",), number % 2 == 0))
        queue.put(penstock.Epoch(number))
    assert queue.skipped
    assert len(queue) <= 64 * 2
