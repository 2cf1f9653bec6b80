"""A server in this process that speaks RTSP, a stream in it, and a peer that plays it over TCP."""

from __future__ import annotations

import re
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
from anyio.abc import SocketStream
from attrs import define, field

from penstock import PluginSet, Server
from penstock.hooks import Plugin
from penstock.media import Track
from penstock.publisher import Publisher
from penstock.stream import Stream
from penstock_codecs.g711 import PCMA, G711Config
from penstock_codecs.h264.config import H264, H264Config
from penstock_rtsp.message import interleaved_header
from tests.faults.canary_program import PPS, SPS
from tests.faults.rtsp import IDR, SLICE, Reply, request

PICTURE = 40_000_000
"""Nanoseconds from a picture to the next."""
PATH = "live/one"


@define
class Source:
    """A publisher of pictures, and of sound where it is told to."""

    publisher: Publisher
    video: Track
    audio: Track | None = None
    number: int = 0

    @property
    def stream(self) -> Stream:
        return self.publisher.stream

    def declare_sound(self) -> None:
        self.audio = self.publisher.add_track(PCMA, 8000, G711Config())

    async def picture(self, *, key: bool = False) -> None:
        at = self.number * PICTURE
        self.number += 1
        unit = (IDR if key else SLICE) + b"%d" % self.number
        self.publisher.write(self.video.id, (unit,), pts=at, key=key)
        await self.publisher.flush()

    async def sound(self) -> None:
        assert self.audio is not None
        self.publisher.write(self.audio.id, (bytes(320),), pts=self.number * PICTURE)
        await self.publisher.flush()


@asynccontextmanager
async def serving(*plugins: Plugin, **tables: dict[str, Any]) -> AsyncGenerator[Server]:
    """A server with every plugin that comes with Penstock, and `plugins`; ``rtsp={...}`` adds to its config."""
    rtsp = {"listen": "127.0.0.1:0", "rtp": "127.0.0.1:0", "rtcp": "127.0.0.1:0"} | tables.pop("rtsp", {})
    rtmp = {"listen": "127.0.0.1:0"} | tables.pop("rtmp", {})
    others = {name: {"listen": "127.0.0.1:0"} for name in ("http", "srt", "webrtc")}
    others["webrtc"]["listen_tcp"] = ""
    config = {"rtsp": rtsp, "rtmp": rtmp, **others, "server": {"wait_for_stream": 0}} | tables
    async with Server(config, plugins=PluginSet.discover(extra=plugins)) as server:
        try:
            yield server
        finally:
            # Those of publishers here are nobody's work, so that nobody takes leave of them.
            for session in server.sessions:
                if session.protocol == "test":
                    server.sessions.remove(session)


async def publish(server: Server, *, sound: bool = True) -> Source:
    publisher = await server.streams.publish(server.sessions.add("test", "127.0.0.1:1"), PATH)
    source = Source(publisher, publisher.add_track(H264, 90_000, H264Config((SPS,), (PPS,))))
    if sound:
        source.declare_sound()
    publisher.tracks_complete()
    return source


def port(server: Server, what: str = "rtsp") -> int:
    return next(e.port for e in server.endpoints if e.what == what)


@define
class Talk:
    """A peer's side of a connection. Interleaved frames that come between replies are kept in `frames`."""

    tcp: SocketStream
    url: str
    session: str = ""
    frames: list[tuple[int, bytes]] = field(factory=list[tuple[int, bytes]])
    sockets: list[socket.socket] = field(factory=list[socket.socket])
    _cseq: int = 0
    _buffer: bytes = b""

    async def ask(self, method: str, url: str = "", *lines: str, body: bytes = b"") -> Reply:
        self._cseq += 1
        also = [f"Session: {self.session}"] if self.session else []
        await self.tcp.send(request(method, self.url + url, *also, *lines, body=body, cseq=self._cseq))
        while (reply := self._reply()) is None:
            self._buffer += await self.tcp.receive()
        self.session = reply.header("Session").partition(";")[0] or self.session
        return reply

    async def frame(self) -> tuple[int, bytes]:
        """Channel and data of the next interleaved frame."""
        while True:
            self._frames()
            if self.frames:
                return self.frames.pop(0)
            self._buffer += await self.tcp.receive()

    async def play(self, *track_ids: int) -> Reply:
        """Set up the tracks, each on the next pair of channels, and play."""
        for number, track_id in enumerate(track_ids):
            pair = f"{2 * number}-{2 * number + 1}"
            reply = await self.ask(
                "SETUP", f"/trackID={track_id}", f"Transport: RTP/AVP/TCP;unicast;interleaved={pair}"
            )
            assert reply.status == 200, reply.head
        return await self.ask("PLAY")

    async def set_up_udp(self, url: str) -> tuple[socket.socket, socket.socket]:
        """Set up one track over UDP; the sockets of its RTP and RTCP."""
        while True:
            media, control = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
            self.sockets += media, control
            media.bind(("127.0.0.1", 0))
            number = media.getsockname()[1]
            try:
                control.bind(("127.0.0.1", number + 1))
            except (OSError, OverflowError):
                continue
            break
        reply = await self.ask("SETUP", url, f"Transport: RTP/AVP;unicast;client_port={number}-{number + 1}")
        assert reply.status == 200, reply.head
        return media, control

    async def play_udp(self, track_id: int) -> tuple[socket.socket, socket.socket]:
        """The same of a track to play, and play."""
        pair = await self.set_up_udp(f"/trackID={track_id}")
        assert (await self.ask("PLAY")).status == 200
        return pair

    async def send(self, channel: int, data: bytes) -> None:
        await self.tcp.send(interleaved_header(channel, len(data)) + data)

    def _frames(self) -> None:
        while self._buffer[:1] == b"$" and len(self._buffer) >= 4:
            end = 4 + int.from_bytes(self._buffer[2:4], "big")
            if len(self._buffer) < end:
                return
            self.frames.append((self._buffer[1], self._buffer[4:end]))
            self._buffer = self._buffer[end:]

    def _reply(self) -> Reply | None:
        self._frames()
        head, end, rest = self._buffer.partition(b"\r\n\r\n")
        if not end or head[:1] == b"$":
            return None
        text = head.decode() + "\r\n"
        length = re.search(r"^content-length: *(\d+)", text, re.IGNORECASE | re.MULTILINE)
        size = int(length[1]) if length else 0
        if len(rest) < size:
            return None
        self._buffer = rest[size:]
        return Reply(int(text.split(" ")[1]), text, rest[:size])


@asynccontextmanager
async def talking(server: Server, path: str = PATH) -> AsyncGenerator[Talk]:
    async with await anyio.connect_tcp("127.0.0.1", port(server)) as tcp:
        talk = Talk(tcp, f"rtsp://127.0.0.1/{path}")
        yield talk
        for sock in talk.sockets:
            sock.close()


async def datagram(sock: socket.socket) -> bytes:
    """The next datagram."""
    await anyio.wait_readable(sock)
    return sock.recv(2048)
