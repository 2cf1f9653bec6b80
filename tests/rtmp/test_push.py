"""A push ends where its stream does, between two servers."""

from __future__ import annotations

import anyio
import pytest
from structlog.testing import capture_logs

from tests.rtsp.served import PATH, port, publish, serving

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]


@pytest.mark.parametrize("scheme", ["rtmp", "rtsp"])
async def test_the_copy_ends_with_the_stream(scheme: str) -> None:
    with capture_logs() as lines:
        async with serving(http={"enabled": False}) as far:
            url = f"{scheme}://127.0.0.1:{port(far, scheme)}/{PATH}"
            async with serving(http={"enabled": False}, streams={PATH: {"push": [url]}}) as near:
                source = await publish(near)
                with anyio.fail_after(5):
                    while (copy := far.streams.get(PATH)) is None or not copy.frames_in:
                        await source.picture(key=True)
                        await source.sound()
                        await anyio.sleep(0.02)
                source.publisher.close()
                with anyio.fail_after(2):
                    while copy.published or near.streams.get(PATH) is not None:
                        await anyio.sleep(0.01)
    reasons = {line.get("reason") for line in lines if line["event"] == "session closed"}
    assert reasons == {"the publisher left", "the peer left"}
    assert not [line for line in lines if line.get("log_level") in ("warning", "error")]
