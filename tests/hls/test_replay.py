"""Frames that are kept for who asks for segments first, and whether anybody can."""

from __future__ import annotations

import pytest

from penstock import Plugin
from penstock_dash.plugin import plugin as dash
from penstock_hls.plugin import plugin as hls
from tests.hls.stage import live

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("protocol", [hls, dash])
async def test_frames_of_before_are_kept_while_the_http_port_serves_segments(protocol: Plugin) -> None:
    async with live(protocol=protocol, prepared=False) as (server, stream):
        kept = stream.publisher.stream
        for off in (protocol.name, "http"):
            stream.write(150)
            assert len(kept.replayed) == 4 * len(kept.cached), "three segments, and the one that is made"
            await server.disable(off)
            stream.write(25)
            assert kept.replayed == kept.cached
            await server.enable(off)
