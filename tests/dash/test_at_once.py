"""What is answered past ASGI is what the handler answers, but for what is still growing; what comes next is waited for."""

from __future__ import annotations

import anyio
import pytest

from tests.dash.stage import live, watching
from tests.http.both_ways import answers, both_ways

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("logs")]


def get(url: str, method: str = "GET", more: str = "") -> bytes:
    return f"{method} {url} HTTP/1.1\r\nHost: h\r\n{more}\r\n".encode()


@pytest.mark.parametrize("low_latency", [True, False])
async def test_both_ways_answer_the_same(low_latency: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    async with live(config={"low_latency": low_latency}) as (server, stream):
        mpd = await watching(server, stream, 4)
        first, second = mpd.times()[:2]
        token = (mpd.one("Location").text or "").partition("?")[2]
        urls = ["/live/one.mpd", f"/live/one.mpd?{token}", "/live/one.mpd?token=x%2Fy&z"]
        urls += [
            mpd.media(first[0]),
            f"{mpd.media(second[0])}&token=x",
            mpd.media(second[0] + 9000),
            mpd.media(1 << 40),
        ]
        urls += [mpd.media(mpd.times("audio")[0][0], "audio"), mpd.init(), mpd.init("audio")]
        urls += [mpd.init().replace("-", "-0", 1), mpd.init().replace("v1", "v9"), "/live/one/dash/none.m4s"]
        requests = [
            get(url, method, more)
            for more in ("", "Origin: https://player.example\r\n", "Authorization: Basic eDp5\r\n", "Range: bytes=0-9\r\n")
            for method in ("GET", "HEAD")
            for url in urls
        ]  # fmt: skip
        slow, fast, taken = await both_ways(server, requests, "dash", monkeypatch)
    assert fast == slow
    assert taken > 15


async def test_the_segment_that_comes_next_is_waited_for() -> None:
    async with live(config={"low_latency": False}) as (server, stream):
        mpd = await watching(server, stream, 4)
        start, duration = mpd.times()[-1]
        found: list[bytes] = []

        async def ask(times: int) -> None:
            found.extend(await answers(server, [get(mpd.media(start + times * duration))]))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, 2)
            await anyio.sleep(0.05)
            assert not found
            stream.write(50)
        assert b" 200 OK" in found[0]


async def test_vlc_is_told_of_whole_segments_alone() -> None:
    """Of an entry whose length changes it leaves out what follows."""
    async with live() as (server, stream):
        await watching(server, stream, 4)
        for agent, low in (("VLC/3.0.24 LibVLC/3.0.24", False), ("Lavf/59.27.100", True)):
            (answer,) = await answers(server, [get("/live/one.mpd", more=f"User-Agent: {agent}\r\n")])
            assert (b"availabilityTimeOffset" in answer) is low
            assert b"\r\nvary: user-agent" in answer.lower()
