"""The public address of the media port, as a STUN server tells it: here that of another server's TURN port."""

from __future__ import annotations

import pytest

from penstock_webrtc.candidate import Candidate
from tests.webrtc.client import Client, rig
from tests.webrtc.test_whep import PICTURE

pytestmark = pytest.mark.anyio


async def test_it_is_a_candidate() -> None:
    async with rig() as other:
        number = next(e.port for e in other.server.endpoints if e.what == "webrtc-turn")
        config: dict[str, object] = {
            "addresses": ["192.0.2.1"],
            "stun_servers": ["stun:[::1]", f"stun:127.0.0.1:{number}"],
        }
        async with rig(webrtc=config) as served:
            await served.publish("live/one", PICTURE)
            client = Client(("VP8/90000",))

            async def mapped() -> list[Candidate]:
                client.take((await served.post("/live/one/whep", client.offer())).content)
                assert client.answer is not None
                lines = client.answer.media[0].attributes
                every = [Candidate.parse(value or "") for key, value in lines if key == "candidate"]
                return [c for c in every if c.kind == "srflx"]

            found: list[Candidate] = []
            for _ in range(20):
                found = await mapped()
                if found:
                    break
            (candidate,) = found
            assert (candidate.address, candidate.port) == served.media
            client.server = candidate.address, candidate.port
            await client.connect()
            assert candidate.priority < 126 << 24


@pytest.mark.parametrize("uri", ["stun.example.org", "turn:a", "stun:", "stun:a:b", "stun:a b"])
async def test_what_is_no_stun_server(uri: str) -> None:
    with pytest.raises(Exception, match=r"stun:stun\.example\.org:3478"):
        async with rig(webrtc={"stun_servers": [uri]}):
            pass
