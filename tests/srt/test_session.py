"""Sessions of SRT on each event loop: one server in another's place as caller, and what both see of each other."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from penstock import Plugin, Server, Session, hookimpl
from penstock.config import Config
from penstock.errors import UserError
from penstock.media import NS, Frame
from penstock.plugins import PluginSet
from penstock.publisher import Publisher
from penstock_codecs.h264 import H264, H264Config
from penstock_codecs.h264 import plugin as h264
from penstock_srt import config
from penstock_srt.config import SrtConfig
from penstock_srt.plugin import plugin as srt
from tests.contracts.cases_h26x import H264_PPS, H264_SPS
from tests.interop.server import free_port

pytestmark = pytest.mark.anyio

ONE_LOOP = pytest.mark.parametrize("anyio_backend", ["asyncio"])
FRAME = NS // 50
CONFIG = H264Config((H264_SPS[0],), (H264_PPS,))
SECRET = "0123456789abcdef"
GIVE_UP = 10.0


class Watch(Plugin):
    """Writes down how sessions end, and lets nobody in at ``closed``."""

    name = "watch"

    def __init__(self) -> None:
        self.ended: list[tuple[str, str]] = []

    @hookimpl
    def session_closed(self, session: Session, reason: str) -> None:
        self.ended.append((session.direction, reason))

    @hookimpl
    def authorize(self, path: str) -> bool | None:
        return False if path.startswith("closed/") else None


@asynccontextmanager
async def serving(
    streams: Mapping[str, Any] | None = None, watch: Watch | None = None, **server: Any
) -> AsyncGenerator[tuple[Server, str]]:
    """A server of SRT alone, and its URL."""
    tables = {
        "srt": {"listen": "127.0.0.1:0", "latency": 20},
        "streams": streams or {},
        "server": {"wait_for_stream": 0.5, "reconnect_grace": 0.5, **server},
    }
    plugins = PluginSet.discover([srt, h264, watch or Watch()], installed=False)
    async with Server(tables, plugins=plugins) as running:
        (endpoint,) = running.endpoints
        yield running, f"srt://127.0.0.1:{endpoint.port}"


async def publishing(server: Server, path: str = "live/one") -> None:
    """Pictures each 20 ms, numbered, each tenth a key frame, until cancelled."""
    session = server.sessions.add("test", "127.0.0.1:1")
    publisher: Publisher = await server.streams.publish(session, path)
    try:
        track = publisher.add_track(H264, 90_000, CONFIG)
        publisher.tracks_complete()
        number = 0
        while True:
            key = number % 10 == 0
            unit = (b"\x65\x88" if key else b"\x41\x9a") + b"%04d" % number + b"x" * 3000
            publisher.write(track.id, (unit,), pts=number * FRAME, dts=number * FRAME, key=key)
            await publisher.flush()
            number += 1
            await anyio.sleep(0.02)
    finally:
        publisher.close()
        server.sessions.remove(session)


async def numbers(server: Server, path: str, count: int) -> list[int]:
    """The numbers of so many pictures that are read there."""
    found: list[int] = []
    with anyio.fail_after(GIVE_UP):
        stream = await server.streams.wait(path)
        reader = server.sessions.add("test", "127.0.0.1:2")
        async for event in stream.read(reader):
            if isinstance(event, Frame):
                assert len(event.units[0]) == 3006
                found.append(int(event.units[0][2:6]))
                if len(found) == count:
                    break
        server.sessions.remove(reader)
    return found


async def test_a_stream_is_pulled_and_pushed_back_encrypted() -> None:
    """From one server to the other and back: what comes last is what was published, without a hole."""
    async with serving({"**": {"secret": SECRET}}) as (far, url), anyio.create_task_group() as tasks:
        words = f"passphrase={SECRET}&latency=20"
        chain = {
            "source": f"{url}?streamid=#!::r=live/one&{words}",
            "push": [f"{url}/live/back?{words}&pbkeylen=32"],
        }
        async with serving({"live/one": chain}) as (_near, _):
            tasks.start_soon(publishing, far)
            found = await numbers(far, "live/back", 25)
            assert found == list(range(found[0], found[0] + 25))
            ours = [session for session in far.sessions if session.protocol == "srt"]
            assert {session.direction for session in ours} == {"publish", "read"}
            for session in ours:
                assert session.info["encrypted"] is True
                figures: Any = session.info["srt"]
                assert figures["pktSent" if session.direction == "read" else "pktRecv"] > 25
                assert session.bytes_in > 0
        tasks.cancel_scope.cancel()


@ONE_LOOP
async def test_a_listener_takes_one_caller() -> None:
    port = free_port()
    async with serving({"live/in": {"source": f"srt://127.0.0.1:{port}?mode=listener"}}) as (near, _):
        watch = Watch()
        push = {"live/one": {"push": [f"srt://127.0.0.1:{port}?latency=20"]}}
        async with (
            serving(push) as (first, _),
            serving(push, watch) as (second, _),
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(publishing, first)
            await numbers(near, "live/in", 3)
            tasks.start_soon(publishing, second)
            with anyio.fail_after(GIVE_UP):
                while not watch.ended:
                    await anyio.sleep(0.01)
            assert watch.ended[0][1].endswith("(1409)"), watch.ended
            await numbers(near, "live/in", 3)
            tasks.cancel_scope.cancel()


async def _session(server: Server, protocol: str) -> Session:
    with anyio.fail_after(GIVE_UP):
        while True:
            for session in server.sessions:
                if session.protocol == protocol:
                    return session
            await anyio.sleep(0.01)


async def _pull(url: str, watch: Watch) -> list[tuple[str, str]]:
    """How the first pull of `url` ended."""
    async with serving({"live/copy": {"source": url}}, watch):
        with anyio.fail_after(GIVE_UP):
            while not watch.ended:
                await anyio.sleep(0.01)
    return watch.ended


@ONE_LOOP
@pytest.mark.parametrize(
    ("stream_id", "words", "reason"),
    [
        ("#!::r=live/none", "", "there is no such stream (1404)"),
        ("#!::r=closed/one", "", "(1401)"),
        ("#!::r=closed/one,u=me,s=guess", "", "(1403)"),
        ("#!::r=../x", "", "(1400)"),
        ("#!::r=live/one,m=bidirectional", "", "(1405)"),
        ("publish:live/one", "", "(1409)"),
        ("read:live/one", f"&passphrase={SECRET}", "(11)"),
    ],
)
async def test_who_is_refused_is_told_why(stream_id: str, words: str, reason: str) -> None:
    async with serving() as (far, url), anyio.create_task_group() as tasks:
        tasks.start_soon(publishing, far)
        await far.streams.wait("live/one")
        ((_, said), *_) = await _pull(f"{url}?streamid={stream_id}{words}", Watch())
        assert "the peer refused" in said
        assert said.endswith(reason), said
        tasks.cancel_scope.cancel()


async def test_a_kick_and_the_servers_end_are_said_to_the_peer() -> None:
    ends = Watch()
    async with serving() as (far, url), anyio.create_task_group() as tasks:
        tasks.start_soon(publishing, far)
        source = f"{url}?streamid=read:live/one&latency=20"
        async with serving({"live/copy": {"source": source}}, ends) as (near, _):
            await numbers(near, "live/copy", 3)
            (await _session(far, "srt")).kick("enough")
            with anyio.fail_after(GIVE_UP):
                while not ends.ended:
                    await anyio.sleep(0.01)
            assert "the peer closed the connection" in ends.ended[0][1] or "left" in ends.ended[0][1]
            # It calls again, and has the stream again.
            assert len(await numbers(near, "live/copy", 3)) == 3
        await anyio.sleep(0.3)
        assert not [session for session in far.sessions if session.protocol == "srt"]
        tasks.cancel_scope.cancel()


@ONE_LOOP
async def test_a_second_publisher_takes_over_where_it_may() -> None:
    watch = Watch()
    async with serving({"live/in": {"override": True}}, watch) as (far, url):
        push = {"live/one": {"push": [f"{url}?streamid=publish:live/in"]}}
        async with (
            serving(push) as (first, _),
            serving(push) as (second, _),
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(publishing, first)
            await numbers(far, "live/in", 3)
            tasks.start_soon(publishing, second)
            with anyio.fail_after(GIVE_UP):
                while ("publish", "another publisher took over") not in watch.ended:
                    await anyio.sleep(0.01)
            await numbers(far, "live/in", 3)
            tasks.cancel_scope.cancel()


@ONE_LOOP
async def test_a_player_waits_for_a_publisher_and_stays_while_it_reconnects() -> None:
    async with serving(reconnect_grace=5, wait_for_stream=5) as (far, url):
        source = f"{url}?streamid=read:live/one&latency=20"
        async with (
            serving({"live/copy": {"source": source}}) as (near, _),
            anyio.create_task_group() as tasks,
        ):
            player = await _session(far, "srt")
            await anyio.sleep(0.3)
            for _ in range(2):
                async with anyio.create_task_group() as publisher:
                    publisher.start_soon(publishing, far)
                    await numbers(near, "live/copy", 5)
                    publisher.cancel_scope.cancel()
            assert player in tuple(far.sessions)
            tasks.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("latency", 70_000, "must be 0 to 65535"),
        ("passphrase", "short", "must have 10 to 79 bytes"),
        ("pbkeylen", 17, "16"),
        ("default_mode", "both", "read"),
        ("default_streamid", "#!::m=publish", "must name a path"),
        ("default_streamid", "#!::r=../x", "cannot be read"),
        ("listen", "9000", "no port"),
    ],
)
def test_config_that_will_not_do(key: str, value: object, said: str) -> None:
    with pytest.raises(UserError, match=f"srt.{key}.*{said}") as caught:
        Config.from_mapping({"srt": {key: value}}, {"srt": SrtConfig})
    assert "short" not in str(caught.value)


@ONE_LOOP
async def test_without_the_library_whoever_wants_encryption_is_told_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with serving({"live/secret": {"secret": SECRET}}) as (far, url), anyio.create_task_group() as tasks:
        tasks.start_soon(publishing, far, "live/secret")
        await far.streams.wait("live/secret")

        def nothing(_name: str) -> None: ...

        monkeypatch.setattr(config, "find_spec", nothing)
        said = "needs the package cryptography: pip install 'penstock[srt]'"
        with pytest.raises(UserError, match=re.escape(said)):
            Config.from_mapping({"srt": {"passphrase": SECRET}}, {"srt": SrtConfig})
        ((_, reason), *_) = await _pull(f"{url}?streamid=read:live/secret&passphrase={SECRET}", Watch())
        assert reason == f"encryption {said}"
        ((_, reason), *_) = await _pull(f"{url}?streamid=read:live/secret", Watch())
        assert reason.endswith("(1500)"), reason
        tasks.cancel_scope.cancel()
