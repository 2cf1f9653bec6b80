"""Which segments a player of ours fetches, given playlists (RFC 8216bis 6.3)."""

from __future__ import annotations

import pytest

from penstock.errors import ProtocolViolation
from penstock_hls.follower import MAX_TARGET, Follower
from penstock_hls.media_playlist import MediaPlaylist
from penstock_hls.playlist import parse_playlist


def playlist(*lines: str, first: int = 0, target: int = 2) -> MediaPlaylist:
    head = ["#EXTM3U", f"#EXT-X-TARGETDURATION:{target}", f"#EXT-X-MEDIA-SEQUENCE:{first}"]
    found = parse_playlist("\n".join([*head, *lines, ""]).encode())
    assert isinstance(found, MediaPlaylist)
    return found


def live(first: int, end: int, *more: str, seconds: float = 2.0, prefix: str = "") -> MediaPlaylist:
    """Segments `first` to `end`, called by their numbers."""
    lines = [f"#EXTINF:{seconds},\n{prefix}{number}.ts" for number in range(first, end)]
    return playlist(*lines, *more, first=first)


def taken(follower: Follower) -> list[str]:
    """What it gives out until it has no more."""
    found: list[str] = []
    while (wanted := follower.take()) is not None:
        found.append(wanted.segment.uri.removesuffix(".ts"))
    return found


def started(first: int = 10, end: int = 16) -> Follower:
    follower = Follower(0)
    follower.loaded(live(first, end), 0)
    return follower


def test_a_live_playlist_begins_three_target_durations_from_its_end() -> None:
    follower = started()
    assert taken(follower) == ["13", "14", "15"]
    assert (follower.hold, follower.reload_at, follower.ended) == (6.0, 2, False)


def test_a_short_live_playlist_begins_at_its_first_segment() -> None:
    assert taken(started(10, 12)) == ["10", "11"]


def test_the_origin_may_say_how_far_from_the_end_to_begin() -> None:
    follower = Follower(0)
    follower.loaded(live(10, 16, "#EXT-X-SERVER-CONTROL:HOLD-BACK=8"), 0)
    assert taken(follower) == ["12", "13", "14", "15"]


@pytest.mark.parametrize(
    ("offset", "first"),
    [("0", "10"), ("3.5", "11"), ("-3", "14"), ("-4", "14"), ("99", "15"), ("-99", "10")],
)
def test_ext_x_start_says_where_to_begin(offset: str, first: str) -> None:
    follower = Follower(0)
    follower.loaded(live(10, 16, f"#EXT-X-START:TIME-OFFSET={offset}"), 0)
    assert taken(follower)[0] == first


@pytest.mark.parametrize("tag", ["#EXT-X-ENDLIST", "#EXT-X-PLAYLIST-TYPE:VOD"])
def test_what_is_recorded_begins_at_its_beginning(tag: str) -> None:
    follower = Follower(0)
    follower.loaded(live(0, 6, tag), 0)
    assert taken(follower) == ["0", "1", "2", "3", "4", "5"]


def test_a_playlist_that_ended_is_not_loaded_again_and_ends_once_all_is_taken() -> None:
    follower = Follower(0)
    follower.loaded(live(0, 2, "#EXT-X-ENDLIST"), 0)
    assert follower.reload_at is None
    assert not follower.ended
    assert taken(follower) == ["0", "1"]
    assert follower.ended


def test_new_segments_follow_and_reloads_are_a_target_duration_apart_or_half() -> None:
    follower = started()
    assert taken(follower)[-1] == "15"
    follower.loaded(live(10, 16), 2)
    assert (taken(follower), follower.reload_at, follower.changed_at) == ([], 3, 0)
    follower.loaded(live(11, 17), 3)
    assert (taken(follower), follower.reload_at, follower.changed_at) == (["16"], 5, 3)
    follower.failed(5)
    assert (follower.reload_at, follower.changed_at) == (6, 3)
    follower.loaded(live(12, 18, "#EXT-X-ENDLIST"), 6)
    assert taken(follower) == ["17"]
    assert follower.ended


def test_segments_that_wait_take_the_addresses_of_the_last_load() -> None:
    follower = started()
    first = follower.take()
    assert first is not None
    assert first.number == 13
    lines = [f"#EXTINF:2,\n{number}.ts?token=new" for number in range(12, 17)]
    follower.loaded(playlist(*lines, first=12), 2)
    assert taken(follower) == [f"{n}.ts?token=new" for n in (14, 15, 16)]


def test_who_fell_out_of_the_window_begins_anew_near_its_end_with_another_timeline() -> None:
    follower = started()
    before = follower.take()
    follower.loaded(live(40, 50), 30)
    after = follower.take()
    assert before is not None
    assert after is not None
    assert (before.period, after.period, after.number) == ((0, 0), (1, 0), 47)


@pytest.mark.parametrize("again", [live(0, 4), live(8, 12, prefix="again/"), live(13, 15, prefix="again/")])
def test_an_origin_that_was_started_again_is_followed_from_there(again: MediaPlaylist) -> None:
    follower = started()
    assert taken(follower) == ["13", "14", "15"]
    follower.loaded(again, 2)
    wanted = follower.take()
    assert wanted is not None
    assert wanted.period == (1, 0)
    assert wanted.segment in again.segments


def test_an_old_playlist_of_some_cache_is_no_news() -> None:
    follower = started(10, 16)
    assert taken(follower) == ["13", "14", "15"]
    follower.loaded(live(9, 15), 2)
    assert (taken(follower), follower.changed_at) == ([], 0)
    follower.loaded(live(11, 17), 3)
    assert taken(follower) == ["16"]


def test_a_window_that_grows_backwards_goes_on() -> None:
    follower = started(10, 16)
    assert taken(follower) == ["13", "14", "15"]
    follower.loaded(live(8, 17), 2)
    assert taken(follower) == ["16"]


def test_discontinuities_are_other_timelines_and_gaps_are_left_out() -> None:
    follower = Follower(0)
    lines = [
        "#EXT-X-DISCONTINUITY-SEQUENCE:7",
        "#EXTINF:2,\n0.ts",
        "#EXT-X-DISCONTINUITY\n#EXT-X-GAP\n#EXTINF:2,\n1.ts",
        "#EXTINF:2,\n2.ts",
        "#EXT-X-DISCONTINUITY\n#EXTINF:2,\n3.ts",
        "#EXT-X-ENDLIST",
    ]
    follower.loaded(playlist(*lines), 0)
    found = [(w.number, w.period) for w in iter(follower.take, None)]
    assert found == [(0, (0, 7)), (2, (0, 8)), (3, (0, 9))]


def test_a_playlist_that_does_not_count_its_discontinuities_is_counted_by_us() -> None:
    """FFmpeg writes no EXT-X-DISCONTINUITY-SEQUENCE: a discontinuity that leaves the window is no new timeline."""
    follower = Follower(0)
    lines = [f"#EXTINF:2,\n{n}.ts" for n in range(6)]
    lines[1] = "#EXT-X-DISCONTINUITY\n" + lines[1]
    follower.loaded(playlist(*lines[:4]), 0)
    assert [w.period for w in iter(follower.take, None)] == [(0, 1)] * 3
    follower.loaded(playlist(*lines[2:6], first=2), 4)
    assert [w.period for w in iter(follower.take, None)] == [(0, 1)] * 2


def test_byte_ranges_go_on_where_the_one_before_ended() -> None:
    follower = Follower(0)
    lines = [
        "#EXT-X-BYTERANGE:100@50\n#EXTINF:2,\na.ts",
        "#EXT-X-BYTERANGE:30\n#EXTINF:2,\na.ts",
        "#EXT-X-BYTERANGE:9@0\n#EXTINF:2,\nb.ts",
        "#EXT-X-ENDLIST",
    ]
    follower.loaded(playlist(*lines), 0)
    assert [w.range for w in iter(follower.take, None)] == [(50, 100), (150, 30), (0, 9)]


@pytest.mark.parametrize(
    "lines",
    [
        ["#EXT-X-BYTERANGE:100\n#EXTINF:2,\na.ts"],
        ["#EXT-X-BYTERANGE:0@5\n#EXTINF:2,\na.ts"],
        ["#EXT-X-SKIP:SKIPPED-SEGMENTS=3", "#EXTINF:2,\na.ts"],
    ],
)
def test_what_cannot_be_followed_is_refused(lines: list[str]) -> None:
    with pytest.raises(ProtocolViolation):
        Follower(0).loaded(playlist(*lines), 0)


def test_parts_of_a_segment_that_is_being_written_are_left_for_later() -> None:
    follower = Follower(0)
    part = '#EXT-X-PART:DURATION=0.5,URI="2.part"'
    follower.loaded(playlist("#EXTINF:2,\n0.ts", "#EXTINF:2,\n1.ts", part), 0)
    assert taken(follower) == ["0", "1"]


def test_a_target_duration_of_centuries_is_not_waited_for() -> None:
    follower = Follower(0)
    follower.loaded(playlist("#EXTINF:2,\n0.ts", target=1 << 62), 0)
    assert (follower.target, follower.reload_at) == (MAX_TARGET, MAX_TARGET)


def test_a_playlist_without_segments_is_loaded_until_there_are_some() -> None:
    follower = Follower(0)
    follower.loaded(playlist(), 0)
    assert (taken(follower), follower.reload_at) == ([], 2)
    follower.loaded(live(0, 9), 2)
    assert taken(follower) == ["6", "7", "8"]


def test_it_is_behind_where_more_is_there_than_at_the_start() -> None:
    follower = started()
    assert not follower.is_behind(0.0)
    assert follower.is_behind(4.5)
