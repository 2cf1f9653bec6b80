"""The smallest packets there are, thousands in one read: who sends them is not silent, and others have their turn."""

from __future__ import annotations

import gc
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream
from anyio.lowlevel import checkpoint

from penstock import Server
from penstock_formats.rtp.ingest import TrackIngest
from penstock_rtsp.message import interleaved_header
from tests.faults.rtsp import H264, IDR, rtp, sdp
from tests.rtsp.served import serving, talking

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]

SLICE = 160
"""About the packets that are parsed before others have their turn."""
PACKETS = [rtp(number, number * 90, IDR) for number in range(8_000)]
FLOOD = b"".join(interleaved_header(0, len(packet)) + packet for packet in PACKETS)


@pytest.fixture(autouse=True)
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each turn of a publisher takes 20 ms, as on a machine that does too much: all of it is a second."""
    packet, taken = TrackIngest.packet, 0

    def slowly(self: TrackIngest, data: bytes, now: int) -> None:
        nonlocal taken
        taken += 1
        if taken % SLICE == 0:
            time.sleep(0.02)
        packet(self, data, now)

    monkeypatch.setattr(TrackIngest, "packet", slowly)


async def test_a_publisher_whose_packets_take_long_is_not_silent() -> None:
    times = {"wait_for_stream": 0, "publisher_timeout": 0.4}
    async with serving(server=times) as server, talking(server, "live/flood") as peer:
        await peer.ask("ANNOUNCE", "", "Content-Type: application/sdp", body=sdp(H264))
        way = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1;mode=record"
        await peer.ask("SETUP", "/trackID=0", way)
        assert (await peer.ask("RECORD")).status == 200
        await peer.tcp.send(FLOOD)
        with anyio.fail_after(10):
            assert (await peer.ask("OPTIONS")).status == 200
        stream = server.streams.get("live/flood")
        assert stream is not None
        assert stream.frames_in == len(PACKETS)


ANSWERS = {
    "DESCRIBE": "Content-Type: application/sdp\r\n",
    "SETUP": "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 7\r\n",
}
BODIES = {"DESCRIBE": sdp(H264)}


async def _flood(stream: SocketStream) -> None:
    """An RTSP server that answers whatever it is asked, and floods who plays."""
    async with stream:
        data = b""
        while True:
            while b"\r\n\r\n" not in data:
                try:
                    data += await stream.receive()
                except (anyio.EndOfStream, anyio.BrokenResourceError):
                    return
            head, _, data = data.partition(b"\r\n\r\n")
            lines = head.decode().split("\r\n")
            method = lines[0].partition(" ")[0]
            cseq = next(line for line in lines if line.lower().startswith("cseq:"))
            if method == "SETUP" and "TCP" not in head.decode():
                await stream.send(f"RTSP/1.0 461 Unsupported Transport\r\n{cseq}\r\n\r\n".encode())
                continue
            body = BODIES.get(method, b"")
            more = ANSWERS.get(method, "") + f"Content-Length: {len(body)}\r\n"
            await stream.send(f"RTSP/1.0 200 OK\r\n{cseq}\r\n{more}\r\n".encode() + body)
            if method == "PLAY":
                await stream.send(FLOOD)


@asynccontextmanager
async def _pulling(path: str, **server: Any) -> AsyncGenerator[Server]:
    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(listener.serve, _flood)
        port = listener.extra(SocketAttribute.local_port)
        source = {path: {"source": f"rtsp://127.0.0.1:{port}/x"}}
        async with serving(server={"wait_for_stream": 0, **server}, streams=source) as running:
            yield running
        tasks.cancel_scope.cancel()


@pytest.fixture
def unburdened() -> Iterator[None]:
    """What other tests have left in this process is not looked through meanwhile: that takes half a second at a stretch."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("unburdened")
async def test_a_source_that_floods_leaves_others_their_turn() -> None:
    async with _pulling("live/pulled", publisher_timeout=0.4) as server:
        stream, turns = None, list[float]()
        last = time.process_time()
        with anyio.fail_after(10):
            while stream is None or stream.frames_in < len(PACKETS):
                # Each turn of the loop is looked at: behind a timer, two of them may be one.
                await checkpoint()
                now = time.process_time()
                if now - last > 0.001:
                    turns.append(now - last)
                last = now
                stream = server.streams.get("live/pulled") or stream
    assert max(turns) < sum(turns) / 3
