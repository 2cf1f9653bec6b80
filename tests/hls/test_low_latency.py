"""Low-Latency HLS by the clauses of draft-pantos-hls-rfc8216bis-22: blocking reload, deltas, hints, reports."""

from __future__ import annotations

import time

import anyio
import pytest

from penstock.errors import ProtocolViolation
from penstock.media import NS
from penstock_hls.directives import Directives
from penstock_hls.playlist import parse_playlist
from tests.hls.stage import Live, get, live, media, serving, watching
from tests.http.port import Answer

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("logs")]


async def test_6_2_5_2_a_blocked_reload_is_answered_once_the_part_is_there() -> None:
    async with live() as (server, stream):
        playlist = await watching(server, stream, 3)
        # One picture of it is there, which is no part yet.
        open_segment = playlist.media_sequence + len(playlist.segments)
        answers: list[Answer] = []

        async def wait(query: str) -> None:
            answers.append(await get(server, f"/live/one/hls/ll-v1.m3u8?{query}"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait, f"_HLS_msn={open_segment}&_HLS_part=1")
            await anyio.sleep(0.1)
            assert not answers
            stream.write(5)
            await anyio.sleep(0.1)
            assert not answers, "that was part 0"
            stream.write(5)
        (answer,) = answers
        assert answer.status == 200
        # Appendix B: what was waited for may be kept by caches for six target durations.
        assert answer.headers["cache-control"] == "max-age=6"
        found = parse_playlist(answer.body)
        assert len(found.segments[-1].parts) == 2  # type: ignore[union-attr]


async def test_6_2_5_2_without_a_part_it_is_answered_once_the_segment_is_complete() -> None:
    async with live() as (server, stream):
        playlist = await watching(server, stream, 2)
        open_segment = playlist.media_sequence + len([s for s in playlist.segments if s.uri])
        answers: list[Answer] = []

        async def wait() -> None:
            answers.append(await get(server, f"/live/one/hls/ll-a2.m3u8?_HLS_msn={open_segment}"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            stream.write(20)
            await anyio.sleep(0.1)
            assert not answers
            stream.write(5)
        found = parse_playlist(answers[0].body)
        assert any(s.uri == f"a2-{open_segment}.m4s" for s in found.segments)  # type: ignore[union-attr]


async def test_6_2_5_2_what_is_there_already_is_answered_at_once() -> None:
    async with live() as (server, stream):
        playlist = await watching(server, stream, 3)
        for query in (
            f"_HLS_msn={playlist.media_sequence}",
            "_HLS_msn=0&_HLS_part=0",
            "_HLS_msn=5&_HLS_part=999",
        ):
            with anyio.fail_after(1):
                assert (await get(server, f"/live/one/hls/ll-v1.m3u8?{query}")).status == 200


async def test_vlc_which_knows_no_parts_is_given_two_segments_to_begin_with() -> None:
    async with live() as (server, stream):
        answers: dict[str, Answer] = {}

        async def ask(agent: str) -> None:
            answers[agent] = await get(server, "/live/one.m3u8", f"User-Agent: {agent}")

        async with anyio.create_task_group() as tasks:
            for agent in ("hls.js", "VLC/3.0.24 LibVLC/3.0.24"):
                tasks.start_soon(ask, agent)
            await anyio.sleep(0.05)
            stream.write(26)
            await anyio.sleep(0.1)
            assert list(answers) == ["hls.js"]
            stream.write(30)
        assert [a.status for a in answers.values()] == [200, 200]
        playlist = await media(server)
        assert len([s for s in playlist.segments if s.uri]) == 2


async def test_the_wait_for_a_first_segment_is_for_each_segment() -> None:
    async with serving(first_segment_timeout=0.6) as server:
        for path, more, status in (("live/one", 26, 200), ("live/two", 0, 404)):
            stream = Live(server, path)
            await stream.publish()
            answers: list[Answer] = []

            async def ask(url: str, answers: list[Answer] = answers) -> None:
                answers.append(await get(server, url))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ask, f"/{path}.m3u8?variant=ts")
                await anyio.sleep(0.35)
                stream.write(26)
                await anyio.sleep(0.35)
                assert not answers
                stream.write(more)
            assert answers[0].status == status


@pytest.mark.parametrize(
    "query",
    [
        "_HLS_msn={last}3",
        "_HLS_msn={ahead}",
        "_HLS_msn={last}&_HLS_part=99",
        "_HLS_msn={next}&_HLS_part=14",
        "_HLS_part=1",
        "_HLS_msn=-1",
        "_HLS_msn=1.5",
        "_HLS_msn=",
        "_HLS_msn=9223372036854775808",
        "_HLS_msn=184467440737095516160",
        "_HLS_msn={last}&_HLS_part=1000000000",
    ],
)
async def test_6_2_5_2_what_is_too_far_ahead_or_no_number_is_refused_at_once(query: str) -> None:
    """More than two segments, or three seconds in parts, ahead of the playlist's last: 400."""
    async with live() as (server, stream):
        playlist = await watching(server, stream, 2)
        last = playlist.media_sequence + len(playlist.segments) - 1
        with anyio.fail_after(1):
            url = query.format(last=last, next=last + 1, ahead=last + 3)
            assert (await get(server, f"/live/one/hls/ll-v1.m3u8?{url}")).status == 400


@pytest.mark.parametrize(
    ("part_target", "limit"), [(200, 15), (210, 14), (333, 9), (999, 3), (1_000, 3), (2_500, 3)]
)
def test_6_2_5_2_the_advance_part_limit_is_three_seconds_in_parts_or_three_parts_of_a_second_and_more(
    part_target: int, limit: int
) -> None:
    for msn, first in ((20, 4), (21, 0)):
        last = first + limit - 1
        Directives(msn, last).check(20, 3, part_target * 1_000_000)
        with pytest.raises(ProtocolViolation):
            Directives(msn, last + 1).check(20, 3, part_target * 1_000_000)


async def test_appendix_c_who_tunes_in_behind_a_cache_is_kept_waiting_for_a_part_that_is_a_second_ahead() -> (
    None
):
    async with live() as (server, stream):
        playlist = await watching(server, stream, 3)
        number = playlist.media_sequence + len(playlist.segments)
        answers: list[Answer] = []

        async def wait() -> None:
            answers.append(await get(server, f"/live/one/hls/ll-v1.m3u8?_HLS_msn={number}&_HLS_part=5"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await anyio.sleep(0.05)
            assert not answers
            stream.write(31)
        assert answers[0].status == 200


async def test_6_2_5_1_nothing_is_skipped_of_a_playlist_that_has_ended() -> None:
    async with live({"segment_window": 20, "reconnect_grace": 0}) as (server, stream):
        await watching(server, stream, 15)
        assert (await media(server, "ll-v1", "?_HLS_skip=YES")).skipped > 0
        stream.close()
        whole = await media(server, "ll-v1", "?_HLS_skip=YES")
        assert (whole.end, whole.skipped, len(whole.segments)) == (True, 0, 15 + 1)


async def test_6_2_5_2_what_does_not_come_within_three_target_durations_is_503() -> None:
    async with live({"segment_seconds": 0.5, "part_seconds": 0.1}, gop=12) as (server, stream):
        playlist = await watching(server, stream, 2)
        began = time.monotonic()
        answer = await get(
            server, f"/live/one/hls/ll-v1.m3u8?_HLS_msn={playlist.media_sequence + len(playlist.segments)}"
        )
        assert answer.status == 503
        assert 1.3 < time.monotonic() - began < 4


async def test_6_2_5_2_the_end_of_the_stream_lets_everybody_go() -> None:
    async with live({"reconnect_grace": 0}) as (server, stream):
        playlist = await watching(server, stream, 2)
        last = playlist.media_sequence + len(playlist.segments) - 1
        answers: list[Answer] = []

        async def wait() -> None:
            answers.append(await get(server, f"/live/one/hls/ll-v1.m3u8?_HLS_msn={last + 1}"))

        with anyio.fail_after(2):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(wait)
                await anyio.sleep(0.1)
                stream.close()
        assert b"#EXT-X-ENDLIST" in answers[0].body


async def test_6_2_5_1_a_delta_leaves_out_what_is_older_than_the_skip_boundary() -> None:
    async with live({"segment_window": 20}) as (server, stream):
        full = await watching(server, stream, 15)
        delta = await media(server, "ll-v1", "?_HLS_skip=YES")
        assert delta.skipped == len(full.segments) - len(delta.segments)
        assert delta.segments == full.segments[delta.skipped :]
        assert delta.media_sequence == full.media_sequence
        told = sum(s.duration for s in delta.segments)
        assert told >= 6 * full.target_duration * NS
        assert delta.skipped >= 7
        assert (await media(server, "ll-v1", "?_HLS_skip=odd")).skipped == 0
        # A playlist that is shorter than the boundary is told whole.
        assert (await media(server, "fmp4-v1", "?_HLS_skip=YES")).skipped == 0


async def test_4_4_5_3_the_part_that_comes_next_is_hinted_and_can_be_asked_for_already() -> None:
    async with live() as (server, stream):
        playlist = await watching(server, stream, 3)
        (hint,) = playlist.hints
        assert hint.type == "PART"
        answers: list[Answer] = []

        async def wait() -> None:
            answers.append(await get(server, f"/live/one/hls/{hint.uri}"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await anyio.sleep(0.1)
            assert not answers
            stream.write(5)
        assert answers[0].status == 200
        assert (await media(server)).segments[-1].parts[-1].uri == hint.uri


async def test_4_4_5_3_a_hint_that_turns_out_wrong_is_404() -> None:
    """The segment ended before the part that it was expected to have."""
    async with live(gop=27) as (server, stream):
        stream.write(1)
        playlist = await watching(server, stream, 3)
        number = playlist.media_sequence + len([s for s in playlist.segments if s.uri]) - 1
        complete = next(s for s in playlist.segments if s.uri.startswith(f"v1-{number}."))
        answer = await get(server, f"/live/one/hls/v1-{number}.{len(complete.parts)}.m4s")
        assert answer.status == 404


async def test_4_4_5_4_every_other_rendition_is_reported() -> None:
    async with live(languages=("en", "de")) as (server, stream):
        await watching(server, stream, 3)
        playlist = await media(server, "ll-v1")
        assert {r.uri for r in playlist.reports} == {"ll-a2.m3u8", "ll-a3.m3u8"}
        for report in playlist.reports:
            other = await media(server, report.uri.removesuffix(".m3u8"))
            assert report.last_msn == other.media_sequence + len(other.segments) - 1
            assert report.last_part == len(other.segments[-1].parts) - 1


async def test_a_playlist_is_not_given_out_before_it_has_a_segment() -> None:
    """FFmpeg, GStreamer and hls.js give up what has parts alone."""
    async with live(prepared=False) as (server, stream):
        stream.write(7)
        answers: list[Answer] = []

        async def wait() -> None:
            answers.append(await get(server, "/live/one/hls/ll-v1.m3u8"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await anyio.sleep(0.1)
            assert not answers
            stream.write(19)
        found = parse_playlist(answers[0].body)
        assert [bool(s.uri) for s in found.segments] == [True]  # type: ignore[union-attr]


@pytest.mark.parametrize(("variant", "segments"), [("ts-main", 3), ("fmp4-v1", 3), ("ll-v1", 4)])
async def test_who_comes_first_need_not_wait_where_the_stream_has_been_there_for_a_while(
    variant: str, segments: int
) -> None:
    async with live(prepared=False) as (server, stream):
        stream.write(10 * 25 + 7)
        playlist = await media(server, variant)
        assert len(playlist.segments) == segments, "with parts the one that is being made as well"
        first = await get(server, f"/live/one/hls/{playlist.segments[0].uri}")
        assert (first.status, len(first.body) > 1000) == (200, True)


async def test_blocked_viewers_are_all_released() -> None:
    """The crowd is in tests/kernel/test_waiters.py and tests/faults/test_hls.py; here each has its own connection."""
    async with live() as (server, stream):
        playlist = await watching(server, stream, 2)
        following = playlist.media_sequence + len(playlist.segments)
        done: list[float] = []
        count = 300

        async def wait() -> None:
            answer = await get(server, f"/live/one/hls/ll-v1.m3u8?_HLS_msn={following}&_HLS_part=0")
            assert answer.status == 200
            done.append(time.perf_counter())

        stream_ = server.streams.get("live/one")
        assert stream_ is not None
        async with anyio.create_task_group() as tasks:
            for _ in range(count):
                tasks.start_soon(wait)
            while sum(store.waiting for store in stream_.stores) < count:
                await anyio.sleep(0.05)
            stream.write(5)
        assert len(done) == count
