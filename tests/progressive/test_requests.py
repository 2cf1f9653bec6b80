"""Viewers and publishers at a running server's HTTP port."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Iterable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from structlog.testing import capture_logs
from websockets.asyncio.client import connect

import penstock
from penstock import Credentials, Frame, Kind, Plugin, Publisher, Session, hookimpl
from penstock.plugins import PluginSet
from penstock_progressive import pace
from penstock_progressive.container import CONTAINERS, Container
from tests.formats.isobmff import captures
from tests.http.port import Answer, ask, everything, port_of
from tests.kernel import stage
from tests.progressive.reading import received, republished, watched
from tests.progressive.reading import server as codecs

pytestmark = pytest.mark.anyio

FLV, TS, MP4 = CONTAINERS
CLIP = captures.received(captures.read("ffmpeg5-h264-aac"))[1]
SECONDS = 5


class Doorkeeper(Plugin):
    """Lets nobody into ``closed/...`` who does not say the word."""

    name = "doorkeeper"

    @hookimpl
    async def authorize(self, session: Session, path: str, credentials: Credentials) -> bool | None:
        asked = path.startswith("closed/") and session.protocol != "test"
        return credentials.password == "word" if asked else None


@asynccontextmanager
async def serving(**server: Any) -> AsyncGenerator[penstock.Server]:
    tables = {
        "http": {"listen": "127.0.0.1:0"},
        "rtmp": {"enabled": False},
        "rtsp": {"enabled": False},
        "srt": {"enabled": False},
        "webrtc": {"enabled": False},
        "server": {"wait_for_stream": 0.2, "reconnect_grace": 0, "write_window": 0, **server},
    }
    async with penstock.Server(tables, plugins=PluginSet.discover([Doorkeeper()])) as running:
        yield running


class Broadcast:
    """A publisher in the same process: the clip once, or its pictures again and again."""

    def __init__(self, publisher: Publisher) -> None:
        self.publisher = publisher
        self._ids: dict[int, int] = {}
        self._offset = 0

    @classmethod
    async def of(cls, server: penstock.Server, path: str = "live/one") -> Broadcast:
        session = Session("1", "test", "here")
        made = cls(await server.streams.publish(session, path))
        for frame in CLIP:
            track = frame.track
            if track.id not in made._ids:
                made._ids[track.id] = made.publisher.add_track(track.codec, track.clock_rate, track.config).id
        made.publisher.tracks_complete()
        return made

    async def send(self, frames: Iterable[Frame] = CLIP) -> None:
        for f in frames:
            self.publisher.write(
                self._ids[f.track.id], f.units, pts=f.pts + self._offset, dts=f.dts + self._offset, key=f.key
            )
            await self.publisher.flush()
            await anyio.lowlevel.checkpoint()
        self._offset += 800_000_000


def body(container: Container) -> bytes:
    """The whole clip as a file."""
    stream, frames = republished(CLIP)
    muxer = container.muxer(codecs().registry, stream.tracks)
    feed = stream.feed(muxer)
    if feed.ring.start == 0:
        feed.ring.clear()
    for frame in frames:
        feed.push(frame)
    return watched(feed, muxer, feed.ring.start)


def pictures(frames: Iterable[Frame]) -> list[tuple[bytes, ...]]:
    return [f.units for f in frames if f.track.kind is Kind.VIDEO]


async def joined(server: penstock.Server, number: int = 1) -> None:
    with anyio.fail_after(SECONDS):
        while sum(stream.readers for stream in server.streams) < number:
            await anyio.sleep(0.005)


async def head(stream: Any) -> tuple[bytes, bytes]:
    """A response's head, and what came of its body."""
    data = b""
    with anyio.fail_after(SECONDS):
        while b"\r\n\r\n" not in data:
            data += await stream.receive()
    first, _, rest = data.partition(b"\r\n\r\n")
    return first, rest


@pytest.mark.parametrize("url", ["/live/one.flv", "/live/one.live.flv", "/live/one.ts", "/live/one.mp4"])
async def test_a_viewer_has_a_picture_at_once_and_all_that_follows_to_the_end(url: str) -> None:
    container = next(c for c in CONTAINERS if url.endswith(c.name))
    async with serving() as server:
        source = await Broadcast.of(server)
        await source.send(CLIP[:40])
        async with await anyio.connect_tcp("127.0.0.1", port_of(server)) as viewer:
            await viewer.send(f"GET {url} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
            first, data = await head(viewer)
            assert first.startswith(b"HTTP/1.1 200 ")
            assert f"content-type: {container.content_type}".encode() in first.lower()
            await joined(server)
            (session,) = [s for s in server.sessions if s.protocol == f"http-{container.name}"]
            assert (session.direction, session.path) == ("read", "live/one")
            await source.send(CLIP[40:])
            source.publisher.close("over")
            data += await everything(viewer)
        got = pictures(stage.frames(received(container, [data])))
        wanted = pictures(CLIP)
        start = max(i for i, f in enumerate(f for f in CLIP[:40] if f.track.kind is Kind.VIDEO) if f.key)
        assert got == wanted[start:]


async def test_head_says_what_get_would() -> None:
    async with serving() as server:
        source = await Broadcast.of(server)
        await source.send()
        answer = await ask(server, "HEAD /live/one.mp4")
        assert (answer.status, answer.headers["content-type"], answer.body) == (200, "video/mp4", b"")


async def test_what_nobody_publishes_is_waited_for_and_then_not_found() -> None:
    async with serving() as server:
        begin = time.monotonic()
        assert (await ask(server, "GET /live/none.flv")).status == 404
        assert time.monotonic() - begin >= 0.2
    answers: list[Answer] = []
    async with serving(wait_for_stream=SECONDS) as server, anyio.create_task_group() as tasks:

        async def wait() -> None:
            answers.append(await ask(server, "GET /live/one.flv"))

        tasks.start_soon(wait)
        await anyio.sleep(0.05)
        source = await Broadcast.of(server)
        await source.send()
        await joined(server)
        source.publisher.close("over")
    assert answers[0].status == 200


async def test_a_viewer_can_be_kicked() -> None:
    async with serving() as server:
        source = await Broadcast.of(server)
        await source.send()
        async with await anyio.connect_tcp("127.0.0.1", port_of(server)) as viewer:
            await viewer.send(b"GET /live/one.ts HTTP/1.1\r\nHost: h\r\n\r\n")
            await joined(server)
            next(s for s in server.sessions if s.protocol == "http-ts").kick("enough")
            await everything(viewer)
        assert not [s for s in server.sessions if s.protocol == "http-ts"]
        assert source.publisher.stream.readers == 0


@pytest.mark.parametrize("container", CONTAINERS, ids=lambda c: c.name)
async def test_websockets_have_the_same_bytes_in_messages(container: Container) -> None:
    async with serving() as server:
        source = await Broadcast.of(server)
        await source.send()
        data = b""
        with anyio.fail_after(SECONDS):
            url = f"ws://127.0.0.1:{port_of(server)}/live/one.{container.name}"
            async with connect(url, compression=None, proxy=None) as viewer:
                await joined(server)
                assert [s.protocol for s in server.sessions if s.protocol != "test"] == [
                    f"ws-{container.name}"
                ]
                await source.send()
                pong = await viewer.ping()
                source.publisher.close("over")
                # Ends with a close that says so; any other would be raised.
                async for message in viewer:
                    assert isinstance(message, bytes)
                    data += message
                await pong
                assert viewer.close_code == 1000
    got = pictures(stage.frames(received(container, [data])))
    assert got == [*pictures(CLIP)[-len(got) + 20 :], *pictures(CLIP)]


async def test_a_stranger_is_told_to_say_who_he_is() -> None:
    async with serving() as server:
        source = await Broadcast.of(server, "closed/one")
        await source.send()
        for method in ("GET", "POST"):
            path = "one" if method == "GET" else "two"
            assert (await ask(server, f"{method} /closed/{path}.flv", body=b"x")).status == 401
            wrong = "Authorization: Bearer guess"
            assert (await ask(server, f"{method} /closed/{path}.flv", wrong, body=b"x")).status == 401
        assert (await ask(server, "HEAD /closed/one.flv", "Authorization: Bearer word")).status == 200


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("container", CONTAINERS, ids=lambda c: c.name)
async def test_a_body_is_a_publisher(container: Container, method: str) -> None:
    data = body(container)
    pieces = [data[at : at + 700] for at in range(0, len(data), 700)]
    got: list[Frame] = []
    async with serving() as server, anyio.create_task_group() as tasks:

        async def read() -> None:
            stream = await server.streams.wait("live/two")
            async for event in stream.read():
                if isinstance(event, Frame):
                    got.append(event)

        tasks.start_soon(read)
        async with await anyio.connect_tcp("127.0.0.1", port_of(server)) as peer:
            await peer.send(
                f"{method} /live/two.{container.name} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n"
                "Connection: close\r\n\r\n".encode()
            )
            for number, piece in enumerate(pieces):
                await peer.send(b"%x\r\n%s\r\n" % (len(piece), piece))
                if number == 3:
                    with anyio.fail_after(SECONDS):
                        while not got:
                            await anyio.sleep(0.005)
                    assert (await ask(server, f"POST /live/two.{container.name}", body=data)).status == 409
                    (session,) = [s for s in server.sessions if s.direction == "publish"]
                    assert session.protocol == f"http-{container.name}"
                    assert session.bytes_in > 2000
            await peer.send(b"0\r\n\r\n")
            assert Answer.parse(await everything(peer)).status == 200
    assert pictures(got) == pictures(CLIP)
    assert {f.track.codec.name for f in got} == {"h264", "aac"}


BAD = {
    FLV: [b"GET / HTTP/1.1\r\n\r\n", b"FLV\x01\x05\0\0\0\x09\0\0\0\0\x07" + bytes(20)],
    TS: [bytes(70_000)],
    MP4: [b"FLV\x01\x05\0\0\0\x09", b"\0\0\0\x10mdat" + bytes(8)],
}


@pytest.mark.parametrize(("container", "data"), [(c, d) for c, some in BAD.items() for d in (*some, b"")])
async def test_what_is_no_body_of_its_kind_is_refused_with_the_reason(
    container: Container, data: bytes
) -> None:
    with capture_logs() as logs:
        await refused(container, data)
    assert not [line for line in logs if line["event"] == "stream published"]


async def refused(container: Container, data: bytes) -> None:
    async with serving() as server:
        answer = await ask(
            server, f"POST /live/bad.{container.name}", "Content-Length: 0" if not data else "X: y", body=data
        )
        assert answer.status == 400
        assert len(answer.body) > 20
        assert not len(server.streams)


@pytest.mark.parametrize("data", [b"", b"FLV\x01\x05\0\0\0\x09\0\0\0\0"])
async def test_a_body_that_does_not_come_takes_no_name(data: bytes) -> None:
    async with (
        serving(publisher_timeout=0.3) as server,
        await anyio.connect_tcp("127.0.0.1", port_of(server)) as peer,
    ):
        await peer.send(b"POST /live/late.flv HTTP/1.1\r\nHost: h\r\nContent-Length: 99\r\n\r\n" + data)
        with anyio.fail_after(SECONDS):
            while not any(s.direction == "publish" for s in server.sessions):
                await anyio.sleep(0.005)
        await anyio.sleep(0.05)
        assert server.streams.get("live/late") is None
        assert (await ask(server, "PUT /live/late.flv", body=body(FLV))).status == 200
        answer = Answer.parse(await everything(peer))
    assert (answer.status, answer.body) == (400, b"the body has no track within 0.3 s\n")


async def test_who_publishes_first_has_the_name() -> None:
    """Two bodies began when nobody published; the one that says something first is the publisher."""
    head = b"POST /live/late.flv HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    data = body(FLV)
    async with serving() as server, await anyio.connect_tcp("127.0.0.1", port_of(server)) as slow:
        await slow.send(head)
        with anyio.fail_after(SECONDS):
            while not any(s.direction == "publish" for s in server.sessions):
                await anyio.sleep(0.005)
        await Broadcast.of(server, "live/late")
        await slow.send(b"%x\r\n%s\r\n" % (len(data), data))
        assert Answer.parse(await everything(slow)).status == 409


async def test_a_body_that_is_sent_at_once_is_taken_as_it_plays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "LEAD", 100_000_000)
    async with serving() as server:
        begin = time.monotonic()
        assert (await ask(server, "PUT /live/three.flv", body=body(FLV))).status == 200
        assert 0.3 < time.monotonic() - begin < 3


async def test_elsewhere_a_viewer_is_served_by_send(anyio_backend: Any) -> None:
    async with serving() as server:
        source = await Broadcast.of(server)
        await source.send()
        to, messages = anyio.create_memory_object_stream[MutableMapping[str, Any]](1000)
        left = anyio.Event()

        async def receive() -> MutableMapping[str, Any]:
            await left.wait()
            return {"type": "http.disconnect"}

        scope: MutableMapping[str, Any] = {
            "type": "http", "method": "GET", "path": "/live/one.flv", "raw_path": b"/live/one.flv", "scheme": "http",
            "query_string": b"", "headers": [], "client": ("1.2.3.4", 5), "http_version": "1.1", "root_path": "",
        }  # fmt: skip
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.asgi, scope, receive, to.send)
            await joined(server)
            await source.send()
            source.publisher.close("over")
            with anyio.fail_after(SECONDS):
                while server.sessions and [s for s in server.sessions if s.protocol == "http-flv"]:
                    await anyio.sleep(0.005)
        to.close()
        with messages:
            found = [m async for m in messages]
        assert found[0]["status"] == 200
        data = b"".join(m.get("body", b"") for m in found[1:])
        assert pictures(stage.frames(received(FLV, [data])))[-20:] == pictures(CLIP)[-20:]
        assert not found[-1].get("more_body", False)
