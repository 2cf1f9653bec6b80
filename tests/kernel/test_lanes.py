"""The pump: when frames are written, what comes between them, and passes in the middle of which readers come and go."""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from penstock import lanes, pages
from penstock.feed import Reader
from penstock.stream import StreamOptions
from tests.kernel.feeding import Peer, Source, peers, pictures
from tests.kernel.stage import ms, session

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("logs")]


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


@pytest.mark.parametrize("window", [None, 36.0, 44.0])
async def test_sound_rides_with_the_next_picture(window: float | None) -> None:
    """The default, and a window about as long as the pictures' 40 ms: as many writes as pictures, and none of them late."""
    source = Source(StreamOptions(window=window))
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


async def test_the_ingest_sleeps_no_longer_than_sound_may_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures each 500 ms, as of a screen or a poor camera: sound that waits unread for the next would be late by as much."""
    monkeypatch.setattr(lanes, "REST_READERS", 1)
    source = Source(StreamOptions(window=None))
    async with peers() as (peer,):
        feed = source.feed()
        feed.attach(peer.sink, session())
        for n in range(5):
            at = ms(500 * n)
            source.publisher.write(source.video.id, (b"%d" % n,), pts=at, dts=at, key=not n)
            await source.publisher.flush()
            await peer.lines(b"v%d" % n if n else b"K0")
        assert source.stream.frame_interval == ms(500)
        left = feed.rest_until - time.monotonic_ns()
        assert 0 < left <= lanes.PICTURE_WAIT_NS + lanes.REST_MARGIN_NS


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
        got = await peer.lines(b"v9")
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


@contextmanager
def sent_from_pages(monkeypatch: pytest.MonkeyPatch) -> Generator[list[int]]:
    """What `os.sendfile` sends: the bytes of each call."""
    sizes: list[int] = []
    real = os.sendfile

    def sendfile(target: int, source: int, offset: int, count: int) -> int:
        sizes.append(real(target, source, offset, count))
        return sizes[-1]

    with monkeypatch.context() as patch:
        patch.setattr(os, "sendfile", sendfile)
        yield sizes


def memory_files() -> int:
    links = [Path("/proc/self/fd") / name for name in os.listdir("/proc/self/fd")]
    return sum("memfd:penstock" in os.readlink(link) for link in links if link.is_symlink())


@pytest.mark.skipif(not pages.AVAILABLE, reason="only Linux has memfd_create")
async def test_many_readers_share_the_pages_of_what_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also a reader whose socket is full while the file gets what comes next: what it was sent stays as it was."""
    count, slow = lanes.SHARED_READERS + 1, 3
    source = Source(StreamOptions(window=0))
    await source.send(1, sound=False)
    before = memory_files()
    async with peers(count, small=True, stall_timeout=60) as all_peers:
        feed = source.feed(padding=6000)
        readers = [feed.attach(peer.sink, session()) for peer in all_peers]
        for peer in all_peers:
            await peer.lines(b"K0")
        with sent_from_pages(monkeypatch) as sizes:
            for n in range(1, 10):
                await source.send(1, sound=False)
                for i, peer in enumerate(all_peers):
                    if i != slow:
                        await peer.lines(b"v%d" % n)
        assert len(sizes) >= 9 * (count - 1), "small writes and few readers go another way"
        assert memory_files() == before + 1
        assert await all_peers[slow].lines(b"v9") == pictures(1, 10)
        for reader in readers:
            reader.detach()
        assert memory_files() == before


@pytest.mark.skipif(not pages.AVAILABLE, reason="only Linux has memfd_create")
async def test_who_gets_the_descriptor_of_a_reader_that_left_is_sent_nothing() -> None:
    source = Source(StreamOptions(window=0))
    await source.send(1, sound=False)
    async with peers(lanes.SHARED_READERS + 1) as all_peers:
        feed = source.feed(padding=3000)
        for peer in all_peers:
            feed.attach(peer.sink, session())
        for peer in all_peers:
            await peer.lines(b"K0")
        await source.send(2, sound=False)
        gone = all_peers[4].sink
        descriptor = gone.sock.fileno()
        gone.close("left")
        gone.sock.close()
        other, theirs = socket.socketpair()
        with other, theirs:
            if other.fileno() != descriptor:
                os.dup2(other.fileno(), descriptor)
            await source.send(2, sound=False)
            theirs.setblocking(False)
            with pytest.raises(BlockingIOError):
                theirs.recv(1)
            if other.fileno() != descriptor:
                os.close(descriptor)
        for peer in (*all_peers[:4], *all_peers[5:]):
            assert await peer.lines(b"v4") == pictures(1, 5)


@pytest.mark.skipif(not pages.AVAILABLE, reason="only Linux has memfd_create")
async def test_without_descriptors_each_reader_gets_a_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_name: str) -> int:
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(os, "memfd_create", refuse)
    source = Source(StreamOptions(window=0))
    await source.send(1, sound=False)
    async with peers(lanes.SHARED_READERS) as all_peers:
        feed = source.feed(padding=3000)
        for peer in all_peers:
            feed.attach(peer.sink, session())
        with sent_from_pages(monkeypatch) as sizes:
            await source.send(2, sound=False)
            for peer in all_peers:
                assert await peer.lines(b"v2") == pictures(0, 3)
        assert sizes == []


@pytest.mark.parametrize("shared", [False, True])
async def test_readers_come_and_go_in_the_middle_of_a_pass(
    monkeypatch: pytest.MonkeyPatch, shared: bool
) -> None:
    """The pass yields between batches: who leaves or comes meanwhile disturbs nobody, and nothing is torn."""
    monkeypatch.setattr(lanes, "BATCH", 8)
    if shared:
        monkeypatch.setattr(lanes, "SHARED_BYTES", 1)
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
