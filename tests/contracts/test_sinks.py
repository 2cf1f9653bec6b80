"""One feed, every kind of sink: a join in the past, a skip, a config in mid-stream, control writes in between.

The muxer writes records whose bytes tell what they are, so that what each peer got can be checked byte by byte.
"""

from __future__ import annotations

import itertools
import socket
import ssl
import struct
from collections.abc import AsyncGenerator, Callable, Generator, Hashable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from attrs import define, field, frozen
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from penstock import lanes
from penstock.datagram import DatagramSink, PacedSink, StampSink
from penstock.feed import Cursor, Feed
from penstock.media import NS, Codec, CodecConfig, Event, Frame, Kind, Track
from penstock.net import start_tls
from penstock.path import StreamPath
from penstock.publisher import Publisher
from penstock.registry import Registry
from penstock.ring import Unit
from penstock.session import Session
from penstock.sink import ByteSink, SendSink, TlsSink
from penstock.stream import Stream, StreamOptions
from tests.certificate import self_signed

pytestmark = pytest.mark.anyio

VIDEO = Codec("test-video", Kind.VIDEO)
AUDIO = Codec("test-audio", Kind.AUDIO)
RECORD = struct.Struct(">4sBBHII")  # magic, kind, track, config, number, length
MAGIC = b"\xf5REC"
CONTROL, PREAMBLE, KEY, DELTA, CONFIG = 1, 2, 3, 4, 5
GOP = 10


@frozen
class Config(CodecConfig):
    number: int


def record(kind: int, track: int = 0, config: int = 0, number: int = 0, body: bytes = b"") -> bytes:
    return RECORD.pack(MAGIC, kind, track, config, number, len(body)) + body


def records(data: bytes) -> Iterator[tuple[int, int, int, int]]:
    """(kind, track, config, number) of records back to back; fails on anything torn."""
    at = 0
    while at < len(data):
        magic, kind, track, config, number, length = RECORD.unpack_from(data, at)
        assert magic == MAGIC, f"a torn record at byte {at}"
        body = data[at + RECORD.size : at + RECORD.size + length]
        if len(body) < length:
            return
        assert body == bytes([number & 255]) * length, f"record {number} has foreign bytes"
        yield kind, track, config, number
        at += RECORD.size + length


@define
class RecordMuxer:
    """Each frame as three packets, one record in each; the config in force is in the header."""

    size: int = 3000
    key: Hashable = "records"
    told: Config | None = None

    def mux(self, event: Event) -> Sequence[Unit]:
        if not isinstance(event, Frame):
            return ()
        config = event.track.config
        assert isinstance(config, Config)
        video = event.track.kind is Kind.VIDEO
        kind = KEY if event.key and video else DELTA
        n = struct.unpack(">I", event.units[0])[0]
        size = self.size if video else 20
        body = bytes([n & 255]) * (size // 3)
        packet = record(kind, event.track.id, config.number, n, body)
        unit = Unit(event.track, (packet,) * 3, event.dts, key=kind == KEY, video=video)
        if video and self.told not in (None, config):
            self.told = config
            return (*filter(None, [self.config(event.track, event.dts)]), unit)
        if video:
            self.told = config
        return (unit,)

    def config(self, track: Track, time: int) -> Unit | None:
        config = track.config
        assert isinstance(config, Config)
        if track.codec is not VIDEO:
            return None
        return Unit(track, (record(CONFIG, track.id, config.number),), time, config=True)


class Host:
    def changed(self, hook: str, **arguments: object) -> None: ...
    def gone(self, stream: Stream) -> None: ...
    def awake(self) -> None: ...

    def late(self, feed: Feed) -> None: ...

    def left_out(self, feed: Feed, track: Track, reason: str) -> None: ...

    def derivations(self, stream: Stream, track: Track) -> tuple[()]:
        return ()

    def serves_segments(self) -> bool:
        return True

    def viewers(self, path: object) -> int:
        return 0

    def spawn(self, work: object) -> None: ...


@define
class Source:
    """A publisher of a video and an audio track: a key frame every GOP frames, a new config at each fifth key frame."""

    options: StreamOptions = field(factory=StreamOptions)
    number: int = 0
    stream: Stream = field(init=False)
    publisher: Publisher = field(init=False)
    video: Track = field(init=False)
    audio: Track = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.stream = Stream(StreamPath.parse("live/one"), Registry(), self.options, Host())
        self.publisher = Publisher(self.stream, Session("1", "test", "here"))
        self.stream.take_over(self.publisher)
        self.video = self.publisher.add_track(VIDEO, 90000, Config(0))
        self.audio = self.publisher.add_track(AUDIO, 48000, Config(0))
        self.publisher.tracks_complete()

    async def frames(self, count: int) -> None:
        for _ in range(count):
            n = self.number
            self.number += 1
            if n % (5 * GOP) == 0 and n:
                self.publisher.configure(self.video.id, Config(n // (5 * GOP)))
            time = n * NS // 30
            self.publisher.write(self.video.id, (struct.pack(">I", n),), pts=time, dts=time, key=n % GOP == 0)
            self.publisher.write(self.audio.id, (struct.pack(">I", n),), pts=time, dts=time)
            await self.publisher.flush()
            await anyio.lowlevel.checkpoint()


@define
class Peer:
    """The far end of a sink: what came, as records."""

    sink: ByteSink | PacedSink
    read: Callable[[], bytes]
    reliable: bool
    got: bytearray = field(factory=bytearray)

    async def receive(self) -> list[tuple[int, int, int, int]]:
        """Everything that comes until nothing has come for a while."""
        idle = 0
        while idle < 6:
            data = self.read()
            self.got += data
            idle = 0 if data else idle + 1
            await anyio.sleep(0.02)
        return list(records(bytes(self.got)))


def drain(sock: socket.socket) -> bytes:
    got = bytearray()
    while True:
        try:
            data = sock.recv(1 << 20)
        except (BlockingIOError, ssl.SSLWantReadError):
            return bytes(got)
        if not data:
            return bytes(got)
        got += data


@contextmanager
def tcp_pair(sndbuf: int) -> Generator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        far = socket.socket()
        far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, sndbuf)
        far.connect(listener.getsockname())
        near, _ = listener.accept()
    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, sndbuf)
    near.setblocking(False)
    far.setblocking(False)
    with near, far:
        yield near, far


class Retransmitter:
    """A stamp that encrypts with a key and sequence of its own, and keeps what it sent to send it again."""

    def __init__(self) -> None:
        self.cipher = AESGCM(AESGCM.generate_key(128))
        self.sequence = 0
        self.sent: dict[int, bytes] = {}

    def stamp(self, units: Sequence[Unit]) -> list[bytes]:
        out: list[bytes] = []
        for unit in units:
            for payload in unit.payloads:
                header = struct.pack(">I", self.sequence)
                out.append(header + self.cipher.encrypt(header.rjust(12, b"\0"), payload, header))
                self.sent[self.sequence] = out[-1]
                self.sequence += 1
        return out

    def open(self, datagram: bytes) -> tuple[int, bytes]:
        header = datagram[:4]
        return struct.unpack(">I", header)[0], self.cipher.decrypt(
            header.rjust(12, b"\0"), datagram[4:], header
        )


@asynccontextmanager
async def peers(
    kind: str, tmp_path: Path, sndbuf: int = 1 << 20
) -> AsyncGenerator[tuple[Peer, Retransmitter]]:
    """A sink of one kind and its far end."""
    stamper = Retransmitter()
    async with anyio.create_task_group() as tasks:
        spawn = tasks.start_soon
        if kind == "send":
            arrived = bytearray()

            async def put(data: bytes) -> None:
                await anyio.lowlevel.checkpoint()
                while len(arrived) >= sndbuf:
                    await anyio.sleep(0.001)
                arrived.extend(data)

            def take() -> bytes:
                data = bytes(arrived)
                arrived.clear()
                return data

            yield Peer(SendSink(put, spawn), take, True), stamper
        elif kind in ("bytes", "pages", "tls"):
            with tcp_pair(sndbuf) as (near, far), pytest.MonkeyPatch.context() as patch:
                if kind == "pages":
                    patch.setattr(lanes, "SHARED_BYTES", 1)
                    patch.setattr(lanes, "SHARED_READERS", 1)
                if kind != "tls":
                    yield Peer(ByteSink(near, spawn), lambda: drain(far), True), stamper
                else:
                    certificate, key = self_signed(tmp_path)
                    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                    server.load_cert_chain(certificate, key)
                    client = ssl.create_default_context(cafile=str(certificate))
                    ends: list[ssl.SSLSocket] = [None, None]  # type: ignore[list-item]

                    async def shake(i: int, *args: Any) -> None:
                        ends[i] = await start_tls(*args)

                    async with anyio.create_task_group() as both:
                        both.start_soon(shake, 0, near, server)
                        both.start_soon(shake, 1, far, client, "localhost")
                    with ends[0], ends[1]:
                        yield Peer(TlsSink(ends[0], spawn), lambda: drain(ends[1]), True), stamper
        else:
            near = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            far = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            with near, far:
                near.bind(("127.0.0.1", 0))
                far.bind(("127.0.0.1", 0))
                far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
                near.setblocking(False)
                far.setblocking(False)
                address = far.getsockname()
                seen: set[int] = set()

                def read() -> bytes:
                    got = bytearray()
                    while True:
                        try:
                            datagram = far.recv(65536)
                        except BlockingIOError:
                            return bytes(got)
                        if kind == "stamp":
                            if datagram.startswith(MAGIC):  # control goes as it is
                                got += datagram
                                continue
                            number, datagram = stamper.open(datagram)
                            if number in seen:
                                continue
                            seen.add(number)
                        got += datagram

                sink: PacedSink
                if kind == "datagram":
                    to = {(track, 0): (near, address) for track in (1, 2)}
                    sink = DatagramSink(to, spawn, (near, address))
                else:
                    sink = StampSink(near, address, stamper.stamp, spawn)
                yield Peer(sink, read, False), stamper
        tasks.cancel_scope.cancel()


KINDS = ["bytes", "pages", "tls", "send", "datagram", "stamp"]


def preamble(cursor: Cursor) -> bytes:
    video = next(t for t in cursor.tracks if t.kind is Kind.VIDEO)
    assert isinstance(video.config, Config)
    return record(PREAMBLE, video.id, video.config.number)


def check(got: list[tuple[int, int, int, int]], first: int, last: int, *, skips: bool = False) -> list[int]:
    """Media from `first` to `last` in order, each frame's three records together; returns the numbers of video frames."""
    media = [r for r in got if r[0] in (KEY, DELTA)]
    told: int | None = None
    for kind, track, config, _ in got:
        if kind in (PREAMBLE, CONFIG):
            assert told != config, "a config told twice"
            told = config
        elif kind in (KEY, DELTA) and track == 1:
            told = config if told is None else told
            assert told == config, "a frame whose config was not told before"
    frames = media[::3]
    assert media == [f for f in frames for _ in range(3)], "a frame is torn or repeated"
    video = [f for f in frames if f[1] == 1]
    audio = [f for f in frames if f[1] == 2]
    assert all(f[2] == f[3] // (5 * GOP) for f in video), "a frame under another config than its own"
    assert all((f[0] == KEY) == (f[3] % GOP == 0) for f in video)
    numbers = [f[3] for f in video]
    assert numbers[0] == first
    assert numbers[-1] == last
    for a, b in itertools.pairwise(numbers):
        assert b == a + 1 or (skips and b > a and b % GOP == 0), f"frame {b} after {a}"
    if not skips:
        assert [f[3] for f in audio] == numbers
    return numbers


@pytest.mark.parametrize("kind", KINDS)
async def test_a_join_in_the_past_starts_at_the_key_frame_with_what_is_true_there(
    kind: str, tmp_path: Path
) -> None:
    source = Source(StreamOptions(window=0))
    await source.frames(5 * GOP + 7)
    async with peers(kind, tmp_path) as (peer, _):
        feed = source.stream.feed(RecordMuxer())
        # A config that is newer than the cursor must not show in the start reply: the cursor is at frame 50, under
        # config 1, while the next frames to come are under another.
        reader = feed.attach(peer.sink, Session("r", "test", "there"), preamble=preamble)
        await source.frames(GOP)
        got = await peer.receive()
        await source.frames(6 * GOP)
        got = await peer.receive()
        assert got[0][:3] == (PREAMBLE, 1, 1)
        check(got, 5 * GOP, source.number - 1)
        assert reader.state == "ready"
        reader.detach()


@pytest.mark.parametrize("kind", KINDS)
async def test_control_bytes_come_whole_between_frames(kind: str, tmp_path: Path) -> None:
    source = Source(StreamOptions(window=0))
    async with peers(kind, tmp_path, sndbuf=8192) as (peer, _):
        source.stream.feed(RecordMuxer()).attach(peer.sink, Session("r", "test", "there"))
        await source.frames(1)
        for n in range(30):
            await source.frames(3)
            peer.sink.control(record(CONTROL, number=n, body=bytes([n]) * 900))
            await source.frames(1)
            if n % 3 == 0:
                peer.got += peer.read()
                await anyio.sleep(0.005)
        got = await peer.receive()
        assert [r[3] for r in got if r[0] == CONTROL] == list(range(30))
        check(got, 0, source.number - 1)


@pytest.mark.parametrize("kind", ["bytes", "tls", "send"])
async def test_a_slow_reader_skips_to_a_key_frame_and_no_byte_is_wrong(kind: str, tmp_path: Path) -> None:
    source = Source(StreamOptions(window=0, max_backlog=1.0))
    async with peers(kind, tmp_path, sndbuf=16384) as (peer, _):
        reader = source.stream.feed(RecordMuxer(30_000)).attach(peer.sink, Session("r", "test", "there"))
        for n in range(12):  # 2 s of frames each, and little is read in between
            await source.frames(6 * GOP)
            peer.sink.control(record(CONTROL, number=n, body=bytes([n]) * 100))
            for _ in range(3):
                peer.got += peer.read()
                await anyio.sleep(0.002)
        got = await peer.receive()
        await source.frames(3 * GOP)
        got = await peer.receive()
        numbers = check(got, 0, source.number - 1, skips=True)
        assert len(numbers) < source.number, "nothing was skipped, so the test shows nothing"
        assert reader.skipped[1] == source.number - len(numbers)
        assert [r[3] for r in got if r[0] == CONTROL] == list(range(12))
        assert feed_is_bounded(reader.feed, 1.0)


def feed_is_bounded(feed: Feed, seconds: float) -> bool:
    ring = feed.ring
    return ring[ring.end - 1].time - ring[ring.start].time < (seconds + 1.0) * NS


async def test_a_stamp_sink_sends_again_the_very_bytes(tmp_path: Path) -> None:
    source = Source(StreamOptions(window=0))
    async with peers("stamp", tmp_path) as (peer, stamper):
        assert isinstance(peer.sink, StampSink)
        source.stream.feed(RecordMuxer()).attach(peer.sink, Session("r", "test", "there"))
        await source.frames(2 * GOP)
        before = await peer.receive()
        peer.sink.send([stamper.sent[n] for n in range(3)])
        assert await peer.receive() == before, "a repeated packet counted twice"
        assert len(stamper.sent) == stamper.sequence == 2 * GOP * 2 * 3, "the numbering has a gap"


async def test_one_feed_serves_every_kind_at_once(tmp_path: Path) -> None:
    source = Source(StreamOptions(window=0))
    async with (
        peers("bytes", tmp_path) as (a, _),
        peers("tls", tmp_path) as (b, _),
        peers("datagram", tmp_path) as (c, _),
        peers("stamp", tmp_path) as (d, _),
    ):
        await source.frames(GOP + 3)
        feed = source.stream.feed(RecordMuxer())
        for peer in (a, b, c, d):
            feed.attach(peer.sink, Session("r", "test", "there"), preamble=preamble)
        await source.frames(7 * GOP)
        for peer in (a, b, c, d):
            check(await peer.receive(), GOP, source.number - 1)
        assert len(feed.readers) == 4
        feed.end("over")
        assert not feed.readers
