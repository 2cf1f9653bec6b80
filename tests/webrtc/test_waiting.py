"""Who asks for a stream that nobody publishes yet is answered when it comes, or when it is waited for no longer."""

from __future__ import annotations

import anyio
import pytest

from penstock import Session
from tests.webrtc.client import Client, rig

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
