"""Who asks for a stream that nobody publishes yet is answered when it comes, or when it is waited for no longer."""

from __future__ import annotations

import anyio
import pytest

from penstock import DerivedTrack, Session
from penstock_codecs.h265.config import H265, H265Config
from penstock_webrtc.shared import MAX_PENDING_EACH, shared_of
from tests.webrtc.client import Client, rig
from tests.webrtc.test_whep import PPS, SPS, VPS

pytestmark = pytest.mark.anyio


async def test_who_leaves_meanwhile_has_left() -> None:
    """And the server is not said to stop, in the log and elsewhere."""
    found: list[Session] = []
    async with rig(server={"wait_for_stream": 5.0}) as served:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(served.post, "/live/none/whep", Client().offer())
            await served.until(lambda: served.peers)
            found += [s for s in served.server.sessions if s.protocol == "webrtc"]
            tasks.cancel_scope.cancel()
        await served.until(lambda: not served.peers)
    assert [session.reason for session in found] == ["the peer left before it had an answer"]


async def test_players_who_wait_for_a_stream_do_not_keep_its_publisher_out() -> None:
    async with rig(server={"wait_for_stream": 30.0}) as served:
        offer = Client().offer()
        async with anyio.create_task_group() as tasks:
            for _ in range(MAX_PENDING_EACH):
                tasks.start_soon(served.post, "/live/one/whep", offer)
            await served.until(lambda: len(served.peers) == MAX_PENDING_EACH)
            publisher = Client(("VP8/90000",), direction="sendonly")
            response = await served.post("/live/one/whip", publisher.offer())
            assert response.status_code == 201, response.text
            tasks.cancel_scope.cancel()


async def test_there_are_so_many_of_a_network_as_of_an_address() -> None:
    async with rig() as served:
        shared = shared_of(served.server)
        held = [shared.wait(f"2001:db8::{n:x}") for n in range(MAX_PENDING_EACH + 1)]
        assert [place is None for place in held] == [False] * MAX_PENDING_EACH + [True]
        other = shared.wait("2001:db8:0:1::1")
        assert other is not None
        held[0]()  # type: ignore[misc]
        assert shared.wait("2001:db8::1") is not None


async def test_who_comes_before_the_pictures_are_transcoded_is_told_to_ask_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And not that they are to be transcoded, which the config says already."""
    started = DerivedTrack.start

    async def late(track: DerivedTrack) -> bool:
        started(track)
        return False

    hevc = H265, 90_000, H265Config((VPS,), (SPS,), (PPS,))
    async with rig(transcode={"video": ["live/*"]}) as served:
        await served.publish("live/one", hevc)
        await served.publish("other/one", hevc)
        offer = Client(("H264/90000",)).offer()
        with monkeypatch.context() as patched:
            patched.setattr(DerivedTrack, "ready", late)
            response = await served.post("/live/one/whep", offer)
            assert response.status_code == 503
            assert response.headers["retry-after"] == "1"
            assert "are being transcoded" in response.text
            refused = await served.post("/live/one/whep", Client(("VP8/90000",)).offer())
            assert refused.status_code == 422, "nothing is made that it takes"
        assert (await served.post("/live/one/whep", offer)).status_code == 201
        assert (await served.post("/other/one/whep", offer)).status_code == 422
