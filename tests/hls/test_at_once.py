"""What is answered past ASGI is what the handler answers, byte for byte, and counts the same."""

from __future__ import annotations

import anyio
import pytest

import penstock
from penstock import Plugin, Rendition, hookimpl
from penstock_hls.resource import Resource
from penstock_hls.server import HlsRoutes
from penstock_http import uvicorn_server, viewer
from penstock_http.api import Asked
from tests.hls.stage import Live, live, media, multivariant, serving, watching
from tests.http.both_ways import answers, both_ways

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("logs")]

BEGIN = b"GET /live/one.m3u8 HTTP/1.1\r\nHost: h\r\n\r\n"


@pytest.mark.parametrize("cors", [["*"], [], ["https://player.example"]])
async def test_both_ways_answer_the_same(cors: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    async with live(config={"cors": cors}) as (server, stream):
        await watching(server, stream, 4)
        (variant,) = (await multivariant(server)).variants
        token = variant.uri.partition("?")[2]
        low, plain = await media(server), await media(server, "fmp4-v1")
        transport = await media(server, "ts-main")
        last = low.media_sequence + len(low.segments) - 1
        names = [
            "ll-v1.m3u8",
            f"ll-v1.m3u8?{token}",
            "fmp4-v1.m3u8",
            "ts-main.m3u8",
            "ll-a2.m3u8?token=x%2Fy&z",
        ]
        names += [f"ll-v1.m3u8?{token}&_HLS_msn={last - 1}&_HLS_part=0", "ll-v1.m3u8?_HLS_skip=YES"]
        names += [f"ll-v1.m3u8?_HLS_msn={last + 100}", "ll-v1.m3u8?_HLS_part=1", "ll-v1.m3u8?_HLS_msn=x"]
        names += [plain.segments[0].uri, transport.segments[0].uri, f"{plain.segments[1].uri}?token=x"]
        names += [s.map.uri for s in plain.segments[:1] if s.map]
        names += [p.uri for s in low.segments[-2:] for p in s.parts[:2]]
        names += ["v1-1.m4s", "v9-1.m4s", "a2-7.mp4", "v1-1.1.m4s", "none.m4s"]
        paths = [f"one/hls/{name}" for name in names]
        paths += ["one.m3u8", f"one.m3u8?{token}", "one.m3u8?variant=ts&token=x", "one.m3u8?variant=none"]
        paths += ["one/index.m3u8?variant=fmp4", "one/hls.m3u8", "one/hls.fmp4.m3u8"]
        requests = [
            b"%s /live/%s HTTP/1.1\r\nHost: h\r\nUser-Agent: %s\r\n%s\r\n" % (method, path.encode(), agent, more)
            for agent, more in (
                (b"one", b""),
                (b"two", b"Origin: https://player.example\r\n"),
                (b"three", b"origin: https://else.example\r\nCookie: a=b\r\n"),
                (b"four", b"Authorization: Basic eDp5\r\n"),
                (b"five", b"Range: bytes=0-9\r\n"),
            )
            for method in (b"GET", b"HEAD")
            for path in paths
        ]  # fmt: skip
        # Not those that have a viewer's own token in them: it takes more or fewer bytes, each time.
        requests += [
            f"GET /live/one/hls/{name}.m3u8 HTTP/1.1\r\nHost: h\r\nUser-Agent: one\r\nAccept-Encoding: gzip\r\n\r\n".encode()
            for name in ("ts-main", "fmp4-v1", "ll-v1", "ll-a2")
        ]
        slow, fast, taken = await both_ways(server, requests, "hls", monkeypatch)
    assert fast == slow
    assert taken > 60


class Door(Plugin):
    """Is asked about everybody."""

    name = "door"

    def __init__(self) -> None:
        self.asked: list[str] = []

    @hookimpl
    async def authorize(self, action: str) -> bool:
        self.asked.append(action)
        return True


async def test_plugins_that_decide_are_asked_about_who_is_new() -> None:
    door = Door()
    async with serving(plugins=[door]) as server:
        stream = Live(server)
        await stream.publish()
        await watching(server, stream, 2)
        door.asked.clear()
        assert [a[:12] for a in await answers(server, [BEGIN] * 2)] == [b"HTTP/1.1 200"] * 2
    assert door.asked == ["read"] * 2


@pytest.mark.parametrize("decides", [False, True])
async def test_who_was_allowed_a_while_ago_is_asked_about_where_somebody_decides(
    decides: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(viewer, "ALLOWED_SECONDS", 0.0)
    async with serving(plugins=[Door()] if decides else []) as server:
        stream = Live(server)
        await stream.publish()
        await watching(server, stream, 2)
        request = b"GET /live/one/hls/ll-v1.m3u8 HTTP/1.1\r\nHost: h\r\n\r\n"
        slow, fast, taken = await both_ways(server, [request] * 2, "hls", monkeypatch)
    assert fast == slow
    assert taken == (0 if decides else 2)


@pytest.mark.parametrize("bound", ["max_viewers", "max_readers"])
async def test_who_is_one_too_many_is_refused(bound: str) -> None:
    async with live(config={"max_viewers": 3 if bound == "max_viewers" else 9}) as (server, stream):
        await watching(server, stream, 2)
        if bound == "max_readers":
            object.__setattr__(stream.publisher.stream.options, bound, 3)
        found = [a[:12] for a in await answers(server, [BEGIN] * 4)]
    assert found == [b"HTTP/1.1 200"] * 2 + [b"HTTP/1.1 403"] * 2


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was looked for, in the order in which it was."""
    names: list[str] = []
    find = HlsRoutes._find  # pyright: ignore[reportPrivateUsage]

    def noted(self: HlsRoutes, asked: Asked, rendition: Rendition, resource: Resource) -> object:
        names.append(str(resource))
        return find(self, asked, rendition, resource)

    monkeypatch.setattr(HlsRoutes, "_find", noted)
    return names


def sent(server: penstock.Server) -> int:
    return sum(s.bytes_out for s in server.sessions if s.protocol == "hls")


async def test_an_answer_stands_until_something_comes_and_for_who_may_have_it(found: list[str]) -> None:
    async with live() as (server, stream):
        await watching(server, stream, 4)
        request = b"GET /live/one/hls/ts-main.m3u8 HTTP/1.1\r\nHost: h\r\n\r\n"
        (first,) = await answers(server, [request])
        found.clear()
        before = sent(server)
        assert await answers(server, [request] * 4) == [first] * 4
        assert len(found) <= 1, "it is let go of now and then"
        assert sent(server) - before == 4 * len(first.partition(b"\r\n\r\n")[2])
        stream.write(25)
        (second,) = await answers(server, [request])
        assert second != first
        for session in server.sessions:
            if session.protocol == "hls":
                session.kick("enough")
        refused = await answers(server, [request] * 2)
        assert [answer[:12] for answer in refused] == [b"HTTP/1.1 403"] * 2


async def test_an_answer_does_not_stand_behind_the_end() -> None:
    async with live() as (server, stream):
        await watching(server, stream, 4)
        request = b"GET /live/one/hls/ts-main.m3u8 HTTP/1.1\r\nHost: h\r\n\r\n"
        assert b"ENDLIST" not in (await answers(server, [request] * 2))[1]
        stream.publisher.stream.end("over")
        assert b"ENDLIST" in (await answers(server, [request] * 2))[1]


async def test_an_answer_is_kept_for_a_moment_only(found: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uvicorn_server, "LOOK_SECONDS", 0.02)
    async with live() as (server, stream):
        await watching(server, stream, 4)
        request = b"GET /live/one/hls/ts-main.m3u8 HTTP/1.1\r\nHost: h\r\n\r\n"
        await answers(server, [request] * 2)
        found.clear()
        await anyio.sleep(0.1)
        await answers(server, [request])
        assert found == ["ts-main.m3u8"]
