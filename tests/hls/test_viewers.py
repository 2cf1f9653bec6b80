"""Who watches: sessions by token, counted, expired, kicked; and who may."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import MutableMapping
from typing import Any

import anyio
import pytest

import penstock
from penstock import Credentials, Plugin, hookimpl
from penstock.errors import Full
from penstock_hls import plugin as hls_plugin
from penstock_hls.server import HlsRoutes
from penstock_http import viewer
from penstock_http.viewer import MAX_CONNECTIONS
from tests.hls.stage import Live, get, live, media, multivariant, serving, watching

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("logs")]


def viewers(server: penstock.Server) -> list[penstock.Session]:
    return [s for s in server.sessions if s.protocol == "hls"]


async def test_a_viewer_is_one_session_whatever_it_asks_for() -> None:
    async with live() as (server, stream):
        stream.write(60)
        (variant,) = (await multivariant(server)).variants
        answer = await get(server, "/live/" + variant.uri)
        assert answer.status == 200
        (session,) = viewers(server)
        assert session.path == "live/one"
        assert session.direction == "read"
        before = session.bytes_out
        assert before > len(answer.body)
        await get(server, "/live/" + variant.uri)
        assert session.bytes_out > before
        # Another that begins is another.
        await multivariant(server)
        assert len(viewers(server)) == 2


async def test_who_has_no_token_is_told_apart_by_address_and_program() -> None:
    async with live() as (server, stream):
        await watching(server, stream, 2)
        first = len(viewers(server))
        for _ in range(3):
            await get(server, "/live/one/hls/ll-v1.m3u8", "User-Agent: one")
            await get(server, "/live/one/hls/ll-a2.m3u8", "User-Agent: two")
        assert len(viewers(server)) == first + 2


async def test_connections_are_remembered_by_the_viewer_and_in_bounds() -> None:
    """What comes without a token by a viewer's connection is its; a new one for each request fills no memory."""
    seen: list[HlsRoutes] = []

    class Spy(HlsRoutes):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            seen.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hls_plugin, "HlsRoutes", Spy)
        async with live(config={"viewer_timeout": 1}) as (server, stream):
            stream.write(60)
            (variant,) = (await multivariant(server)).variants
            for _ in range(12):
                await get(server, "/live/" + variant.uri)
            viewers = seen[0].viewers
            assert len(viewers) == 1
            assert len(viewers._by_connection) == MAX_CONNECTIONS  # pyright: ignore[reportPrivateUsage]
            with anyio.fail_after(4):
                while len(viewers):
                    await anyio.sleep(0.05)
            assert not viewers._by_connection  # pyright: ignore[reportPrivateUsage]


async def test_who_does_not_ask_any_more_has_left() -> None:
    async with live(config={"viewer_timeout": 1}) as (server, stream):
        stream.write(60)
        await multivariant(server)
        (session,) = viewers(server)
        with anyio.fail_after(4):
            while viewers(server):
                await anyio.sleep(0.05)
        assert session.reason == "the viewer left"


async def test_who_is_kicked_gets_nothing_more() -> None:
    async with live() as (server, stream):
        stream.write(60)
        (variant,) = (await multivariant(server)).variants
        (session,) = viewers(server)
        session.kick("enough")
        await anyio.sleep(0.05)
        assert viewers(server) == []
        answer = await get(server, "/live/" + variant.uri)
        assert answer.status == 403
        assert b"enough" in answer.body


async def test_viewers_are_bounded() -> None:
    async with live(config={"max_viewers": 2}) as (server, stream):
        stream.write(60)
        for status in (200, 200, 403):
            assert (await get(server, "/live/one.m3u8")).status == status


@pytest.mark.parametrize("ending", [".m3u8", "/hls/ll-v1.m3u8"])
async def test_who_asks_for_what_nobody_publishes_is_no_viewer(
    ending: str, logs: list[MutableMapping[str, Any]]
) -> None:
    async with serving({"wait_for_stream": 0.01}, max_viewers=1) as server:
        for _ in range(2):
            assert (await get(server, f"/live/none{ending}")).status == 404
            with anyio.fail_after(1):
                while viewers(server):
                    await anyio.lowlevel.checkpoint()
    closed = [line["reason"] for line in logs if line["event"] == "session closed"]
    assert closed == ["nobody publishes live/none"] * 2


async def test_viewers_count_as_readers_of_the_stream() -> None:
    async with serving({}) as server:
        stream = Live(server)
        await stream.publish()
        stream.write(60)
        object.__setattr__(stream.publisher.stream.options, "max_readers", 1)
        assert (await get(server, "/live/one.m3u8")).status == 200
        assert (await get(server, "/live/one.m3u8")).status == 403
        other = server.open_session("x", "192.0.2.1:1")
        with pytest.raises(Full, match="1 readers already"):
            await server.streams.open(other, "live/one")
        server.close_session(other)
        # Who was sent away makes room.
        viewers(server)[0].kick("enough")
        await anyio.sleep(0.05)
        assert (await get(server, "/live/one.m3u8", "User-Agent: another")).status == 200


EMBEDDED = """
import asyncio
from penstock_progressive.plugin import plugin as progressive
from tests.hls.stage import Live, get, serving
from tests.http.port import port_of

async def main():
    async with serving({}, plugins=[progressive]) as server:
        stream = Live(server)
        await stream.publish()
        stream.write(60)
        for _ in range(2):
            assert (await get(server, "/live/one.m3u8")).status == 200
        assert len([s for s in server.sessions if s.protocol == "hls"]) == 2
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(server))
        writer.write(b"GET /live/one.flv HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n")
        await reader.read(1000)
        writer.close()
        await asyncio.sleep(0.2)

asyncio.run(main())
"""


def test_a_server_that_is_embedded_under_asyncio_alone() -> None:
    """In callbacks of its loop anyio does not know by itself which library that is, where sniffio is installed."""
    done = subprocess.run([sys.executable, "-c", EMBEDDED], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")


class Doorman(Plugin):
    """Lets in who has the token of the path."""

    name = "doorman"

    def __init__(self) -> None:
        self.asked: list[str] = []

    @hookimpl
    async def authorize(self, action: str, path: str, credentials: Credentials) -> bool | None:
        if action == "publish":
            return None
        self.asked.append(path)
        return credentials.query.get("token") == "s3cret/&"


@pytest.mark.parametrize(("seconds", "asked"), [(0.0, 6), (10.0, 4)])
async def test_every_playlist_and_segment_is_authorized_and_the_token_goes_along(
    seconds: float, asked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who was allowed a moment ago, and gives the same again, is not asked about again."""
    monkeypatch.setattr(viewer, "ALLOWED_SECONDS", seconds)
    doorman = Doorman()
    async with serving(plugins=[doorman]) as server:
        stream = Live(server)
        await stream.publish()
        stream.write(60)
        assert (await get(server, "/live/one.m3u8")).status in (401, 403)
        assert viewers(server) == []
        (variant,) = (await multivariant(server, "/live/one.m3u8?token=s3cret%2F%26&variant=ll")).variants
        assert "token=s3cret%2F%26" in variant.uri
        playlist = await media(server, "ll-v1", "?" + variant.uri.partition("?")[2])
        parts = [p.uri for s in playlist.segments for p in s.parts]
        assert parts
        for uri in (
            *parts,
            *(h.uri for h in playlist.hints),
            *(s.map.uri for s in playlist.segments if s.map),
        ):
            assert uri.endswith("?token=s3cret%2F%26")
        answer = await get(server, f"/live/one/hls/{parts[0]}")
        assert answer.status == 200
        assert answer.headers["cache-control"].startswith("private")
        bare = parts[0].partition("?")[0]
        assert (await get(server, f"/live/one/hls/{bare}")).status in (401, 403)
        assert (await get(server, "/live/one/hls/ll-v1.m3u8")).status in (401, 403)
        assert doorman.asked == ["live/one"] * asked


async def test_notices_tell_of_viewers() -> None:
    class Listener(Plugin):
        name = "listener"
        told: list[tuple[str, Any]] = []  # noqa: RUF012

        @hookimpl
        def reader_joined(self, stream: penstock.Stream, session: penstock.Session) -> None:
            self.told.append(("joined", session.protocol))

        @hookimpl
        def reader_left(self, session: penstock.Session, reason: str) -> None:
            self.told.append(("left", reason))

    listener = Listener()
    async with serving(plugins=[listener], viewer_timeout=1) as server:
        stream = Live(server)
        await stream.publish()
        stream.write(60)
        await multivariant(server)
        with anyio.fail_after(4):
            while len(listener.told) < 2:
                await anyio.sleep(0.05)
    assert listener.told == [("joined", "hls"), ("left", "the viewer left")]
