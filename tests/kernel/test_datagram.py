"""Sinks for datagrams: packets that all share, packets stamped for each, and the pace of a backlog."""

from __future__ import annotations

import socket
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise

import anyio
import pytest
from attrs import define, field

from penstock import datagram
from penstock.datagram import PACE_BATCH, PACE_BYTES, PACE_SECONDS, DatagramSink, StampSink
from penstock.feed import Feed
from penstock.lanes import PICTURE_WAIT_NS
from penstock.media import NS
from penstock.ring import Unit
from penstock.sink import Spawn
from penstock.stream import StreamOptions
from penstock.udp import Fanout, Run
from tests.kernel.feeding import Source, pictures
from tests.kernel.stage import ms, session

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("logs")]


@define
class Port:
    """A UDP port, and what came there with the moment at which it did."""

    sock: socket.socket
    came: list[tuple[float, bytes]] = field(factory=list[tuple[float, bytes]])

    @property
    def address(self) -> tuple[str, int]:
        host, port = self.sock.getsockname()
        return host, port

    def read(self) -> list[str]:
        """All that has come by now."""
        while True:
            try:
                self.came.append((time.monotonic(), self.sock.recv(1 << 17)))
            except BlockingIOError:
                return [data.rstrip(b".\n").decode() for _, data in self.came]

    async def lines(self, last: str = "") -> list[str]:
        """What has come once `last` is there, or a moment later where none is named; what ends a line is no packet's."""
        with anyio.fail_after(5) if last else anyio.move_on_after(0.05):
            while last not in self.read():
                await anyio.sleep(0.001)
        found = [line for line in self.read() if line]
        self.came.clear()
        return found


@asynccontextmanager
async def ports(count: int) -> AsyncGenerator[tuple[Spawn, socket.socket, list[Port]]]:
    """What starts tasks, the socket that sends, and those that receive."""
    socks = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(count + 1)]
    try:
        for sock in socks:
            sock.bind(("127.0.0.1", 0))
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        async with anyio.create_task_group() as tasks:
            yield tasks.start_soon, socks[0], [Port(sock) for sock in socks[1:]]
            tasks.cancel_scope.cancel()
    finally:
        for sock in socks:
            sock.close()


def shared(source: Source, spawn: Spawn, sock: socket.socket, port: Port) -> DatagramSink:
    to = (sock, port.address)
    return DatagramSink({(source.video.id, 0): to, (source.audio.id, 0): to}, spawn, to)


async def test_all_get_the_same_packets() -> None:
    source = Source()
    await source.send(12, sound=False)
    async with ports(3) as (spawn, sock, targets):
        feed = source.feed()
        readers = [feed.attach(shared(source, spawn, sock, port), session()) for port in targets]
        for port in targets:
            assert await port.lines("v11") == pictures(10, 12)
        await source.send(3)
        wanted = ["v12", "a12", "v13", "a13", "v14", "a14"]
        for port in targets:
            assert sorted(await port.lines("a14")) == sorted(wanted)
        assert {reader.state for reader in readers} == {"ready"}
        readers[0].detach()
        await source.send(1, sound=False)
        assert await targets[1].lines("v15") == ["v15"]
        assert await targets[0].lines() == []


async def test_a_track_that_was_not_asked_for_is_not_sent() -> None:
    source = Source()
    async with ports(1) as (spawn, sock, (port,)):
        sink = DatagramSink({(source.audio.id, 0): (sock, port.address)}, spawn)
        source.feed().attach(sink, session())
        sink.control(b"nowhere to send that")
        await source.send(3)
        assert await port.lines("a2") == ["a0", "a1", "a2"]


async def test_control_goes_to_its_own_address() -> None:
    source = Source()
    async with ports(2) as (spawn, sock, (media, control)):
        sink = DatagramSink({(source.video.id, 0): (sock, media.address)}, spawn, (sock, control.address))
        source.feed().attach(sink, session(), preamble=lambda cursor: b"hello")
        sink.control(b"report")
        assert await control.lines("report") == ["hello", "report"]
        sink.close("gone")
        sink.control(b"too late")
        assert await control.lines() == []
        assert source.stream.readers == 0


def spans(port: Port) -> tuple[float, int]:
    """Seconds from the first packet to the last, and their bytes."""
    return port.came[-1][0] - port.came[0][0], sum(len(data) for _, data in port.came)


async def test_a_backlog_is_paced() -> None:
    """A group of pictures of 800 KB in 4 s: a first burst at once, and then at most four times the media's rate."""
    source = Source(gop=100)
    for _ in range(100):
        await source.send(1, sound=False)
    async with ports(1) as (spawn, sock, (port,)):
        reader = source.feed(padding=8000).attach(shared(source, spawn, sock, port), session())
        with anyio.fail_after(10):
            while "v99" not in port.read():
                await anyio.sleep(0.002)
        took, size = spans(port)
        assert [line for line in port.read() if line] == pictures(0, 100, 100)
        assert size > 800_000
        # What is left of the 4 s after the first burst takes a quarter of its time, no less.
        assert took > 0.8 * (4 - 4 * PACE_BYTES / size) / datagram.PACE_FACTOR
        bursts = [
            sum(len(data) for at, data in port.came if moment <= at < moment + PACE_SECONDS / 2)
            for moment, _ in port.came
        ]
        assert max(bursts) <= 2 * (PACE_BYTES + 8000)
        assert reader.state == "ready"
        assert reader.skipped == {}


async def test_who_joins_among_many_with_a_backlog_gets_its_picture_first() -> None:
    source = Source(gop=100)
    for _ in range(100):
        await source.send(1, sound=False)
    order: list[int] = []
    late: list[int] = []
    async with ports(1) as (spawn, sock, (port,)):
        feed = source.feed(padding=8000)

        class Noted(DatagramSink):
            def __init__(self, number: int) -> None:
                super().__init__({(source.video.id, 0): (sock, port.address)}, spawn)
                self.number = number

            def emit(self, units: Sequence[Unit]) -> None:
                order.append(self.number)
                # In the middle of a later round of theirs somebody joins.
                if self.number == 2 and order.count(2) > 1 and not late:
                    late.append(len(order))
                    feed.attach(Noted(-1), session())

        for number in range(6 * PACE_BATCH):
            feed.attach(Noted(number), session())
        with anyio.fail_after(10):
            while -1 not in order:
                await anyio.sleep(PACE_SECONDS / 10)
    before = set(order[late[0] : order.index(-1)])
    assert len(before) <= PACE_BATCH
    assert len(set(order)) == 6 * PACE_BATCH + 1


async def test_who_joins_while_others_wait_for_their_turn_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datagram, "PACE_SECONDS", 60)
    source = Source(gop=100)
    for _ in range(100):
        await source.send(1, sound=False)
    async with ports(1 + 2 * PACE_BATCH) as (spawn, sock, (first, *others)):
        feed = source.feed(padding=8000)
        feed.attach(shared(source, spawn, sock, first), session())
        await first.lines("K0")
        for port in others:
            feed.attach(shared(source, spawn, sock, port), session())
        for port in others:
            assert (await port.lines("K0"))[0] == "K0"


async def test_what_comes_at_once_is_paced_like_a_backlog() -> None:
    """A publisher that was held up would overflow its players' buffers."""
    source = Source()
    await source.send(1, sound=False)
    async with ports(1) as (spawn, sock, (port,)):
        reader = source.feed(padding=1000).attach(shared(source, spawn, sock, port), session())
        await port.lines("K0")
        before = time.monotonic()
        source.write(50, sound=False)
        await source.publisher.flush()
        assert reader.lane.pending
        assert await port.lines("K50") == pictures(1, 51)
        # 2 s of pictures take a quarter of that, and the readers stay together.
        assert time.monotonic() - before > 0.8 * 2 / datagram.PACE_FACTOR
        assert reader.state == "ready"
        assert not reader.lane.pending


async def test_a_full_socket_holds_up_a_frame_but_not_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it does not take in time is lost, as on any network; the next frame is sent."""
    source = Source()
    await source.send(1, sound=False)
    async with ports(1) as (spawn, sock, (port,)):
        source.feed().attach(shared(source, spawn, sock, port), session())
        await port.lines("K0")
        real = Fanout.send
        full = True

        def send(self: Fanout, run: Run, first: int = 0) -> int:
            return first if full else real(self, run, first)

        monkeypatch.setattr(Fanout, "send", send)
        before = time.monotonic()
        await source.send(1, sound=False)
        assert time.monotonic() - before < 1
        full = False
        await source.send(1, sound=False)
        assert await port.lines("v2") == ["v2"]


class Stamp:
    """Numbers each packet; fails where it is told to."""

    def __init__(self) -> None:
        self.number = 0
        self.fails = False
        self.calls = 0

    def __call__(self, units: Sequence[Unit]) -> list[bytes]:
        if self.fails:
            raise RuntimeError("a bug")
        self.calls += 1
        out: list[bytes] = []
        for unit in units:
            out.append(b"%d:" % self.number + unit.payloads[0])
            self.number += 1
        return out


async def test_each_has_its_own_numbers() -> None:
    source = Source()
    await source.send(12, sound=False)
    async with ports(2) as (spawn, sock, targets):
        feed = source.feed()
        stamps = [Stamp(), Stamp()]
        feed.attach(StampSink(sock, targets[0].address, stamps[0], spawn), session())
        assert await targets[0].lines("1:v11") == ["0:K10", "1:v11"]
        await source.send(1, sound=False)
        late = StampSink(sock, targets[1].address, stamps[1], spawn)
        feed.attach(late, session())
        await source.send(1)
        assert await targets[0].lines("4:a13") == ["2:v12", "3:v13", "4:a13"]
        assert await targets[1].lines("4:a13") == ["0:K10", "1:v11", "2:v12", "3:v13", "4:a13"]
        late.control(b"again")
        late.control(b"")
        assert await targets[1].lines("again") == ["again"]
        late.close("gone")
        late.control(b"too late")
        late.close("twice")
        assert await targets[1].lines() == []


async def _sound_of(readers: int, window: float | None) -> tuple[list[list[str]], int]:
    """What one of so many has when sound has come, and when the next picture has; and what passes there were for both."""
    source = Source(StreamOptions(window=window))
    await source.send(3, sound=False)
    async with ports(readers) as (spawn, sock, targets):
        feed, stamps = source.feed(), [Stamp() for _ in targets]
        for port, stamp in zip(targets, stamps, strict=True):
            feed.attach(StampSink(sock, port.address, stamp, spawn), session())
        for port in targets:
            await port.lines("2:v2")
        await source.send(1, sound=False)  # the first that all of them get in one pass
        await targets[0].lines("3:v3")
        before = stamps[0].calls
        source.publisher.write(source.audio.id, (b"3",), pts=ms(120))
        await source.publisher.flush()
        found = [targets[0].read()]
        await source.send(1, sound=False)
        return [*found, await targets[0].lines("5:v4")], stamps[0].calls - before


async def test_where_they_are_many_sound_goes_with_the_next_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.datagram.RIDERS", 3)
    both = ["4:a3", "5:v4"]
    assert await _sound_of(3, None) == ([[], both], 1)
    assert await _sound_of(2, None) == ([both[:1], both], 2)
    # Where each frame is asked for at once, it goes so.
    assert await _sound_of(3, 0) == ([both[:1], both], 2)


async def test_without_a_picture_sound_waits_no_longer_than_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.datagram.RIDERS", 1)
    source = Source(StreamOptions(window=None))
    await source.send(3, sound=False)
    async with ports(1) as (spawn, sock, (port,)):
        feed = source.feed()
        feed.attach(StampSink(sock, port.address, Stamp(), spawn), session())
        await port.lines("2:v2")
        await source.send(1, sound=False)
        source.publisher.write(source.audio.id, (b"3",), pts=ms(120))
        due = feed.due_at
        assert due is not None
        assert 0 < due - time.monotonic_ns() <= PICTURE_WAIT_NS
        await anyio.sleep((due - time.monotonic_ns()) / NS)
        await source.publisher.flush()
        assert await port.lines("4:a3") == ["3:v3", "4:a3"]


async def test_a_stamp_that_fails_ends_its_own_reader() -> None:
    """In the pass, and while it catches up."""
    source = Source()
    await source.send(3, sound=False)
    async with ports(3) as (spawn, sock, targets):
        feed = source.feed()
        stamps = [Stamp() for _ in targets]
        sessions = [session() for _ in targets]
        stamps[2].fails = True
        for port, stamp, one in zip(targets, stamps, sessions, strict=True):
            feed.attach(StampSink(sock, port.address, stamp, spawn), one)
        await targets[0].lines("2:v2")
        await targets[1].lines("2:v2")
        assert sessions[2].reason == "internal error"
        stamps[1].fails = True
        await source.send(2, sound=False)
        assert sessions[1].reason == "internal error"
        assert await targets[0].lines("4:v4") == ["3:v3", "4:v4"]
        assert (source.stream.readers, sessions[0].reason) == (1, "")


async def test_who_lags_beyond_its_bound_skips_and_is_counted() -> None:
    """Slower than the media (a pace of nothing): it goes on at a key frame, with numbers that have no gap."""
    source = Source(StreamOptions(window=0, max_backlog=1.0))
    await source.send(1, sound=False)
    async with ports(1) as (spawn, sock, (port,)):
        feed: Feed = source.feed()
        stamp = Stamp()
        reader = feed.attach(StampSink(sock, port.address, stamp, spawn), session())
        await port.lines("0:K0")
        reader.lag(feed.ring.end)
        await source.send(75, sound=False)
        feed.lanes[0].start(reader)
        got = await port.lines(f"{stamp.number + 5}:v75")
        numbers = [int(line.partition(":")[0]) for line in got]
        assert all(b == a + 1 for a, b in pairwise(numbers))
        assert got[0].partition(":")[2] == "K70"
        assert reader.skipped == {source.video.id: 69}
