"""A push over UDP, to a peer of which nothing is heard any more."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream, UDPSocket
from attrs import define, field

from penstock import Server
from penstock import relay as relay_module
from penstock_codecs.g711 import PCMU, G711Config
from penstock_rtsp.requester import Requester

pytestmark = pytest.mark.anyio

INTERVAL = 0.25
REPORT = bytes.fromhex("80c9000100000001")
PORTS = ("listen", "listen_tls", "rtp", "rtcp")


@define
class Receiver:
    """An RTSP server that takes what is pushed, as long as it `answers`; it says nothing by itself."""

    media: UDPSocket
    control: UDPSocket
    answers: bool = True
    asked: list[str] = field(factory=list[str])
    to: int = 0
    """Where its reports are wanted."""

    async def serve(self, stream: SocketStream) -> None:
        data = b""
        async with stream:
            while True:
                while b"\r\n\r\n" not in data:
                    try:
                        data += await stream.receive()
                    except anyio.EndOfStream:
                        return
                head, _, data = data.partition(b"\r\n\r\n")
                lines = head.decode().split("\r\n")
                headers = {
                    name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])
                }
                for _ in range(len(data), int(headers.get("content-length", 0))):
                    data += await stream.receive()
                data = data[int(headers.get("content-length", 0)) :]
                self.asked.append(lines[0].partition(" ")[0])
                if self.asked[-1] == "TEARDOWN":
                    return
                if self.answers:
                    await stream.send(self._answer(headers).encode())

    def _answer(self, headers: dict[str, str]) -> str:
        answer = f"RTSP/1.0 200 OK\r\nCSeq: {headers['cseq']}\r\nSession: 7;timeout=2\r\n"
        if "transport" in headers:
            self.to = int(
                headers["transport"].partition("client_port=")[2].partition("-")[2].partition(";")[0]
            )
            ports = "-".join(str(s.extra(SocketAttribute.local_port)) for s in (self.media, self.control))
            answer += f"Transport: {headers['transport']};server_port={ports}\r\n"
        return answer + "\r\n"

    async def report(self) -> None:
        await self.control.sendto(REPORT, "127.0.0.1", self.to)


@asynccontextmanager
async def receiver() -> AsyncGenerator[tuple[Receiver, int]]:
    async with (
        await anyio.create_udp_socket(local_host="127.0.0.1") as media,
        await anyio.create_udp_socket(local_host="127.0.0.1") as control,
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as tasks,
    ):
        # The RTCP port is the higher one.
        low, high = sorted((media, control), key=lambda sock: sock.extra(SocketAttribute.local_port))
        found = Receiver(low, high)
        tasks.start_soon(listener.serve, found.serve)
        yield found, listener.extra(SocketAttribute.local_port)
        tasks.cancel_scope.cancel()


async def until(asked: list[str], method: str, times: int) -> None:
    with anyio.fail_after(10):
        while asked.count(method) < times:
            await anyio.sleep(0.01)


async def test_a_receiver_of_which_nothing_is_heard_is_left_and_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(relay_module, "BACKOFF_SECONDS", (0.02,))
    monkeypatch.setattr(Requester, "keep_alive_interval", int(INTERVAL * 1e9))
    async with receiver() as (peer, port):
        config = {
            "rtmp": {"enabled": False},
            "rtsp": dict.fromkeys(PORTS, "127.0.0.1:0"),
            "streams": {"live/a": {"push": [f"rtsp://127.0.0.1:{port}/a"]}},
        }
        async with Server(config) as server:
            session = server.sessions.add("test", "here")
            publisher = await server.streams.publish(session, "live/a")
            track = publisher.add_track(PCMU, 8000, G711Config())
            publisher.tracks_complete()
            publisher.write(track.id, (bytes(160),), pts=0, dts=0, key=True)
            await publisher.flush()
            # Each keep-alive is answered: it stays.
            await until(peer.asked, "OPTIONS", 5)
            assert peer.asked.count("RECORD") == 1
            # None is, but it reports that it lives: it stays.
            peer.answers = False
            for _ in range(6):
                await peer.report()
                await anyio.sleep(INTERVAL / 2)
            assert peer.asked.count("RECORD") == 1
            # Nothing is heard any more.
            await until(peer.asked, "TEARDOWN", 1)
            peer.answers = True
            await until(peer.asked, "RECORD", 2)
            publisher.close()
            server.sessions.remove(session)
