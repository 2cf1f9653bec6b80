"""A server with the pages on a port of its own, and a client."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from attrs import define

from penstock import Plugin, PluginSet, Publisher, Server
from penstock_codecs.aac.config import AAC, AacConfig
from penstock_codecs.h264.config import H264, merge
from penstock_formats.nal import split_annex_b
from tests.codecs.h26x import DATA

CONFIG = {"http": {"listen": "127.0.0.1:0", "listen_tls": ""}}
PICTURE = [nal for nal in split_annex_b((DATA / "x264.h264").read_bytes()) if nal[0] & 31 in (7, 8)]
SOUND = bytes.fromhex("1190")
"""An AudioSpecificConfig: AAC LC at 48 kHz, stereo."""


@pytest.fixture(params=["asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """The HTTP port needs asyncio."""
    return "asyncio", {"use_uvloop": False}


@define
class Site:
    """A running server, and what asks it."""

    server: Server
    client: httpx2.AsyncClient

    async def get(self, url: str, **headers: str) -> httpx2.Response:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.get(url, headers={"accept": "text/html,*/*;q=0.8", **given})

    async def publish(self, path: str) -> Publisher:
        """A stream of H.264 and AAC, without frames."""
        session = self.server.sessions.add("test", "192.0.2.1:1000")
        publisher = await self.server.streams.publish(session, path)
        publisher.add_track(H264, 90_000, merge(None, PICTURE))
        publisher.add_track(AAC, 48_000, AacConfig.parse(SOUND))
        publisher.tracks_complete()
        return publisher


def serves(config: dict[str, Any] | None = None, *plugins: Plugin) -> Server:
    """A server with HTTP, the pages, their neighbours on that port, and `plugins`; to be started."""
    enabled = {
        "h264",
        "aac",
        "http",
        "page",
        "hls",
        "dash",
        "progressive",
        *(plugin.name for plugin in plugins),
    }
    found = PluginSet.discover(plugins)
    off = {record.name: {"enabled": False} for record in found if record.name not in enabled}
    return Server({**off, **CONFIG, **(config or {})}, plugins=found)


@asynccontextmanager
async def site(config: dict[str, Any] | None = None, *plugins: Plugin) -> AsyncGenerator[Site]:
    """Such a server, running."""
    async with serves(config, *plugins) as server:
        (port,) = (endpoint.port for endpoint in server.endpoints if endpoint.what == "http")
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            yield Site(server, client)
            # Nobody is behind them who would leave when the server stops.
            for session in server.sessions:
                if session.address.startswith("192.0.2."):
                    server.sessions.remove(session)
