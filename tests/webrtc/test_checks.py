"""Whose an address is, and for how long: checks of ICE, with light peers."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import pytest

from tests.webrtc.client import Client, Rig, rig
from tests.webrtc.test_whep import PICTURE

pytestmark = pytest.mark.anyio


@pytest.fixture
async def served() -> AsyncIterator[Rig]:
    async with rig() as running:
        yield running


async def test_a_restart_whose_session_ended_meanwhile_is_none(served: Rig) -> None:
    await served.publish("live/one", PICTURE)
    response = await served.post("/live/one/whep", Client(("VP8/90000",)).offer())
    resource = response.headers["location"]

    async def body() -> AsyncIterator[bytes]:
        yield b"a=ice-ufrag:another\r\n"
        await anyio.sleep(0.05)  # its head is there
        await served.http.delete(resource)
        await served.until(lambda: not served.peers)
        yield b"a=ice-pwd:abcdefghijklmnopqrstuvwx\r\n"

    headers = {"content-type": "application/trickle-ice-sdpfrag", "if-match": "*"}
    told = await served.http.patch(resource, content=body(), headers=headers)
    assert told.status_code == 404
