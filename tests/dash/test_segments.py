"""Segments over HTTP: the store's bytes, what is being made as it grows, what comes next, and what is not there."""

from __future__ import annotations

import gzip
import itertools
from collections.abc import MutableMapping
from typing import Any
from urllib.parse import quote

import anyio
import pytest

from penstock_formats.isobmff import Demuxer, Sample
from penstock_formats.isobmff.segments import CmafFormat
from tests.dash.stage import description, live, serving, watching
from tests.hls.stage import Live, get
from tests.http.port import port_of

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("logs")]


def samples(data: bytes) -> list[Sample]:
    demuxer = Demuxer()
    demuxer.receive_data(data)
    return [e for e in iter(demuxer.next_event, None) if isinstance(e, Sample)]


@pytest.mark.parametrize(("kind", "name"), [("video", "v1"), ("audio", "a2")])
async def test_segments_are_the_bytes_of_the_store_and_start_when_they_are_said_to(
    kind: str, name: str
) -> None:
    async with live() as (server, stream):
        mpd = await watching(server, stream, 3)
        found = server.streams.get("live/one")
        assert found is not None
        rendition = found.segments(CmafFormat()).renditions[name]
        init = await get(server, mpd.init(kind))
        assert init.headers["content-type"] == f"{kind}/mp4"
        assert rendition.init is not None
        assert init.body == rendition.init.data
        times = mpd.times(kind)[:-1]
        for (time, duration), segment in zip(times, rendition.segments, strict=False):
            answer = await get(server, mpd.media(time, kind))
            assert answer.status == 200
            assert answer.body == segment.data
            assert "max-age" in answer.headers["cache-control"]
            got = samples(init.body + answer.body)
            assert min(s.pts for s in got) == time
            assert sum(s.duration for s in got) == duration
        assert len(times) == 3


async def test_the_segment_that_is_being_made_is_sent_as_it_grows() -> None:
    async with live() as (server, stream):
        mpd = await watching(server, stream, 2)
        time, _ = mpd.times()[-1]
        async with await anyio.connect_tcp("127.0.0.1", port_of(server)) as peer:
            await peer.send(
                f"GET {mpd.media(time)} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode()
            )
            data = b""
            for pictures in (10, 15, 20):
                # What is there, and with each part more.
                stream.write(5)
                with anyio.fail_after(2):
                    while data.count(b"moof") < pictures // 5:
                        data += await peer.receive()
                assert data.count(b"moof") == pictures // 5
            stream.write(6)
            with anyio.fail_after(2):
                while not data.endswith(b"0\r\n\r\n"):
                    data += await peer.receive()
        whole = await get(server, mpd.media(time))
        assert data.startswith(b"HTTP/1.1 200 OK\r\n")
        assert whole.body in _unchunked(data)
        assert len(whole.body) == len(_unchunked(data))


def _unchunked(data: bytes) -> bytes:
    _, _, rest = data.partition(b"\r\n\r\n")
    found = b""
    while True:
        size, _, rest = rest.partition(b"\r\n")
        if not int(size, 16):
            return found
        found, rest = found + rest[: int(size, 16)], rest[int(size, 16) + 2 :]


async def test_a_segment_is_told_of_as_soon_as_the_one_before_is_complete() -> None:
    """FFmpeg reads the description again then, and asks for what is new in it at once."""
    async with live() as (server, stream):
        before = await watching(server, stream, 2)
        stream.write(21)
        mpd = await description(server)
        for kind in ("video", "audio"):
            assert len(mpd.times(kind)) == len(before.times(kind)) + 1
            last, (time, _) = mpd.times(kind)[-2:]
            assert time == sum(last)
            bodies: list[bytes] = []

            async def ask_for(url: str, bodies: list[bytes]) -> None:
                answer = await get(server, url)
                assert answer.status == 200
                bodies.append(answer.body)

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ask_for, mpd.media(time, kind), bodies)
                await anyio.sleep(0.05)
                stream.write(25)
            assert bodies == [(await get(server, mpd.media(time, kind))).body]


async def test_the_next_segment_is_waited_for_although_its_time_was_a_guess() -> None:
    async with live() as (server, stream):
        mpd = await watching(server, stream, 2)
        time, duration = mpd.times()[-1]
        bodies: list[bytes] = []

        async def ask_for(ticks: int) -> None:
            answer = await get(server, mpd.media(ticks))
            assert answer.status == 200
            bodies.append(answer.body)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask_for, time + duration)
            tasks.start_soon(ask_for, time + duration - 9000)
            await anyio.sleep(0.05)
            stream.write(20 + 25 + 1)
        assert bodies[0] == bodies[1] == (await get(server, mpd.media(time + duration))).body


async def test_what_is_behind_the_last_segment_is_refused_while_the_publisher_is_away() -> None:
    """What comes then is in another period: FFmpeg, given it for the time that it guessed, took it again from the description."""
    async with live() as (server, stream):
        await watching(server, stream, 2)
        stream.close()
        mpd = await description(server)
        statuses: list[int] = []

        async def ask_for_what_follows() -> None:
            statuses.append((await get(server, mpd.media(sum(mpd.times()[-1])))).status)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask_for_what_follows)
            await anyio.sleep(0.05)
            # It is not asked again at once.
            assert not statuses
            stream.audio.clear()
            await stream.publish()
            stream.write(60)
        assert statuses == [404]


async def test_what_is_not_there_is_404() -> None:
    async with live() as (server, stream):
        mpd = await watching(server, stream, 2)
        first, last = mpd.times()[0][0], sum(mpd.times()[-1])
        for url in (
            mpd.media(first - 90_000),
            mpd.media(last + 180_000),
            mpd.media(2**63),
            mpd.media(first).replace("/v1-", "/v7-"),
            mpd.media(first).replace("/v1-", "/v1-1"),
            mpd.init().replace(".mp4", "0.mp4"),
            "/live/one/dash/v1-0-00000000.mp4",
            "/live/one/dash/..%2f..%2fetc.m4s",
            "/live/one/dash/v1.m4s",
        ):
            assert (await get(server, url)).status == 404, url


async def test_a_stream_that_comes_while_it_is_asked_for() -> None:
    async with serving({"wait_for_stream": 5}) as server:
        stream = Live(server)
        statuses: list[int] = []

        async def ask_for() -> None:
            statuses.append((await get(server, "/live/one.mpd")).status)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask_for)
            await anyio.sleep(0.05)
            await stream.publish()
            stream.write(30)
        assert statuses == [200]


async def test_a_stream_that_never_comes_is_404(logs: list[MutableMapping[str, Any]]) -> None:
    async with serving() as server:
        answer = await get(server, "/live/none.mpd")
        assert (answer.status, answer.body) == (404, b"nobody publishes live/none\n")
        with anyio.fail_after(1):
            while len(server.sessions):
                await anyio.lowlevel.checkpoint()
    closed = [line["reason"] for line in logs if line["event"] == "session closed"]
    assert closed == ["nobody publishes live/none"], "no viewer stays"


async def test_a_group_of_pictures_of_ten_seconds() -> None:
    async with live(gop=250) as (server, stream):
        stream.write(251)  # how far key frames are apart is known only then
        mpd = await watching(server, stream, 11)
        assert [d for _, d in mpd.times()] == [900_000] * len(mpd.times())
        assert mpd["maxSegmentDuration"].startswith("PT10")


@pytest.mark.parametrize("name", ['<script>alert("1")', "a&b'c", "{{x}}", "a:b", "a$Time$b", "a b%20c?", "☃"])
async def test_names_of_streams_are_escaped(name: str) -> None:
    async with live(path=f"live/{quote(name, safe='')}") as (server, stream):
        url = f"/live/{quote(name, safe='')}.mpd"
        mpd = await watching(server, stream, 2, url)
        assert [e.tag.rpartition("}")[2] for e in mpd.root] == [
            "Location",
            "ServiceDescription",
            "Period",
            "UTCTiming",
        ]
        for one in itertools.chain([mpd.init()], [mpd.media(time) for time, _ in mpd.times()[:-1]]):
            assert (await get(server, one)).status == 200, one
        assert (await description(server, url)).times() == mpd.times()


async def test_descriptions_go_as_gzip_to_who_takes_that_and_segments_in_part() -> None:
    """RFC 9110 12.5.3 and 14.2."""
    async with live() as (server, stream):
        mpd = await watching(server, stream, 3)
        url = (mpd.one("Location").text or "").replace("./", "/live/")
        plain = await get(server, url)
        packed = await get(server, url, "Accept-Encoding: gzip, br")
        assert packed.headers["content-encoding"] == "gzip"
        assert plain.headers["vary"] == packed.headers["vary"] == "user-agent, accept-encoding"
        assert gzip.decompress(packed.body)[:100] == plain.body[:100]
        assert len(packed.body) < len(plain.body)
        for segment in (mpd.media(mpd.times()[0][0]), mpd.init()):
            whole = await get(server, segment)
            part = await get(server, segment, "Range: bytes=-7")
            assert (part.status, part.body) == (206, whole.body[-7:])
            assert part.headers["etag"] == whole.headers["etag"]
