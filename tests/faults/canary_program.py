"""The canary, as a program: RTMP_PORT RTSP_PORT HTTP_PORT SERVER_PID.

One publisher and one reader for each of RTMP, RTSP over TCP and RTSP over UDP, 25 numbered pictures a second each; what
is published over RTMP is read over WebRTC as well.
A line ``mark`` on stdin is answered with what each reader has seen since the last mark, as one line of JSON.
It is a process of its own, so that what the tests do between two marks does not hold it up. Time in which the server or
the canary could have run, but the machine gave its processors to others, is nobody's fault and no part of delays and gaps.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import struct
import sys
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import closing
from http.client import HTTPConnection as HttpConnection
from typing import Any

import anyio
from attrs import define, field

from penstock.errors import leading
from penstock_formats.rtp.packet import RtpPacket
from penstock_formats.sdp import SessionDescription
from penstock_rtmp.chunk import CSID_VIDEO, Message, encode_message
from penstock_rtmp.client_connection import ClientConnection, Target
from penstock_rtmp.event import Ended, Playing, Publishing, Rejected
from penstock_rtmp.handshake import RANDOM_SIZE
from penstock_rtsp.message import InterleavedFrame
from penstock_rtsp.requester import Described, Failed, Prepared, Requester, Started, TransportRefused
from penstock_rtsp.transport import Lower, Mode, Transport
from tests.webrtc.client import Client

RATE = 25
KEY_EACH = 25
VIDEO_CLOCK = 90_000
CHECK_SECONDS = 5.0
SPS = bytes.fromhex("6764000cacd941419f9f011000000300100000030320f1429960")
PPS = bytes.fromhex("68ef839cb0")
AVCC = b"\x01" + SPS[1:4] + b"\xff\xe1" + struct.pack(">H", len(SPS)) + SPS + b"\x01\x00\x05" + PPS
SDP = (
    b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=canary\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
    b"a=fmtp:96 packetization-mode=1;sprop-parameter-sets=Z2QADKzZQUGfnwEQAAADABAAAAMDIPFCmWA=,aO+DnLA=\r\n"
    b"a=control:trackID=0\r\n"
)
_STAMP = re.compile(rb"canary (\d{10}) (\d{20})")


class Clock:
    """Nanoseconds in which nobody else had the processors that this process and the server wanted."""

    def __init__(self, server: int) -> None:
        self._waits = [os.open(f"/proc/{pid}/schedstat", os.O_RDONLY) for pid in (os.getpid(), server)]

    def now(self) -> int:
        # Of each main thread: time on a processor, and time on the queue for one.
        return time.monotonic_ns() - sum(int(os.pread(wait, 100, 0).split()[1]) for wait in self._waits)


def picture(number: int, now: int) -> bytes:
    """One NAL unit that names itself, without any byte that would need an escape."""
    header = b"\x65\x88" if number % KEY_EACH == 0 else b"\x41\x9a"
    return header + b"canary %010d %020d" % (number, now) + b"x" * 200


@define
class Board:
    """What one reader has seen."""

    clock: Clock
    received: int = 0
    missing: int = 0
    again: int = 0
    delay: float = 0.0
    gap: float = 0.0
    error: str = ""
    _next: int | None = None
    _last: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._last = self.clock.now()

    def see(self, payload: bytes) -> None:
        found = _STAMP.search(payload)
        if found is None:
            return
        number, sent, now = int(found[1]), int(found[2]), self.clock.now()
        if self._next is not None:
            self.missing += max(0, number - self._next)
            self.again += number < self._next
        if self._next is None or number >= self._next:
            self._next = number + 1
        self.received += 1
        if self.received > 1:
            # The first pictures are those that the server kept for who joins late.
            self.delay = max(self.delay, (now - sent) / 1e9)
            self.gap = max(self.gap, (now - self._last) / 1e9)
        self._last = now

    def mark(self) -> dict[str, Any]:
        silent = (self.clock.now() - self._last) / 1e9
        seen = {
            "received": self.received,
            "missing": self.missing,
            "again": self.again,
            "delay": self.delay,
            "gap": max(self.gap, silent),
            "error": self.error,
        }
        self.received = self.missing = self.again = 0
        self.delay = self.gap = 0.0
        return seen


async def numbered(clock: Clock) -> AsyncIterator[tuple[int, int]]:
    """Number and time in ns of each picture, at the pace of a camera."""
    start = time.monotonic()
    number = 0
    while True:
        await asyncio.sleep(max(0.0, start + number / RATE - time.monotonic()))
        yield number, clock.now()
        number += 1


class Rtmp:
    """A client of the server's RTMP port."""

    def __init__(self, port: int, name: str, *, publish: bool) -> None:
        self._port = port
        target = Target("canary", f"rtmp://127.0.0.1:{port}/canary", name, publish)
        self.link = ClientConnection(target, os.urandom(RANDOM_SIZE), 0)

    async def __aenter__(self) -> Rtmp:
        self._in, self._out = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._out.close()

    async def events(self) -> AsyncIterator[Any]:
        while True:
            self._out.write(self.link.data_to_send())
            data = await self._in.read(65536)
            if not data:
                raise ConnectionError("the server closed the canary's connection")
            self.link.receive_data(data)
            while (event := self.link.next_event()) is not None:
                if isinstance(event, Rejected | Ended):
                    raise ConnectionError(repr(event))
                yield event

    async def until(self, kind: type) -> None:
        async for event in self.events():
            if isinstance(event, kind):
                return

    async def publish(self, clock: Clock) -> None:
        await self.until(Publishing)
        drained = asyncio.create_task(self.until(Ended))
        self.link.send_metadata({"videocodecid": 7.0})
        self._out.write(self.link.data_to_send())
        self._send(0, b"\x17\x00\x00\x00\x00" + AVCC)
        async for number, now in numbered(clock):
            if drained.done():
                await drained
            nal = picture(number, now)
            head = b"\x17" if number % KEY_EACH == 0 else b"\x27"
            self._send(number * 1000 // RATE, head + b"\x01\x00\x00\x00" + struct.pack(">I", len(nal)) + nal)

    def _send(self, timestamp: int, body: bytes) -> None:
        link = self.link
        self._out.write(encode_message(CSID_VIDEO, timestamp, 9, link.stream_id, body, link.chunk_size))


class Rtsp:
    """A client of the server's RTSP port; `udp` says how media travels."""

    def __init__(self, port: int, name: str, *, udp: bool) -> None:
        self._port = port
        self._udp = udp
        self.rtsp = Requester(f"rtsp://127.0.0.1:{port}/canary/{name}", "canary", "c0ffee")

    async def __aenter__(self) -> Rtsp:
        self._in, self._out = await asyncio.open_connection("127.0.0.1", self._port)
        self._media, self._control = udp_pair()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._out.close()
        self._media.close()
        self._control.close()

    async def events(self) -> AsyncIterator[Any]:
        while True:
            while (event := self.rtsp.next_event()) is not None:
                if isinstance(event, Failed | TransportRefused):
                    raise ConnectionError(repr(event))
                yield event
            self._out.write(self.rtsp.data_to_send())
            data = await self._in.read(65536)
            if not data:
                raise ConnectionError("the server closed the canary's connection")
            self.rtsp.receive_data(data)

    async def until(self, kind: type) -> Any:
        async for event in self.events():
            if isinstance(event, kind):
                return event
        raise ConnectionError("no answer")

    async def _setup(self, control: str | None, mode: Mode) -> Transport:
        if self._udp:
            ports = self._media.getsockname()[1], self._control.getsockname()[1]
            wanted = Transport(client_port=ports, mode=mode)
        else:
            wanted = Transport(Lower.TCP, interleaved=(0, 1), mode=mode)
        self.rtsp.setup(control, wanted)
        prepared: Prepared = await self.until(Prepared)
        return prepared.transport

    async def publish(self, clock: Clock) -> None:
        self.rtsp.announce(SessionDescription.parse(SDP))
        await self.until(object)
        transport = await self._setup("trackID=0", Mode.RECORD)
        self.rtsp.record()
        await self.until(Started)
        ports = transport.server_port
        if self._udp and ports is not None:
            self._media.connect(("127.0.0.1", ports[0]))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_alive())
            tasks.create_task(self._drain())
            async for number, now in numbered(clock):
                stamp = number * VIDEO_CLOCK // RATE & 0xFFFFFFFF
                packet = RtpPacket(96, True, number & 0xFFFF, stamp, 77, picture(number, now))
                data = packet.encode()
                if self._udp:
                    self._media.send(data)
                else:
                    self._out.write(b"$\x00" + struct.pack(">H", len(data)) + data)

    async def read(self, board: Board) -> None:
        self.rtsp.describe()
        described: Described = await self.until(Described)
        await self._setup(described.description.media[0].control, Mode.PLAY)
        self.rtsp.play()
        await self.until(Started)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_alive())
            if self._udp:
                tasks.create_task(self._datagrams(board))
            async for event in self.events():
                if isinstance(event, InterleavedFrame) and event.channel == 0:
                    board.see(event.payload)

    async def _drain(self) -> None:
        async for _ in self.events():
            pass

    async def _datagrams(self, board: Board) -> None:
        loop = asyncio.get_running_loop()
        while True:
            board.see(await loop.sock_recv(self._media, 2048))

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(1)
            self.rtsp.keep_alive()
            self._out.write(self.rtsp.data_to_send())


ROOM = 1 << 20
"""Bytes that a player's socket holds, as many ask for."""


def udp_pair() -> tuple[socket.socket, socket.socket]:
    """Sockets at an even port and the next one."""
    while True:
        first, second = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        first.setblocking(False)
        second.setblocking(False)
        # Where it is not scheduled for a while, the kernel need not drop anything.
        first.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, ROOM)
        try:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            second.bind(("127.0.0.1", port + 1))
        except (OSError, OverflowError):
            port = 1
        if port % 2 == 0:
            return first, second
        first.close()
        second.close()


async def publish_rtmp(port: int, clock: Clock) -> None:
    async with Rtmp(port, "rtmp", publish=True) as client:
        await client.publish(clock)


async def read_rtmp(port: int, board: Board) -> None:
    async with Rtmp(port, "rtmp", publish=False) as client:
        await client.until(Playing)
        async for event in client.events():
            if isinstance(event, Message):
                board.see(event.payload)


async def publish_rtsp(port: int, name: str, clock: Clock, *, udp: bool) -> None:
    async with Rtsp(port, name, udp=udp) as client:
        await client.publish(clock)


async def read_rtsp(port: int, name: str, board: Board, *, udp: bool) -> None:
    async with Rtsp(port, name, udp=udp) as client:
        await client.read(board)


async def read_webrtc(port: int, board: Board) -> None:
    client = Client(("H264/90000",))

    def offer() -> bytes | None:
        with closing(HttpConnection("127.0.0.1", port, timeout=CHECK_SECONDS)) as asked:
            asked.request("POST", "/canary/rtmp/whep", client.offer(), {"content-type": "application/sdp"})
            response = asked.getresponse()
            body = response.read()
        # It is let in once the publisher is there.
        return body if response.status == 201 else None

    with closing(client.sock):
        while (answer := await asyncio.to_thread(offer)) is None:
            await asyncio.sleep(0.05)
        client.take(answer)
        await client.connect()
        check_at = 0.0
        while True:
            if time.monotonic() >= check_at:
                check_at = time.monotonic() + CHECK_SECONDS
                client.send(client.check())
            with anyio.move_on_after(CHECK_SECONDS):
                await anyio.wait_readable(client.sock)
            while client.receive():
                pass
            for packet in client.packets:
                board.see(packet.payload)
            client.packets.clear()
            client.raw.clear()
            if client.dtls is not None and client.dtls.failure:
                raise ConnectionError(client.dtls.failure)


async def guarded(board: Board, work: Coroutine[Any, Any, None]) -> None:
    """Run one client; its end is what the tests want to know of."""
    try:
        await work
        error = "ended"
    except Exception as e:  # noqa: BLE001 - whatever it was, the next mark tells it
        error = repr(leading(e) if isinstance(e, ExceptionGroup) else e)  # pyright: ignore[reportUnknownArgumentType]
    board.error = board.error or error


async def main(rtmp: int, rtsp: int, http: int, server: int) -> None:
    clock = Clock(server)
    boards = {name: Board(clock) for name in ("rtmp", "rtsp", "udp", "webrtc")}
    clients = [(boards["rtmp"], publish_rtmp(rtmp, clock)), (boards["rtmp"], read_rtmp(rtmp, boards["rtmp"]))]
    clients.append((boards["webrtc"], read_webrtc(http, boards["webrtc"])))
    for name in ("rtsp", "udp"):
        board, udp = boards[name], name == "udp"
        clients.append((board, publish_rtsp(rtsp, name, clock, udp=udp)))
        clients.append((board, read_rtsp(rtsp, name, board, udp=udp)))
    tasks = [asyncio.create_task(guarded(board, work)) for board, work in clients]
    loop = asyncio.get_running_loop()
    while (await loop.run_in_executor(None, sys.stdin.readline)).strip():
        print(json.dumps({name: board.mark() for name, board in boards.items()}), flush=True)
    for task in tasks:
        task.cancel()


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:5])))
