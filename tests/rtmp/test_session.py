"""What a player gets, by a server in this process."""

from __future__ import annotations

import os

import anyio
import pytest

from penstock.publisher import Publisher
from penstock_rtmp.chunk import Message
from penstock_rtmp.client_connection import ClientConnection, Target
from penstock_rtmp.handshake import RANDOM_SIZE
from penstock_rtmp.message import MessageType
from tests.faults import rtmp
from tests.rtsp.served import port, publish, serving

HANDSHAKE = 1536

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]


@pytest.mark.parametrize(("start", "first"), [("key", b"1"), ("live", b"3")])
async def test_start_and_backlog_are_the_protocols_own(start: str, first: bytes) -> None:
    async with serving(rtmp={"start": start, "max_backlog_seconds": 1.5}) as server:
        source = await publish(server)
        await source.picture(key=True)
        await source.picture()
        target = Target("live", f"rtmp://127.0.0.1:{port(server, 'rtmp')}/live", "one")
        link = ClientConnection(target, os.urandom(RANDOM_SIZE), 0)
        async with await anyio.connect_tcp("127.0.0.1", port(server, "rtmp")) as tcp:
            with anyio.fail_after(5):
                while True:
                    await tcp.send(link.data_to_send())
                    link.receive_data(await tcp.receive())
                    messages = list(iter(link.next_event, None))
                    if source.stream.readers and source.number == 2:
                        await source.picture()
                    pictures = [
                        m.payload
                        for m in messages
                        if isinstance(m, Message) and m.type == MessageType.VIDEO and m.payload[1] == 1
                    ]
                    if pictures:
                        break
        assert pictures[0].endswith(first)
        assert [feed.max_backlog for feed in source.stream.feeds] == [1_500_000_000]


@pytest.mark.parametrize("streams", [1, 2])
async def test_one_stream_does_not_rest_while_another_of_its_connection_may_be_read(
    streams: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rests: list[tuple[str, bool]] = []
    real = Publisher.flush

    async def flush(self: Publisher, *, rest: bool = False, idle: bool = False) -> bool:
        rests.append((str(self.stream.path), rest or idle))
        return await real(self, rest=rest, idle=idle)

    monkeypatch.setattr(Publisher, "flush", flush)
    names = ["one", "two"][:streams]
    async with (
        serving() as server,
        await anyio.connect_tcp("127.0.0.1", port(server, "rtmp")) as tcp,
    ):
        received = b""
        with anyio.fail_after(5):
            await tcp.send(rtmp.HELLO)
            while len(received) < 1 + 2 * HANDSHAKE:
                received += await tcp.receive()
            await tcp.send(received[1 : 1 + HANDSHAKE] + rtmp.CONNECT)
            for number, name in enumerate(names, 1):
                await tcp.send(rtmp.CREATE_STREAM + rtmp.publish(name, number))
            while len(server.streams) < streams:
                await anyio.sleep(0.01)
            rests.clear()
            await tcp.send(rtmp.video(rtmp.CONFIG_TAG) + rtmp.audio(rtmp.ASC_TAG))
            while len(rests) < streams:
                await anyio.sleep(0.01)
    assert rests[:streams] == [(f"live/{name}", streams == 1) for name in names]
