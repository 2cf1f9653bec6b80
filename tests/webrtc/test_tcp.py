"""Media over TCP with a light peer: it plays and publishes as over UDP, and one that is slow costs nobody anything."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator

import anyio
import anyio.lowlevel
import pytest
from attrs import define, field

from penstock_webrtc.candidate import Candidate
from penstock_webrtc.framing import Unframer, frame
from penstock_webrtc.tcp import MAX_WAITING
from tests.webrtc.client import LIMIT, Client, Rig, rig
from tests.webrtc.test_whep import INTER, KEY, PICTURE, frames, write

pytestmark = pytest.mark.anyio


@pytest.fixture
async def served() -> AsyncIterator[Rig]:
    async with rig() as running:
        yield running


@define(eq=False)
class TcpClient(Client):
    """A peer that UDP does not reach."""

    codings: tuple[str, ...] = ("VP8/90000",)
    sock: socket.socket = field(factory=lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))
    unframer: Unframer = field(factory=Unframer)

    def take(self, answer: bytes) -> None:
        super().take(answer)
        assert self.answer is not None
        section = next(m for m in self.answer.media if m.port)
        found = [Candidate.parse(value or "") for key, value in section.attributes if key == "candidate"]
        (passive,) = [c for c in found if c.transport == "tcp"]
        assert passive.tcp_type == "passive"
        assert passive.priority < found[0].priority
        self.connect_to(passive.address, passive.port)

    def connect_to(self, host: str, port: int) -> None:
        self.sock.setblocking(True)
        self.sock.connect((host, port))
        self.sock.setblocking(False)

    def send(self, data: bytes) -> None:
        self.sock.sendall(b"".join(frame([data])))

    def datagram(self) -> bytes | None:
        try:
            self.unframer.receive_data(self.sock.recv(65_536))
        except BlockingIOError:
            pass
        return self.unframer.next_event()

    async def until_closed(self) -> None:
        """Read until the server closes the connection."""
        with anyio.fail_after(LIMIT):
            while True:
                try:
                    if not self.sock.recv(65_536):
                        return
                except BlockingIOError:
                    await anyio.sleep(0.005)
                except ConnectionError:
                    return


def links(served: Rig) -> list[str]:
    return [s.id for s in served.server.sessions if s.protocol == "webrtc-tcp"]


async def playing(served: Rig, client: Client) -> str:
    response = await served.post("/live/one/whep", client.offer())
    client.take(response.content)
    await client.connect()
    return response.headers["location"]


async def test_it_plays(served: Rig) -> None:
    publisher, (picture,) = await served.publish("live/one", PICTURE)
    client = TcpClient()
    resource = await playing(served, client)
    await write(publisher, picture, KEY, 0)
    await write(publisher, picture, INTER, 0.04)
    await client.until(lambda: frames(client) == [KEY, INTER])
    assert len(links(served)) == 1
    # Its connection ends with it.
    assert (await served.http.delete(resource)).status_code == 200
    await client.until_closed()
    await served.until(lambda: not links(served))


async def test_it_goes_on_over_another_way_where_one_ends(served: Rig) -> None:
    publisher, (picture,) = await served.publish("live/one", PICTURE)
    client = TcpClient()
    await playing(served, client)
    other = Client()
    other.remote, other.server, other.srtp = client.remote, served.media, client.srtp
    other.credentials = client.credentials
    client.send(client.check())
    other.send(other.check())
    await other.until(lambda: other.checks)
    client.send(client.check())
    await client.until(lambda: len(client.checks) == 3)
    client.sock.close()
    await served.until(lambda: not links(served))
    await write(publisher, picture, KEY, 0)
    await other.until(lambda: frames(other) == [KEY])
    assert len(served.peers) == 1


async def test_who_does_not_read_loses_packets_and_nothing_waits_for_it(served: Rig) -> None:
    publisher, (picture,) = await served.publish("live/one", PICTURE)
    slow, canary = TcpClient(), TcpClient()
    slow.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32_768)
    await playing(served, slow)
    await playing(served, canary)
    count = 1000
    for number in range(count):
        await write(publisher, picture, KEY if number % 25 == 0 else INTER, number * 0.04)
        while canary.receive():
            pass
        await anyio.lowlevel.checkpoint()
    await canary.until(lambda: len(frames(canary)) == count)
    # It reads again: what waits comes whole, and is the newest of what there was.
    last = KEY + b"last"
    await write(publisher, picture, last, count * 0.04)
    await slow.until(lambda: slow.packets and slow.packets[-1].payload.endswith(b"last"))
    assert frames(slow)[-1] == last
    numbers = sorted(p.sequence for p in slow.of(96))
    assert MAX_WAITING // 1000 < numbers[-1] - numbers[0] + 1 - len(numbers) < count
    slow.sock.close()
    await served.until(lambda: len(links(served)) == 1)


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\n\r\n", b"\0\1", bytes(64), b"\x16\3\1\2\0\1\0\1\xfc\3\3" + bytes(60)]
)
async def test_who_is_no_peer_is_closed(served: Rig, data: bytes) -> None:
    client = TcpClient()
    client.connect_to("127.0.0.1", next(e.port for e in served.server.endpoints if e.what == "webrtc-tcp"))
    client.sock.sendall(data)
    await client.until_closed()
    await served.until(lambda: not links(served))
