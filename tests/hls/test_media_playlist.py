"""Media playlists by the clauses of draft-pantos-hls-rfc8216bis-22 that bind a server."""

from __future__ import annotations

import gzip
import time
from itertools import pairwise

import anyio
import pytest

from penstock.media import NS
from penstock_formats.isobmff.segments import CmafFormat
from penstock_hls.media_playlist import target_duration
from penstock_hls.playlist import parse_playlist
from penstock_hls.written import media_playlist
from tests.hls.stage import LARGE, Live, get, live, media, watching

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("logs")]

VARIANTS = ("ts-main", "fmp4-v1", "fmp4-a2", "ll-v1", "ll-a2")


@pytest.mark.parametrize("name", VARIANTS)
async def test_4_4_3_1_every_segment_rounded_is_at_most_the_target_duration(name: str) -> None:
    async with live(gop=38) as (server, stream):
        playlist = await watching(server, stream, 8, name)
        assert len(playlist.segments) >= 4
        for segment in playlist.segments:
            assert (segment.duration + NS // 2) // NS <= playlist.target_duration


@pytest.mark.parametrize(("longest", "target"), [(1, 1), (1_499, 1), (1_500, 2), (8_000, 8), (10_499, 10)])
def test_4_4_3_1_the_target_duration_is_that_of_the_longest_segment_rounded(
    longest: int, target: int
) -> None:
    assert target_duration(longest * 1_000_000) == target


@pytest.mark.parametrize("name", VARIANTS)
async def test_6_2_1_the_target_duration_does_not_change_where_the_longest_segment_is_fixed(
    name: str,
) -> None:
    """`server.segment_longest`: groups of pictures that become longer are cut, and are not said to be independent."""
    async with live({"segment_longest": 3}) as (server, stream):
        first = await watching(server, stream, 3, name)
        assert first.target_duration == 3
        assert [s.duration for s in first.segments if s.uri] == [NS] * 3 if "a2" not in name else True
        stream.gop = 10_000
        stream.write(25 * 10)
        later = await media(server, name)
        assert later.target_duration == 3
        assert max(s.duration for s in later.segments) > 2.9 * NS
        assert all((s.duration + NS // 2) // NS <= 3 for s in later.segments)
        assert later.independent_segments is ("a2" in name)


async def test_6_2_1_the_target_duration_grows_where_key_frames_alone_decide() -> None:
    """Which that clause forbids: ADR 0035 says why it is so all the same."""
    async with live() as (server, stream):
        assert (await watching(server, stream, 3)).target_duration == 1
        stream.gop = 75
        stream.write(25 * 8)
        assert (await media(server)).target_duration == 3


async def test_4_4_3_2_the_media_sequence_is_the_number_of_the_first_segment_listed() -> None:
    """And goes up by one for each that is removed."""
    async with live({"segment_window": 2}) as (server, stream):
        first = await watching(server, stream, 3, "ts-main")
        stream.write(25 * 6)
        later = await media(server, "ts-main")
        assert later.media_sequence == first.media_sequence + 6 - (len(later.segments) - len(first.segments))
        assert [s.uri for s in later.segments] == [
            f"main-{later.media_sequence + n}.ts" for n in range(len(later.segments))
        ]


@pytest.mark.parametrize("name", VARIANTS)
async def test_4_4_3_3_and_4_4_4_3_a_discontinuity_is_marked_and_counted_once_it_is_gone(name: str) -> None:
    async with live({"segment_window": 2}) as (server, stream):
        await watching(server, stream, 2, name)
        stream.close()
        again = Live(server)
        await again.publish()
        again.write(26)
        playlist = await media(server, name)
        assert [s.discontinuity for s in playlist.segments].count(True) == 1
        assert playlist.discontinuity_sequence == 0
        again.write(25 * 8)
        playlist = await media(server, name)
        assert not any(s.discontinuity for s in playlist.segments)
        assert playlist.discontinuity_sequence == 1


@pytest.mark.parametrize("name", VARIANTS)
async def test_6_2_2_the_discontinuity_sequence_is_there_before_a_segment_leaves_a_list_with_a_discontinuity(
    name: str,
) -> None:
    """And from the beginning on: 6.2.1 lets nobody add it later. Authoring 8.17."""
    async with live({"segment_window": 2}) as (server, stream):
        assert (await watching(server, stream, 2, name)).discontinuity_sequence == 0
        stream.close()
        again = Live(server)
        await again.publish()
        again.write(26)
        answer = await get(server, f"/live/one/hls/{name}.m3u8")
        assert b"#EXT-X-DISCONTINUITY\n" in answer.body
        assert answer.body.count(b"#EXT-X-DISCONTINUITY-SEQUENCE:0\n") == 1


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("query", ["", "?token=x"])
async def test_6_2_1_playlists_go_as_gzip_to_who_takes_that(name: str, query: str) -> None:
    """Also Appendix B.1, and authoring 10.1; to others as they are."""
    async with live() as (server, stream):
        await watching(server, stream, 2, name)
        for url in (f"/live/one/hls/{name}.m3u8{query}", f"/live/one.m3u8?variant={name.partition('-')[0]}"):
            plain = await get(server, url, "Accept-Encoding: gzip;q=0, identity")
            assert "content-encoding" not in plain.headers
            packed = await get(server, url, "Accept-Encoding: deflate, gzip;q=0.8")
            assert packed.headers["content-encoding"] == "gzip"
            assert plain.headers["vary"] == packed.headers["vary"] == "accept-encoding"
            assert int(packed.headers["content-length"]) == len(packed.body)
            if "/hls/" in url:
                assert len(packed.body) < len(plain.body)
                assert gzip.decompress(packed.body) == plain.body
            else:
                assert parse_playlist(gzip.decompress(packed.body)).variants  # type: ignore[union-attr]


async def test_segments_can_be_asked_for_in_part() -> None:
    """RFC 9110 14.2: browsers of other origins see Content-Range and ETag, and so they are there."""
    async with live() as (server, stream):
        playlist = await watching(server, stream, 3)
        first, last = playlist.segments[0], playlist.segments[-1]
        assert first.map is not None
        for uri in (first.uri, last.parts[0].uri, first.map.uri):
            url = f"/live/one/hls/{uri}"
            whole = await get(server, url)
            assert whole.headers["accept-ranges"] == "bytes"
            part = await get(server, url, "Range: bytes=2-9")
            assert (part.status, part.body) == (206, whole.body[2:10])
            assert part.headers["content-range"] == f"bytes 2-9/{len(whole.body)}"
            assert part.headers["etag"] == whole.headers["etag"] == f'"{uri}"'
            assert (await get(server, url, f"If-None-Match: {whole.headers['etag']}")).status == 304
            assert (await get(server, url, "Range: bytes=99999999-")).status == 416


async def test_b_1_that_a_segment_is_gone_is_kept_for_a_target_duration_and_that_it_is_to_come_is_not() -> (
    None
):
    async with live() as (server, stream):
        playlist = await watching(server, stream, 3)
        first, last = playlist.media_sequence, playlist.media_sequence + len(playlist.segments)
        for name, caching in ((f"v1-{first - 9}", "max-age=1"), (f"v1-{last + 5}", "no-cache")):
            answer = await get(server, f"/live/one/hls/{name}.m4s")
            assert (answer.status, answer.headers["cache-control"]) == (404, caching)


@pytest.mark.parametrize("name", VARIANTS)
async def test_6_2_1_what_was_published_is_listed_when_the_publisher_leaves_and_not_when_the_next_one_comes(
    name: str,
) -> None:
    """A client that waits for the end of the segment, or of a part, learns of it at once."""
    async with live() as (server, stream):
        before = await watching(server, stream, 3, name)
        stream.write(14)
        answers: list[int] = []

        async def wait() -> None:
            last = before.media_sequence + len([s for s in before.segments if s.uri])
            answers.append((await get(server, f"/live/one/hls/{name}.m3u8?_HLS_msn={last}")).status)

        async with anyio.create_task_group() as tasks:
            if name.startswith("ll"):
                tasks.start_soon(wait)
                await anyio.sleep(0.05)
                assert not answers
            stream.close()
            with anyio.fail_after(2):
                while name.startswith("ll") and not answers:
                    await anyio.sleep(0.01)
        left = await media(server, name)
        assert not left.end
        whole = [s for s in left.segments if s.uri]
        assert len(whole) == len([s for s in before.segments if s.uri]) + 1
        assert abs(whole[-1].duration - 15 * NS // 25) < NS // 20
        again = Live(server)
        await again.publish()
        again.write(26)
        after = await media(server, name)
        assert [s.discontinuity for s in after.segments].count(True) == 1
        assert [(s.uri, s.duration) for s in after.segments][: len(whole)] == [
            (s.uri, s.duration) for s in whole
        ]


async def test_4_4_3_4_the_end_of_the_stream_is_the_end_of_the_list() -> None:
    async with live({"reconnect_grace": 0}) as (server, stream):
        playlist = await watching(server, stream, 3)
        assert not playlist.end
        stream.close()
        playlist = await media(server)
        assert playlist.end
        assert playlist.hints == ()
        assert all(s.uri for s in playlist.segments), "the last one is complete"
        # Segments are still there, and there is no more to wait for.
        assert (await get(server, f"/live/one/hls/{playlist.segments[0].uri}")).status == 200
        with anyio.fail_after(2):
            again = await media(server, "ll-v1", f"?_HLS_msn={playlist.media_sequence + 50}")
        assert again == playlist


async def test_4_4_3_7_the_part_target_is_the_longest_part_and_parts_but_the_last_are_no_shorter_than_85_percent() -> (
    None
):
    async with live() as (server, stream):
        await watching(server, stream, 4)
        for name in ("ll-v1", "ll-a2"):
            playlist = await media(server, name)
            assert playlist.part_target is not None
            for segment in playlist.segments:
                assert all(p.duration <= playlist.part_target for p in segment.parts)
                assert all(p.duration >= 0.85 * playlist.part_target for p in segment.parts[:-1])


async def test_4_4_3_8_server_control() -> None:
    """CAN-SKIP-UNTIL is six target durations, HOLD-BACK three of them, PART-HOLD-BACK three part targets."""
    async with live() as (server, stream):
        playlist = await watching(server, stream)
        control, part = playlist.server_control, playlist.part_target
        assert control is not None
        assert part is not None
        assert control.can_block_reload
        assert control.can_skip_until == 6 * playlist.target_duration * NS
        assert control.hold_back == 3 * playlist.target_duration * NS
        assert control.part_hold_back == 3 * part
        for name in ("ts-main", "fmp4-v1"):
            assert (await watching(server, stream, 2, name)).server_control is None


@pytest.mark.parametrize(("name", "version"), [("ts-main", 3), ("fmp4-v1", 6), ("ll-v1", 6)])
async def test_8_and_6_2_1_the_version_is_what_the_tags_need(name: str, version: int) -> None:
    async with live({"segment_window": 20}) as (server, stream):
        assert (await watching(server, stream, 15, name)).version == version
        # EXT-X-SKIP alone takes 9.
        delta = await media(server, name, "?_HLS_skip=YES")
        assert delta.version == (9 if name == "ll-v1" else version)


async def test_4_4_4_5_fragmented_segments_have_a_map_and_transport_streams_need_none() -> None:
    async with live() as (server, stream):
        for name, type in (("fmp4-v1", "video/mp4"), ("fmp4-a2", "audio/mp4")):
            playlist = await watching(server, stream, 2, name)
            (only,) = {s.map for s in playlist.segments}
            assert only is not None
            answer = await get(server, f"/live/one/hls/{only.uri}")
            assert answer.status == 200
            assert answer.headers["content-type"] == type
            assert answer.body[4:8] == b"ftyp"
        assert {s.map for s in (await watching(server, stream, 2, "ts-main")).segments} == {None}


async def test_4_4_4_5_another_config_has_another_map_after_a_discontinuity() -> None:
    async with live() as (server, stream):
        await watching(server, stream, 2)
        stream.publisher.configure(stream.video, LARGE)
        stream.write(50)
        for name in ("fmp4-v1", "fmp4-a2"):
            playlist = await media(server, name)
            marked = [n for n, s in enumerate(playlist.segments) if s.discontinuity]
            assert len(marked) == 1
            maps = [s.map for s in playlist.segments]
            video = name == "fmp4-v1"
            assert (maps[marked[0] - 1] != maps[marked[0]]) is video


@pytest.mark.parametrize("name", VARIANTS)
async def test_4_4_4_6_dates_are_wall_times_and_go_on_with_the_durations(name: str) -> None:
    async with live() as (server, stream):
        playlist = await watching(server, stream, 5, name)
        complete = [s for s in playlist.segments if s.uri]
        assert len(complete) >= 4
        for a, b in pairwise(complete):
            assert a.date is not None
            assert b.date is not None
            assert abs(b.date - a.date - a.duration) < NS // 20
        # Five seconds were written in no time, and are said to have come in five.
        assert abs(time.time_ns() - (complete[-1].date or 0)) < 15 * NS


async def test_4_4_4_7_sound_that_is_missing_is_a_gap() -> None:
    async with live() as (server, stream):
        await watching(server, stream, 2)
        stream.audio, heard = [], stream.audio
        stream.write(75)
        stream.audio = heard
        stream.write(50)
        playlist = await media(server, "fmp4-a2")
        gaps = [s for s in playlist.segments if s.gap]
        assert gaps
        assert playlist.version == 6
        assert (await get(server, f"/live/one/hls/{gaps[0].uri}")).status == 404


async def test_4_4_4_9_parts_are_the_segment_cut_in_pieces() -> None:
    async with live() as (server, stream):
        playlist = await watching(server, stream, 3)
        segment = playlist.segments[-2]
        whole = (await get(server, f"/live/one/hls/{segment.uri}")).body
        pieces = [(await get(server, f"/live/one/hls/{p.uri}")).body for p in segment.parts]
        assert b"".join(pieces) == whole
        assert len(pieces) == 5
        assert [p.independent for p in segment.parts] == [True, False, False, False, False]


async def test_6_2_2_parts_are_listed_for_the_last_three_target_durations() -> None:
    async with live() as (server, stream):
        playlist = await watching(server, stream, 8)
        with_parts = [s for s in playlist.segments if s.parts]
        without = [s for s in playlist.segments if not s.parts]
        assert playlist.segments == (*without, *with_parts)
        assert 3 <= len(with_parts) <= 5
        # What is listed no more is still there for who has an older playlist.
        old = f"/live/one/hls/{without[-1].uri.replace('.m4s', '.0.m4s')}"
        assert (await get(server, old)).status == 200


async def test_6_2_2_no_less_than_three_target_durations_are_listed_and_what_is_gone_stays_for_a_while() -> (
    None
):
    async with live({"segment_window": 0}) as (server, stream):
        """Authoring 8.11: six segments."""
        first = await watching(server, stream, 9, "ts-main")
        assert sum(s.duration for s in first.segments) >= 3 * first.target_duration * NS
        assert len(first.segments) == 6
        stream.write(25 * 2)
        assert (await get(server, f"/live/one/hls/{first.segments[0].uri}")).status == 200
        stream.write(25 * 10)
        assert (await get(server, f"/live/one/hls/{first.segments[0].uri}")).status == 404


async def test_6_2_2_a_segment_never_changes_and_may_be_kept_by_caches() -> None:
    async with live() as (server, stream):
        playlist = await watching(server, stream, 2)
        answer = await get(server, f"/live/one/hls/{playlist.segments[0].uri}")
        assert answer.headers["cache-control"] == "max-age=3600, immutable"
        assert answer.headers["content-type"] == "video/mp4"
        answer = await get(server, "/live/one/hls/ll-v1.m3u8")
        assert answer.headers["content-type"] == "application/vnd.apple.mpegurl"
        assert answer.headers["cache-control"] == "no-cache"


async def test_6_2_1_segments_are_independent_and_say_so() -> None:
    async with live() as (server, stream):
        for name in VARIANTS:
            assert (await watching(server, stream, 2, name)).independent_segments


async def test_6_2_4_renditions_have_the_same_sequence_numbers_at_the_same_times() -> None:
    async with live() as (server, stream):
        await watching(server, stream, 5)
        video, audio = await media(server, "ll-v1"), await media(server, "ll-a2")
        assert video.media_sequence == audio.media_sequence
        assert video.target_duration == audio.target_duration
        assert len(video.segments) == len(audio.segments)
        for a, b in zip(video.segments, audio.segments, strict=True):
            assert abs((a.date or 0) - (b.date or 0)) < NS // 10


@pytest.mark.parametrize(("variant", "least"), [("ts", 2), ("fmp4", 2), ("ll", 1)])
async def test_6_2_2_a_list_is_long_enough_to_play_until_it_is_loaded_again(variant: str, least: int) -> None:
    """Which is after a target duration (6.3.4): who has one segment and no parts has played it then."""
    async with live() as (server, stream):
        answers: list[int] = []

        async def ask_for() -> None:
            answers.append((await get(server, f"/live/one.m3u8?variant={variant}")).status)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask_for)
            for segments in range(1, least + 1):
                await anyio.sleep(0.05)
                assert answers == [], f"there are {segments - 1} segments"
                stream.write(26 if segments == 1 else 25)
        assert answers == [200]
        name = "ts-main" if variant == "ts" else f"{variant}-v1"
        assert len([s for s in (await media(server, name)).segments if s.uri]) == least


async def test_a_stream_of_one_segment_that_ended_can_be_played() -> None:
    async with live({"reconnect_grace": 0}) as (server, stream):
        stream.write(10)
        stream.close()
        assert (await get(server, "/live/one.m3u8?variant=ts")).status == 200
        playlist = await media(server, "ts-main")
        assert playlist.end
        assert len(playlist.segments) == 1


async def test_long_groups_of_pictures_make_long_segments_that_are_announced() -> None:
    async with live(gop=200) as (server, stream):
        playlist = await watching(server, stream, 17)
        assert playlist.target_duration == 8
        assert [s.duration for s in playlist.segments if s.uri] == [8 * NS, 8 * NS]
        assert playlist.segments[-1].parts


async def test_the_same_bytes_are_given_to_everybody_until_something_changes() -> None:
    async with live() as (server, stream):
        await watching(server, stream, 2)
        store = server.streams.get("live/one")
        assert store is not None
        rendition = store.segments(CmafFormat()).renditions["v1"]
        one = media_playlist(rendition, "ll")
        assert media_playlist(rendition, "ll") is one
        with_token = one.text("?token=x")
        assert with_token.count(b"?token=x") == one.plain.count(b"URI=") + one.plain.count(b"#EXTINF")
        assert one.compressed(one.plain) is one.compressed(one.plain)
        stream.write(5)
        assert media_playlist(rendition, "ll") is not one
