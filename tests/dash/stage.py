"""A server with DASH on its HTTP port, and a client that reads descriptions as a player does."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urljoin
from xml.etree import ElementTree as ET

import anyio

import penstock
from penstock import Plugin
from penstock.plugins import PluginSet
from penstock_codecs.aac import plugin as aac
from penstock_codecs.h264 import plugin as h264
from penstock_dash.mpd import NAMESPACE
from penstock_dash.plugin import plugin as dash
from penstock_http.plugin import plugin as http
from tests.hls.stage import Live
from tests.http.port import Answer, ask

NS = {"": NAMESPACE}
URL = "/live/one.mpd"


@asynccontextmanager
async def serving(
    server: Mapping[str, Any] | None = None, *, plugins: Iterable[Plugin] = (), **config: Any
) -> AsyncGenerator[penstock.Server]:
    """A server with DASH, the tables ``[server]`` and ``[dash]`` (`config`): segments of 1 s, parts of 0.2 s."""
    tables = {
        "http": {"listen": "127.0.0.1:0"},
        "dash": config,
        "server": {"segment_seconds": 1.0, "wait_for_stream": 0.3, **(server or {})},
    }
    found = PluginSet.discover([http, dash, h264, aac, *plugins], installed=False)
    async with penstock.Server(tables, plugins=found) as running:
        try:
            yield running
        finally:
            for session in running.sessions:
                if session.protocol == "test":
                    running.sessions.remove(session)  # nobody runs it, who would end it


@asynccontextmanager
async def live(
    server: Mapping[str, Any] | None = None, *, config: Mapping[str, Any] | None = None, **source: Any
) -> AsyncGenerator[tuple[penstock.Server, Live]]:
    """A server with one stream on it."""
    async with serving(server, **(config or {})) as running:
        stream = Live(running, **source)
        await stream.publish()
        yield running, stream


async def get(server: penstock.Server, url: str, *headers: str) -> Answer:
    return await ask(server, f"GET {url}", *headers)


async def watching(server: penstock.Server, stream: Live, seconds: int = 3, url: str = URL) -> Mpd:
    """A viewer comes, then `seconds` of the stream and five pictures, a part, more: what is described then."""

    async def come() -> None:
        await get(server, url)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(come)
        await anyio.sleep(0.05)
        stream.write(25 * seconds + 5)
    return await description(server, url)


async def description(server: penstock.Server, url: str = URL) -> Mpd:
    answer = await get(server, url)
    assert answer.status == 200, answer
    assert answer.headers["content-type"] == "application/dash+xml"
    return Mpd(url, answer.body)


class Mpd:
    """A description as a player sees it."""

    def __init__(self, url: str, body: bytes) -> None:
        self.url = url
        self.root = ET.fromstring(body)

    def __getitem__(self, name: str) -> str:
        return self.root.attrib[name]

    def all(self, path: str) -> list[ET.Element]:
        return self.root.findall(path, NS)

    def one(self, path: str) -> ET.Element:
        (found,) = self.all(path)
        return found

    def template(self, kind: str = "video", period: int = -1) -> ET.Element:
        found = self.all("Period")[period].find(f"AdaptationSet[@contentType='{kind}']/SegmentTemplate", NS)
        assert found is not None
        return found

    def times(self, kind: str = "video", period: int = -1) -> list[tuple[int, int]]:
        """Start and duration of each segment, with repetitions told."""
        found: list[tuple[int, int]] = []
        for entry in self.template(kind, period).findall("SegmentTimeline/S", NS):
            start, duration = int(entry.attrib["t"]), int(entry.attrib["d"])
            found += [(start + n * duration, duration) for n in range(int(entry.get("r", "0")) + 1)]
        return found

    def media(self, time: int, kind: str = "video", period: int = -1) -> str:
        template = self.template(kind, period).attrib["media"]
        return urljoin(self.url, template.replace("$Time$", str(time)))

    def init(self, kind: str = "video", period: int = -1) -> str:
        return urljoin(self.url, self.template(kind, period).attrib["initialization"])
