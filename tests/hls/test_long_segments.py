"""Lists of long segments begin with one, and who asks shortly before the next one is there waits for it (ADR 0022)."""

from __future__ import annotations

import anyio
import pytest

from penstock.media import NS
from penstock_hls.media_playlist import MediaPlaylist
from penstock_hls.playlist import parse_playlist
from tests.hls.stage import asked, get, live, media
from tests.http.port import Answer

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("logs")]

LISTS = [("ts-main", ""), ("fmp4-v1", ""), ("fmp4-a2", ""), ("ts-main", 'If-None-Match: "x"')]
"""And what is asked past ASGI, or with a condition by the handler."""


def segments(answer: Answer) -> list[float]:
    playlist = parse_playlist(answer.body)
    assert isinstance(playlist, MediaPlaylist)
    return [round(s.duration / NS) for s in playlist.segments]


@pytest.mark.parametrize(("gop", "agent", "wanted"), [(250, "x", 1), (250, "VLC/3.0", 2), (100, "x", 2)])
async def test_who_comes_with_the_stream_waits_for_one_long_segment_or_for_two_of_others(
    gop: int, agent: str, wanted: int
) -> None:
    async with live(gop=gop) as (server, stream):
        answers: list[Answer] = []

        async def ask() -> None:
            answers.append(await get(server, "/live/one.m3u8?variant=ts", f"User-Agent: {agent}"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await anyio.sleep(0.05)
            for complete in (1, 2):
                assert not answers
                stream.write(gop + 1 if complete == 1 else gop)
                await anyio.sleep(0.1)
                assert bool(answers) == (complete >= wanted)
                if answers:
                    break
        assert answers[0].status == 200
        assert len((await media(server, "ts-main")).segments) == wanted


@pytest.mark.parametrize(("name", "header"), LISTS)
async def test_who_asks_shortly_before_the_next_segment_is_given_that(name: str, header: str) -> None:
    """Or would look for it again half a target duration later (6.3.4), with nothing left to play."""
    async with live(gop=250) as (server, stream):
        await asked(server, stream, f"/live/one.m3u8?variant={name.partition('-')[0]}", 250 + 225)
        answers: list[Answer] = []

        async def ask() -> None:
            answers.append(await get(server, f"/live/one/hls/{name}.m3u8", *filter(None, [header])))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await anyio.sleep(0.1)
            assert not answers
            stream.write(27)
        assert segments(answers[0]) == [10, 10]


@pytest.mark.parametrize(("name", "header"), LISTS)
async def test_who_asks_earlier_or_where_it_does_not_come_is_given_what_there_is(
    name: str, header: str
) -> None:
    async with live(gop=250) as (server, stream):
        await asked(server, stream, f"/live/one.m3u8?variant={name.partition('-')[0]}", 250 + 200)
        headers = [header] if header else []
        with anyio.fail_after(0.5):
            assert segments(await get(server, f"/live/one/hls/{name}.m3u8", *headers)) == [10]
        # The key frame is late by 1.2 s: it may come now, or at any time.
        stream.gop = 10_000
        stream.write(50 + 30)
        with anyio.fail_after(1):
            assert segments(await get(server, f"/live/one/hls/{name}.m3u8", *headers)) == [10]
        stream.write(10)
        with anyio.fail_after(0.5):
            assert segments(await get(server, f"/live/one/hls/{name}.m3u8", *headers)) == [10]


async def test_nobody_waits_where_it_is_not_known_when_key_frames_come() -> None:
    async with live(gop=250) as (server, stream):
        await asked(server, stream, "/live/one.m3u8?variant=ts", 2 * 250 + 10)
        stream.publisher.stream.new_epoch()
        stream.write(240 + 1 + 25)
        with anyio.fail_after(0.5):
            assert segments(await get(server, "/live/one/hls/ts-main.m3u8"))[:2] == [10, 10]


async def test_who_is_sent_away_while_waiting_is_told_so() -> None:
    async with live(gop=250) as (server, stream):
        await asked(server, stream, "/live/one.m3u8?variant=ts", 250 + 225)
        # The first request makes a session of who asks, the second is answered past ASGI.
        await media(server, "ts-main")
        answers: list[Answer] = []

        async def ask() -> None:
            answers.append(await get(server, "/live/one/hls/ts-main.m3u8"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await anyio.sleep(0.1)
            for session in server.sessions:
                if session.protocol == "hls":
                    session.kick("enough")
        assert answers[0].status == 403


@pytest.mark.parametrize(("name", "gop", "pictures"), [("ll-v1", 250, 475), ("ts-main", 25, 74)])
async def test_lists_with_parts_and_of_short_segments_are_given_at_once(
    name: str, gop: int, pictures: int
) -> None:
    async with live(gop=gop) as (server, stream):
        await asked(server, stream, f"/live/one.m3u8?variant={name.partition('-')[0]}", pictures)
        with anyio.fail_after(0.1):
            assert (await get(server, f"/live/one/hls/{name}.m3u8")).status == 200
