"""A published stream, a muxer of lines of text, and peers at real sockets that read them."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator, Hashable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
from attrs import define, field

from penstock.feed import Feed
from penstock.media import Event, Frame, Kind, Track
from penstock.publisher import Publisher
from penstock.ring import Unit
from penstock.sink import ByteSink
from penstock.stream import Stream, StreamOptions
from tests.kernel.stage import AUDIO, VIDEO, Host, Number, ms, publish, stream_of


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
        """What has come without its padding, up to a line if one is named, else all that comes within a moment."""
        got, last = b"", until + b"\n"
        with anyio.fail_after(3) if until else anyio.move_on_after(0.05):
            while not until or got[got.rfind(b"\n", 0, -1) + 1 :].replace(b".", b"") != last:
                await anyio.wait_readable(self.far)
                data = self.far.recv(1 << 20)
                if not data:
                    break
                got += data
        return got.decode().replace(".", "").splitlines()


@asynccontextmanager
async def peers(
    count: int = 1, *, small: bool = False, stall_timeout: float = 60
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
