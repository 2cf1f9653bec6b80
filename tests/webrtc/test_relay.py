"""TURN with a light peer: media goes through it both ways, and ends with its allocation."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from penstock_webrtc.allocation import channel_data
from tests.webrtc.client import Client, Rig, rig
from tests.webrtc.test_whep import INTER, KEY, PICTURE, frames, playing, write
from tests.webrtc.turn import UDP, TurnClient, code, unwrapped

pytestmark = pytest.mark.anyio


@pytest.fixture
async def served() -> AsyncIterator[Rig]:
    async with rig() as running:
        yield running


class RelayedClient(Client):
    """A peer that only reaches the TURN server, over UDP; by a channel from `channel` on."""

    turn: TurnClient
    channel = 0

    async def allocate(self, served: Rig) -> None:
        told = await served.http.options("/live/one/whep")
        words = told.headers["link"].split('"')
        self.turn = TurnClient(words[3], words[5])
        self.place = "127.0.0.1", next(e.port for e in served.server.endpoints if e.what == "webrtc-turn")
        self.media = served.media
        self.turn.learn(await self.ask(self.turn.allocate(UDP)))
        assert code(await self.ask(self.turn.allocate(UDP))) == 0
        assert code(await self.ask(self.turn.permit(self.media))) == 0

    async def ask(self, data: bytes) -> bytes:
        self.sock.sendto(data, self.place)
        answers: list[bytes] = []

        def answered() -> bool:
            # An answer is of the class success or error; what else comes is relayed.
            if (data := super(RelayedClient, self).datagram()) is not None and data[0] == 1:
                answers.append(data)
            return bool(answers)

        await self.until(answered)
        return answers[0]

    def send(self, data: bytes) -> None:
        wrapped = channel_data(self.channel, data) if self.channel else self.turn.send(self.media, data)
        self.sock.sendto(wrapped, self.place)

    def datagram(self) -> bytes | None:
        data = super().datagram()
        if data is None or not self.channel:
            return data and unwrapped(data)[1]
        assert data[:2] == self.channel.to_bytes(2, "big")
        return data[4 : 4 + int.from_bytes(data[2:4], "big")]


@pytest.mark.parametrize("channel", [0, 0x4321])
async def test_it_plays(served: Rig, channel: int) -> None:
    publisher, (picture,) = await served.publish("live/one", PICTURE)
    client = RelayedClient(("VP8/90000",))
    await client.allocate(served)
    if channel:
        assert code(await client.ask(client.turn.bind(channel, client.media))) == 0
        client.channel = channel
    await playing(served, client)
    await write(publisher, picture, KEY, 0)
    await client.until(lambda: frames(client) == [KEY])
    assert len(served.peers) == 1
    # Without an allocation there is no way to it any more.
    assert code(await client.ask(client.turn.refresh(0))) == 0
    while client.receive():
        pass
    await write(publisher, picture, INTER, 0.04)
    client.send(client.check())
    assert await client.silence()
