"""A server with DASH on its HTTP port, and a client that reads descriptions as a player does."""

from __future__ import annotations

from functools import partial
from urllib.parse import urljoin
from xml.etree import ElementTree as ET

import anyio

import penstock
from penstock_dash.mpd import NAMESPACE
from penstock_dash.plugin import plugin as dash
from tests.hls import stage
from tests.hls.stage import Live, get

NS = {"": NAMESPACE}
URL = "/live/one.mpd"


serving = partial(stage.serving, protocol=dash)
live = partial(stage.live, protocol=dash)


async def watching(server: penstock.Server, stream: Live, seconds: int = 3, url: str = URL) -> Mpd:
    """A viewer comes, then `seconds` of the stream and five pictures, a part, more: what is described then."""

    async def come() -> None:
        await get(server, url)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(come)
        await anyio.sleep(0.05)
        stream.write(25 * seconds + 5)
    return await description(server, url)


async def description(server: penstock.Server, url: str = URL, *headers: str) -> Mpd:
    answer = await get(server, url, *headers)
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
