"""A bonding group at the plugin: one session, whose stream goes on while a link fails."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from random import Random
from typing import Any

import anyio
import pytest

from penstock import Plugin, Server, Session, hookimpl
from penstock.plugins import PluginSet
from penstock_srt.bond import Bond, Joined
from penstock_srt.connection import Connection, Received
from penstock_srt.extension import GroupType
from penstock_srt.group_caller import GroupCaller, Way
from penstock_srt.plugin import plugin as srt
from penstock_srt.settings import Settings

pytestmark = pytest.mark.anyio

MEDIA = Path(__file__).parents[1] / "data" / "mpegts" / "ffmpeg5-h264.ts"
PAYLOAD = 7 * 188


ALONE: dict[str, Any] = {name: {"enabled": False} for name in ("http", "rtmp", "rtsp", "webrtc")}
"""No other listeners, which would take the ports that they have by default."""


class Caller:
    """A group of two links to one listener, on a socket each."""

    def __init__(self, port: int, stream_id: bytes) -> None:
        self.now = time.monotonic_ns
        to = ("127.0.0.1", port)
        self.negotiator = GroupCaller(
            Settings(), [Way(to, 9), Way(to, 5)], GroupType.BROADCAST, stream_id, "", Random(5), self.now()
        )
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setblocking(False)
        self.links: list[Connection] = []
        self.bond: Bond | None = None
        self.cut: set[Connection] = set()
        self.received: list[bytes] = []
        self.dropped = 0

    def step(self) -> None:
        now = self.now()
        try:
            while True:
                data, address = self.sock.recvfrom(2048)
                self._take(data, address, now)
        except BlockingIOError:
            pass
        if (due := self.negotiator.next_timeout()) is not None and due <= now:
            self.negotiator.handle_timeout(now)
        self._listen()
        for data, address in self.negotiator.datagrams_to_send(now):
            self.sock.sendto(data, address)
        for link in self.links:
            if (due := link.next_timeout()) is not None and due <= now:
                link.handle_timeout(now)
            self._put(link, link.datagrams_to_send(now))
            while (given := link.next_event()) is not None:
                if isinstance(given, Received):
                    self.received += given.payloads
                    self.dropped += given.dropped

    def _take(self, data: bytes, address: tuple[str, int], now: int) -> None:
        for link in self.links:
            if data[12:16] == link.id.to_bytes(4, "big"):
                if link not in self.cut:
                    link.receive_datagrams((data,), now)
                return
        self.negotiator.receive_datagram(data, address, now)
        self._listen()

    def _listen(self) -> None:
        """What comes right behind an answer is for the link that is made by it."""
        while isinstance(event := self.negotiator.next_event(), Joined):
            self.links.append(event.connection)
            self.bond = event.bond

    def _put(self, link: Connection, datagrams: list[bytes]) -> None:
        if link not in self.cut:
            for data in datagrams:
                self.sock.sendto(data, link.address)

    def send(self, payload: bytes) -> None:
        assert self.bond is not None
        for link, datagrams in self.bond.send([payload], self.now()):
            self._put(link, datagrams)

    async def joined(self) -> None:
        with anyio.fail_after(5):
            while len(self.links) < 2:
                self.step()
                await anyio.sleep(0.005)

    def close(self) -> None:
        for link in self.links:
            link.close("done")
            self._put(link, link.datagrams_to_send(self.now()))
        self.sock.close()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_group_publishes_and_a_group_plays_while_a_link_of_each_fails() -> None:
    media = MEDIA.read_bytes()
    payloads = [media[at : at + PAYLOAD] for at in range(0, len(media), PAYLOAD)]
    async with Server(ALONE | {"srt": {"listen": "127.0.0.1:0", "latency": 40}}) as server:
        port = next(endpoint.port for endpoint in server.endpoints if endpoint.what == "srt")
        publisher = Caller(port, b"#!::r=live/one,m=publish")
        await publisher.joined()
        player: Caller | None = None
        for n in range(5 * len(payloads)):
            if n == 2 * len(payloads):
                player = Caller(port, b"#!::r=live/one,m=request")
                await player.joined()
            if n == 3 * len(payloads):
                # From now on the first link of both is dead.
                publisher.cut.add(publisher.links[0])
                assert player is not None
                player.cut.add(player.links[0])
            publisher.send(payloads[n % len(payloads)])
            publisher.step()
            if player is not None:
                player.step()
            await anyio.sleep(0.01)
        assert player is not None
        with anyio.move_on_after(0.5):
            while True:
                publisher.step()
                player.step()
                await anyio.sleep(0.01)
        sessions = [s for s in server.sessions if s.protocol == "srt"]
        assert sorted(str(s.direction) for s in sessions) == ["publish", "read"]
        (publishing,) = (s for s in sessions if s.direction == "publish")
        statistics: Any = publishing.info["srt"]
        assert statistics["pktRcvDrop"] == 0
        assert statistics["pktRcvBelated"] == 0
        # Of all links: twice what was sent before the cut, and once what was sent after it.
        assert statistics["pktRecv"] == 8 * len(payloads)
        assert len(player.received) > 2 * len(payloads)
        assert player.dropped == 0
        for caller in (publisher, player):
            caller.cut.clear()
            caller.close()
        with anyio.fail_after(5):
            while any(s.protocol == "srt" for s in server.sessions):
                await anyio.sleep(0.02)


class Gate(Plugin):
    """Lets so many in, and writes down where they come from."""

    name = "gate"

    def __init__(self, most: int) -> None:
        self.most = most
        self.asked: list[str] = []

    @hookimpl
    def authorize(self, session: Session) -> bool:
        self.asked.append(session.address)
        return len(self.asked) <= self.most


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize(("places", "most", "joined"), [(10, 1, 1), (1, 10, 1), (2, 10, 2)])
async def test_each_link_of_a_group_is_authorized_and_has_a_place(
    places: int, most: int, joined: int
) -> None:
    """What is given back when it leaves, so that another group comes as far."""
    gate = Gate(most)
    plugins = PluginSet.discover([srt, gate], installed=False)
    tables = {"srt": {"listen": "127.0.0.1:0"}, "server": {"max_connections_per_address": places}}
    async with Server(tables, plugins=plugins) as server:
        (endpoint,) = server.endpoints
        for _ in range(2):
            gate.asked.clear()
            caller = Caller(endpoint.port, b"#!::r=live/one,m=publish")
            with anyio.move_on_after(0.3):
                while True:
                    caller.step()
                    await anyio.sleep(0.005)
            assert len(caller.links) == joined
            port = caller.sock.getsockname()[1]
            assert gate.asked == [f"127.0.0.1:{port}"] * min(places, 2)
            caller.close()
            with anyio.fail_after(5):
                while len(server.sessions):
                    await anyio.sleep(0.02)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_servers_meet_each_other_and_call_by_several_ways() -> None:
    """One pushes to the other: by a rendezvous, which is pulled there, and by groups of two links to its listener."""
    media = MEDIA.read_bytes()
    payloads = [media[at : at + PAYLOAD] for at in range(0, len(media), PAYLOAD)]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        meeting = probe.getsockname()[1]
    source = f"srt://127.0.0.1:{meeting}?mode=rendezvous&adapter=127.0.0.2&passphrase=0123456789&cryptomode=2"
    taking = {
        "srt": {"listen": "127.0.0.1:0", "latency": 40},
        "server": {"wait_for_stream": 5},
        "streams": {"live/met": {"source": source}},
    }
    async with Server(ALONE | taking) as server:
        port = next(endpoint.port for endpoint in server.endpoints if endpoint.what == "srt")
        push = [
            f"srt://127.0.0.2:{meeting}?mode=rendezvous&adapter=127.0.0.1&passphrase=0123456789&cryptomode=2",
            *(
                f"srt://127.0.0.1:{port}/live/{kind}?grouptype={kind}&nodes=127.0.0.1:{port}"
                for kind in ("broadcast", "backup")
            ),
        ]
        giving = {
            "srt": {"listen": "127.0.0.1:0", "latency": 40},
            "streams": {"live/one": {"push": push}},
        }
        async with Server(ALONE | giving) as other, anyio.create_task_group() as tasks:
            to = next(endpoint.port for endpoint in other.endpoints if endpoint.what == "srt")
            publisher = Caller(to, b"#!::r=live/one,m=publish")
            await publisher.joined()

            async def publish() -> None:
                try:
                    for n in range(1000):
                        publisher.send(payloads[n % len(payloads)])
                        publisher.step()
                        await anyio.sleep(0.01)
                finally:
                    publisher.close()

            tasks.start_soon(publish)
            with anyio.fail_after(8):
                for name in ("broadcast", "backup", "met"):
                    stream = await server.streams.wait(f"live/{name}")
                    frames = 0
                    async for _ in stream.read():
                        frames += 1
                        if frames == 20:
                            break
            tasks.cancel_scope.cancel()
