"""A stream in segments: where it is cut, what is kept, and what becomes of it when tracks, configs or publishers change."""

from __future__ import annotations

import time
from collections.abc import MutableMapping
from typing import Any, cast

import anyio
import pytest

from penstock.errors import NotFound
from penstock.media import NS, Codec, Kind
from penstock.publisher import Publisher
from penstock.segment import SegmentWriter
from penstock.segments import SegmentStore
from penstock.stream import Stream
from tests.kernel.segmenting import Lines, LineWriter, bounds, parts, store_of, stream_with, text, texts
from tests.kernel.stage import AUDIO, DATA, VIDEO, Host, Number, ms, publish

pytestmark = pytest.mark.usefixtures("logs")


OTHER = Codec("other-video", Kind.VIDEO)
SCRIPT = Codec("script", Kind.DATA, incidental=True)


class Live:
    """Pictures 40 ms apart, a key frame each `gop`, and a sound of 40 ms after each."""

    def __init__(self, stream: Stream, *, gop: int = 25, video: bool = True, audio: bool = True) -> None:
        self.stream = stream
        self.gop = gop
        self.number = 0
        self.publisher: Publisher = publish(stream)
        self.video = self.publisher.add_track(VIDEO, 90_000, Number()).id if video else 0
        self.audio = self.publisher.add_track(AUDIO, 1000, Number()).id if audio else 0
        self.publisher.tracks_complete()

    def write(self, count: int, *, video: bool = True, audio: bool = True) -> None:
        for _ in range(count):
            n = self.number
            at = ms(40 * n)
            if self.video and video:
                self.publisher.write(self.video, (b"%d" % n,), pts=at, dts=at, key=n % self.gop == 0)
            if self.audio and audio:
                self.publisher.write(self.audio, (b"%d" % n,), pts=at, duration=ms(40))
            self.number += 1


def numbers(first: int, last: int, letter: str = "v", gop: int = 25) -> str:
    """As the writer has frames `first` to before `last`."""
    return " ".join(f"{'K' if letter == 'v' and n % gop == 0 else letter}{n}" for n in range(first, last))


def test_segments_begin_at_key_frames_with_the_same_numbers_in_every_rendition() -> None:
    stream = stream_with()
    store = store_of(stream)
    live = Live(stream)
    live.write(60)
    video, audio = store.renditions.values()
    assert (video.kind, audio.kind) == (Kind.VIDEO, Kind.AUDIO)
    assert texts(video)[:2] == [numbers(0, 25), numbers(25, 50)]
    assert texts(audio)[:2] == [numbers(0, 25, "a"), numbers(25, 50, "a")]
    assert [s.number for s in video.segments] == [s.number for s in audio.segments]
    assert [s.duration for s in video.segments] == [NS, NS, 0]
    assert not any(s.discontinuity for s in video.segments)
    assert all(s.independent for s in video.segments)


@pytest.mark.anyio
async def test_who_waits_for_segments_is_told_why_there_are_none() -> None:
    stream = stream_with()
    store = store_of(stream)
    with pytest.raises(NotFound, match="it has no tracks"):
        await store.wait_ready(1, 0.01)
    publish(stream).add_track(DATA, 1000, Number())
    assert not store.is_ready(0)
    with pytest.raises(NotFound, match="cannot be played here: no lines of data"):
        await store.wait_ready(1, 0.01)


@pytest.mark.anyio
async def test_each_segment_is_waited_for_as_long_and_then_not_found() -> None:
    stream = stream_with()
    store = store_of(stream)
    live = Live(stream)
    with pytest.raises(NotFound, match="no segment yet"):
        await store.wait_ready(1, 0.01)
    live.write(30)
    await store.wait_ready(1, 0.01)
    assert store.is_ready(1)
    assert not store.is_ready(2)
    with pytest.raises(NotFound, match="no segment yet"):
        await store.wait_ready(2, 0.01)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(store.wait_ready, 2, 10)
        await anyio.wait_all_tasks_blocked()
        live.write(30)
    assert store.is_ready(2)


def test_numbers_go_up_with_the_wall_clock_so_that_a_store_made_anew_uses_none_again() -> None:
    stream = stream_with()
    live = Live(stream)
    store = store_of(stream)
    live.write(1)
    first = next(iter(store.renditions.values())).segments[0].number
    assert abs(first - time.time()) < 5


def test_a_segment_is_as_long_as_its_group_of_pictures_and_so_is_the_target() -> None:
    stream = stream_with(target=1.0)
    store = store_of(stream)
    assert store.target == NS
    live = Live(stream, gop=200)
    live.write(401)
    video = store.renditions["v1"]
    assert [s.duration for s in video.segments] == [8 * NS, 8 * NS, 0]
    assert store.target == 8 * NS
    assert store.knows_target


def test_several_groups_of_pictures_go_into_a_segment_until_it_is_long_enough() -> None:
    stream = stream_with(target=2.0)
    live = Live(stream, gop=20)
    live.write(21)
    # Key frames each 0.8 s: 2.4 s is what segments are going to be, as the first that asks is told.
    store = store_of(stream)
    assert store.knows_target
    assert store.target == ms(2400)
    live.write(140)
    assert [s.duration for s in store.renditions["v1"].segments][:2] == [ms(2400), ms(2400)]


def test_times_that_are_a_little_uneven_do_not_make_a_segment_of_two_groups() -> None:
    stream = stream_with(target=1.0)
    store = store_of(stream)
    publisher = publish(stream)
    video = publisher.add_track(VIDEO, 90_000, Number())
    for n in range(80):
        at = ms(40 * n - (3 if n % 25 == 0 and n else 0))
        publisher.write(video.id, (b"%d" % n,), pts=at, dts=at, key=n % 25 == 0)
    assert [round(s.duration / NS) for s in store.renditions["v1"].segments] == [1, 1, 1, 0]


def test_parts_are_as_long_as_they_may_be_and_wait_for_no_frame_that_is_not_theirs() -> None:
    stream = stream_with()
    store = store_of(stream)
    live = Live(stream)
    live.write(5)
    video, audio = store.renditions.values()
    # The fifth picture ends at 200 ms: the part is there before the sixth comes.
    assert parts(video.segments[0]) == [numbers(0, 5)]
    assert parts(audio.segments[0]) == [numbers(0, 5, "a")]
    live.write(21)
    assert [len(p.split()) for p in parts(video.segments[0])] == [5, 5, 5, 5, 5]
    assert [p.duration for p in video.segments[0].parts] == [ms(200)] * 5
    assert [p.independent for p in video.segments[0].parts] == [True, False, False, False, False]
    assert all(p.independent for p in audio.segments[0].parts)
    assert store.part_target == ms(210)


@pytest.mark.parametrize(("interval", "audio"), [(33, 21), (42, 23), (20, 128), (100, 60), (17, 64)])
def test_every_part_but_a_segments_last_lasts_85_percent_of_what_is_announced(
    interval: int, audio: int
) -> None:
    """RFC 8216bis 4.4.3.7, whatever the frame rate and however coarse the carrier's clock."""
    stream = stream_with(target=2.0)
    store = store_of(stream)
    publisher = publish(stream)
    video = publisher.add_track(VIDEO, 90_000, Number())
    sound = publisher.add_track(AUDIO, 1000, Number())
    gop = round(2000 / interval)
    heard = 0
    for n in range(6 * gop):
        at = interval * n + n % 2
        publisher.write(video.id, (b"v",), pts=ms(at), dts=ms(at), key=n % gop == 0)
        while heard * audio < at:
            publisher.write(sound.id, (b"s",), pts=ms(heard * audio), duration=ms(audio))
            heard += 1
    for rendition in store.renditions.values():
        for segment in list(rendition.segments)[:-1]:
            for part in segment.parts:
                assert part.duration <= store.part_target
            for part in segment.parts[:-1]:
                assert part.duration >= 0.85 * store.part_target, (part.duration, store.part_target)


@pytest.mark.parametrize(
    "turns",
    [
        [(33, 30), (233, 5)] * 8,
        [(233, 5), (33, 30)] * 8,
        [(33, 10), (233, 1)] * 20,
        [(33, 120), (143, 60)],
        [(33, 200), (1000, 15)],
        [(1000, 20)],
        [(33, 3), (77, 1), (12, 4)] * 40,
    ],
)
def test_6_2_1_the_part_target_does_not_change_and_holds_whatever_the_frame_rate_does(
    turns: list[tuple[int, int]],
) -> None:
    """4.4.4.9: no part is longer, and none but a segment's last shorter than 85 %. Pictures in turns, as phones in the dark and
    screens that are shared have them: (step in ms, how many).
    """
    stream = stream_with(target=2.0, window=60.0)
    store = store_of(stream)
    publisher = publish(stream)
    video = publisher.add_track(VIDEO, 90_000, Number())
    announced: set[int] = set()
    at, key = 0, -2000
    for step, count in turns:
        for _ in range(count):
            begins = at - key >= 2000
            key = at if begins else key
            publisher.write(video.id, (b"%d" % at,), pts=ms(at), dts=ms(at), key=begins)
            announced.add(store.part_target)
            at += step
    assert len(announced - {0}) == 1
    # Who asks later has parts for the slow ones, as far as these are kept.
    late = stream.segments(Lines(key="late"))
    assert late.part_target >= ms(min(turns[-1][0], turns[-2 % len(turns)][0]))
    for known in (store, late):
        segments = known.renditions["v1"].segments
        assert sum(len(segment.parts) for segment in segments) > 4
        for segment in segments:
            assert all(p.duration <= known.part_target for p in segment.parts)
            assert all(p.duration >= 0.85 * known.part_target for p in segment.parts[:-1])


def test_parts_are_as_long_as_slow_pictures_take_where_these_are_known() -> None:
    stream = stream_with(target=2.0)
    publisher = publish(stream)
    video = publisher.add_track(VIDEO, 90_000, Number())
    at = 0
    for n in range(200):
        publisher.write(video.id, (b"v",), pts=ms(at), dts=ms(at), key=n % 35 == 0)
        # One that lasts long for once, which is no rule.
        at += 1500 if n == 70 else 233 if n % 35 >= 30 else 33
    store = store_of(stream)
    assert ms(233) <= store.part_target <= ms(250)


def test_a_hole_in_the_pictures_makes_no_part_longer() -> None:
    """A part is said to be as long as parts are at most; the one picture that is shown meanwhile lasts as long all the same."""
    stream = stream_with()
    store = store_of(stream)
    live = Live(stream, audio=False)
    live.write(7)
    live.number += 20
    live.write(1)
    segment = store.renditions["v1"].segments[0]
    assert store.part_target == ms(210)
    assert [p.duration for p in segment.parts] == [ms(200), ms(210)]
    # The segment ends where the next one begins, whatever its parts say.
    live.write(23)
    assert segment.duration == ms(50 * 40)


def test_after_a_late_picture_parts_wait_until_it_is_known_how_long_their_last_one_lasts() -> None:
    """Media Source Extensions throw away what comes more than twice the last one's duration later, up to a key frame: where that
    was a guess and a picture is late, nothing moves any more.
    """
    stream = stream_with(target=2.0)
    store = store_of(stream)
    live = Live(stream, gop=50, audio=False)
    live.write(30)
    writer = cast("LineWriter", store.renditions["v1"].writer)
    assert writer.ends == [None] * 6, "pictures that come in time: none waits for the next"
    live.number += 1
    live.write(40)
    assert all(writer.ends[7:])
    assert len(writer.ends) > 12


def test_sound_alone_is_cut_anywhere() -> None:
    stream = stream_with(target=1.0)
    store = store_of(stream)
    live = Live(stream, video=False)
    live.write(60)
    (audio,) = store.renditions.values()
    assert texts(audio)[:2] == [numbers(0, 25, "a"), numbers(25, 50, "a")]
    assert store.knows_target


def test_late_sound_goes_into_the_segment_of_its_time() -> None:
    """It comes 120 ms behind its picture, as from encoders with a delay: no frame is lost, numbers are the pictures'."""
    stream = stream_with()
    store = store_of(stream)
    live = Live(stream)
    for n in range(60):
        at = ms(40 * n)
        live.publisher.write(live.video, (b"%d" % n,), pts=at, dts=at, key=n % 25 == 0)
        if n >= 3:
            live.publisher.write(live.audio, (b"%d" % (n - 3),), pts=ms(40 * (n - 3)), duration=ms(40))
    audio = store.renditions["a2"]
    assert texts(audio)[:2] == [numbers(0, 25, "a"), numbers(25, 50, "a")]


def test_sound_that_is_not_there_leaves_a_gap_with_the_same_number() -> None:
    stream = stream_with()
    store = store_of(stream)
    live = Live(stream)
    live.write(30)
    live.write(50, audio=False)
    live.write(40)
    video, audio = store.renditions.values()
    assert [s.number for s in video.segments] == [s.number for s in audio.segments]
    assert [s.gap for s in audio.segments] == [False, False, True, False, False]
    assert texts(audio)[1] == numbers(25, 30, "a")
    assert texts(audio)[3].endswith(numbers(98, 100, "a"))


def test_tracks_that_are_written_together_stay_in_the_order_in_which_they_came() -> None:
    stream = stream_with()
    store = store_of(stream, together=True)
    live = Live(stream)
    live.write(30)
    (main,) = store.renditions.values()
    assert texts(main)[0] == " ".join(f"{numbers(n, n + 1)} a{n}" for n in range(25))


def test_a_store_is_born_with_what_makes_three_segments_and_shared() -> None:
    stream = stream_with()
    live = Live(stream)
    live.write(140)
    store = store_of(stream)
    assert store_of(stream) is store
    assert store_of(stream, key="others") is not store
    (first, *_, last) = store.renditions["v1"].segments
    assert texts(store.renditions["v1"])[:-1] == [numbers(n, n + 25) for n in range(50, 125, 25)]
    assert texts(store.renditions["a2"])[:-1] == [numbers(n, n + 25, "a") for n in range(50, 125, 25)]
    assert not any(s.discontinuity for s in store.renditions["v1"].segments)
    live.write(15)
    assert text(last) == numbers(125, 150)
    assert first.number + 3 == last.number <= time.time() + 1


def test_of_sound_alone_a_store_is_born_with_three_segments() -> None:
    stream = stream_with()
    live = Live(stream, video=False)
    live.write(220)
    assert not stream.cached, "readers begin with what comes next"
    segments = store_of(stream).renditions["a1"].segments
    assert [s.complete for s in segments][-4:] == [True, True, True, False]
    live.write(30)
    assert " ".join(texts(store_of(stream).renditions["a1"])).split() == [
        f"a{n}" for n in range(int(text(segments[0]).split()[0][1:]), 250)
    ], "nothing is left out"


def test_without_room_for_more_a_store_is_born_with_the_newest_group_of_pictures() -> None:
    stream = stream_with(replay=0)
    live = Live(stream)
    live.write(40)
    store = store_of(stream)
    live.write(15)
    assert texts(store.renditions["v1"])[0] == numbers(25, 50)


def test_a_store_that_is_made_anew_at_once_uses_no_number_again() -> None:
    stream = stream_with(idle=10)
    live = Live(stream)
    live.write(140)
    before = [s.number for s in store_of(stream).renditions["v1"].segments]
    stream.drop_idle(time.monotonic() + 11)
    assert not stream.stores
    after = [s.number for s in store_of(stream).renditions["v1"].segments]
    assert after[0] == before[-1] + 1
    assert len(after) == len(before)


def test_another_publisher_makes_a_discontinuity_in_every_rendition() -> None:
    stream = stream_with()
    store = store_of(stream)
    live = Live(stream)
    live.write(30)
    live.publisher.close()
    assert not stream.ended, "segments keep a stream for its publisher's return"
    Live(stream).write(30)
    for rendition in store.renditions.values():
        assert [s.discontinuity for s in rendition.segments] == [False, False, True, False]
        assert rendition.segments[1].complete
    assert texts(store.renditions["v1"])[1:3] == [numbers(25, 30), numbers(0, 25)]


def test_discontinuities_that_left_the_list_are_counted() -> None:
    """RFC 8216bis 6.2.2."""
    stream = stream_with(window=1)
    store = store_of(stream)
    for _ in range(3):
        live = Live(stream)
        live.write(30)
        live.publisher.close()
    Live(stream).write(25 * 8)
    video = store.renditions["v1"]
    listed = list(video.listed)
    assert not any(s.discontinuity for s in listed)
    assert video.discontinuity_sequence == 3


def test_a_new_config_begins_a_segment_with_a_new_init_after_a_discontinuity() -> None:
    stream = stream_with(target=1.0)
    store = store_of(stream)
    live = Live(stream, gop=5)
    live.write(30)
    live.publisher.configure(live.video, Number(7))
    live.write(30)
    video, audio = store.renditions.values()
    found = [(s.init.data, s.discontinuity, s.duration) for s in video.segments]
    assert found == [(b"i0.", False, NS), (b"i0.", False, ms(200)), (b"i7.", True, NS), (b"i7.", False, 0)]
    first = audio.segments[0].number
    assert [(s.init.number - first, s.discontinuity) for s in audio.segments] == [
        (0, False), (0, False), (0, True), (0, False),
    ]  # fmt: skip
    assert video.init_of(first) is video.segments[0].init
    assert video.init_of(first + 2) is video.init
    assert video.init_of(first + 1) is None


def test_pictures_of_a_new_config_before_their_key_frame_are_not_written() -> None:
    stream = stream_with()
    store = store_of(stream)
    live = Live(stream)
    live.write(27)
    live.publisher.configure(live.video, Number(7))
    live.write(23 + 26)
    assert texts(store.renditions["v1"])[1:3] == ["K25 v26", numbers(50, 75)]


def test_sound_of_a_new_config_waits_for_the_next_key_frame() -> None:
    stream = stream_with()
    store = store_of(stream)
    live = Live(stream)
    live.write(27)
    live.publisher.configure(live.audio, Number(7))
    live.write(30)
    audio = store.renditions["a2"]
    assert texts(audio)[1] == "a25 a26"
    assert text(audio.segments[2]).startswith("a27 a28")
    assert [(s.init.data, s.discontinuity) for s in audio.segments][1:] == [(b"i0.", False), (b"i7.", True)]
    assert [s.discontinuity for s in store.renditions["v1"].segments] == [False, False, True]


def test_a_track_that_comes_late_is_a_rendition_from_the_next_segment_on() -> None:
    stream = stream_with()
    store = store_of(stream)
    live = Live(stream, audio=False)
    live.write(30)
    live.audio = live.publisher.add_track(AUDIO, 1000, Number()).id
    live.write(30)
    video, audio = store.renditions.values()
    assert audio.segments[0].number == video.segments[2].number
    assert not any(s.discontinuity for s in video.segments)
    assert text(audio.segments[0]).startswith("a50 ")


def test_a_track_that_comes_late_into_a_rendition_makes_a_discontinuity() -> None:
    stream = stream_with()
    store = store_of(stream, together=True)
    live = Live(stream, audio=False)
    live.write(30)
    live.audio = live.publisher.add_track(AUDIO, 1000, Number()).id
    live.write(30)
    (main,) = store.renditions.values()
    assert [(s.discontinuity, s.init.data) for s in main.segments] == [
        (False, b"i0."),
        (False, b"i0."),
        (True, b"i0.i0."),
    ]


def test_pictures_that_come_late_lead_from_then_on() -> None:
    stream = stream_with()
    store = store_of(stream)
    live = Live(stream, video=False)
    live.write(30)
    live.video = live.publisher.add_track(VIDEO, 90_000, Number()).id
    live.write(45)
    assert list(store.renditions) == ["v2", "a1"]
    assert texts(store.renditions["v2"])[0].startswith("K50")
    assert store.renditions["a1"].segments[-1].number == store.renditions["v2"].segments[-1].number


def test_a_track_that_is_gone_takes_its_rendition_along() -> None:
    stream = stream_with()
    store = store_of(stream)
    live = Live(stream)
    live.write(30)
    audio = store.renditions["a2"]
    live.publisher.close()
    again = Live(stream, audio=False)
    stream.set_ready()
    again.write(30)
    assert list(store.renditions) == ["v1"]
    assert audio.ended
    assert store.bytes == sum(s.size for s in store.renditions["v1"].segments)


def test_without_its_pictures_a_stream_goes_on_with_its_sound() -> None:
    stream = stream_with()
    store = store_of(stream)
    live = Live(stream)
    live.write(30)
    live.publisher.close()
    again = Live(stream, video=False)
    stream.set_ready()
    again.write(30)
    assert list(store.renditions) == ["a2"]
    assert texts(store.renditions["a2"])[2] == numbers(0, 25, "a")


def test_what_cannot_be_carried_is_left_out_with_a_reason_that_is_logged_once(
    logs: list[MutableMapping[str, Any]],
) -> None:
    stream = stream_with()
    store = store_of(stream, refused=frozenset({2}))
    live = Live(stream)
    live.publisher.add_track(DATA, 1000, Number())
    live.publisher.add_track(SCRIPT, 1000, Number())
    live.write(60)
    assert store.left_out == {2: "refused", 3: "no lines of data", 4: "no lines of data"}
    assert list(store.renditions) == ["v1"]
    told = [(line["track"], line["reason"]) for line in logs if line["event"] == "track left out"]
    assert told == [(2, "refused"), (3, "no lines of data")], "nobody misses what is incidental"


def test_a_config_that_cannot_be_carried_any_more_ends_that_rendition() -> None:
    stream = stream_with()
    fmt = Lines()
    store = stream.segments(fmt)
    live = Live(stream)
    live.write(30)
    fmt.refused = frozenset({2})
    live.publisher.configure(live.audio, Number(3))
    live.write(30)
    assert list(store.renditions) == ["v1"]
    assert store.left_out == {2: "refused"}


def test_what_is_listed_and_what_is_kept_is_bounded_in_time() -> None:
    stream = stream_with(window=8)
    store = store_of(stream)
    live = Live(stream)
    live.write(25 * 60)
    video = store.renditions["v1"]
    assert sum(s.duration for s in video.listed) == 8 * NS
    # As long again, and the segment itself: RFC 8216bis 6.2.2.
    assert len(video.segments) <= 2 * 8 + 3
    assert video.get(video.listed_from - 8) is not None
    assert video.get(video.segments[0].number - 1) is None
    assert video.get(video.segments[-1].number + 1) is None
    held = [s.parts[0].held for s in video.segments if s.parts]
    assert held == sorted(held)
    assert 3 <= sum(held) <= 5
    assert video.segments[0].parts[1].data == video.segments[0].data[
        -len(video.segments[0].parts[1].data) :
    ] or (video.segments[0].parts[1].data in video.segments[0].data)


def test_no_less_than_six_segments_are_listed_and_what_is_gone_is_there_for_as_long_as_it_and_the_list_last() -> (
    None
):
    """Apple's authoring specification 8.11; RFC 8216bis 6.2.2."""
    stream = stream_with(window=0)
    store = store_of(stream)
    Live(stream, gop=50).write(50 * 20)
    video = store.renditions["v1"]
    listed = [s for s in video.listed if s.complete]
    assert [s.duration for s in listed] == [2 * NS] * 6
    assert store.window == 12 * NS
    # The newest that is gone was there for the first time a list and itself ago.
    assert video.get(video.listed_from - 1) is not None
    assert len(video.segments) <= 6 + 5


def test_bytes_are_bounded_over_all_renditions_whatever_the_window() -> None:
    stream = stream_with(window=1000, bytes=2000)
    store = store_of(stream)
    live = Live(stream)
    live.write(25 * 40)
    assert store.bytes <= 2000 + 300
    assert store.bytes == sum(s.size for r in store.renditions.values() for s in r.segments)
    video = store.renditions["v1"]
    assert next(iter(video.listed)) is video.segments[0]


def test_the_number_of_segments_is_bounded() -> None:
    stream = stream_with(window=1000, count=5)
    store = store_of(stream)
    Live(stream).write(25 * 20)
    video = store.renditions["v1"]
    assert len([s for s in video.listed if s.complete]) == 5
    assert len(video.segments) <= 11


def test_pictures_that_are_far_apart_do_not_make_times_vague() -> None:
    """A camera that sends a key frame each four seconds."""
    stream = stream_with()
    store = store_of(stream)
    live = Live(stream, gop=1, audio=False)
    for n in range(4):
        at = ms(4000 * n)
        live.publisher.write(live.video, (b"%d" % n,), pts=at, dts=at)
    video = store.renditions["v1"]
    assert (video.frame_interval, video.slack) == (ms(4000), ms(250))


def test_pictures_without_key_frames_are_cut_in_the_middle_at_last() -> None:
    stream = stream_with()
    store = store_of(stream)
    Live(stream, gop=10_000).write(25 * 61)
    video = store.renditions["v1"]
    assert [s.independent for s in video.segments] == [True, False]
    assert video.segments[0].duration == 60 * NS


def test_a_publisher_that_can_is_asked_for_a_key_frame_where_a_segment_is_long_enough() -> None:
    stream = stream_with(target=1.0)
    store_of(stream)
    live = Live(stream, gop=1000)
    asked: list[int] = []
    live.publisher.on_key_frame_request = lambda track: asked.append(live.number)
    live.write(25)
    assert not asked
    live.write(5)
    assert asked == [25]


def test_one_segment_does_not_fill_the_store() -> None:
    stream = stream_with(bytes=2000)
    store = store_of(stream)
    Live(stream, gop=10_000, audio=False).write(25 * 12)
    assert max(s.size for s in store.renditions["v1"].segments) < 700


def test_a_second_picture_begins_at_its_own_key_frames() -> None:
    stream = stream_with(target=1.0)
    store = store_of(stream)
    live = Live(stream, audio=False)
    second = live.publisher.add_track(VIDEO, 90_000, Number())
    for n in range(120):
        live.write(1)
        at = ms(40 * n)
        live.publisher.write(second.id, (b"%d" % n,), pts=at, dts=at, key=n % 40 == 0)
    first, other = store.renditions.values()
    assert [s.duration for s in first.segments][:3] == [NS, NS, NS]
    assert texts(other)[0].startswith("K0 ")
    assert texts(other)[1].startswith("K40 ")
    assert all(s.independent for s in other.segments)
    held = [s.number for s in other.segments]
    assert held == list(range(held[0], held[0] + len(held)))


def test_a_store_that_nobody_asks_for_is_dropped_and_its_stream_ends_without_a_publisher() -> None:
    host = Host()
    stream = stream_with(idle=10)
    stream.host = host  # pyright: ignore[reportPrivateUsage]
    store = store_of(stream)
    live = Live(stream)
    live.write(30)
    now = store.asked
    stream.drop_idle(now + 9)
    assert tuple(stream.stores) == (store,)
    with store.held():
        stream.drop_idle(now + 11)
        assert tuple(stream.stores) == (store,)
    live.publisher.close()
    assert not stream.ended
    stream.drop_idle(time.monotonic() + 11)
    assert not stream.stores
    assert store.ended
    assert stream.ended
    assert host.gone_streams == [stream]


def test_the_end_completes_the_last_segment() -> None:
    stream = stream_with()
    store = store_of(stream)
    live = Live(stream)
    live.write(30)
    stream.end("over")
    video = store.renditions["v1"]
    assert store.ended
    assert video.ended
    assert texts(video) == [numbers(0, 25), numbers(25, 30)]
    assert video.segments[-1].complete
    assert video.segments[-1].duration == ms(200)
    assert store_of(stream) is store
    late = store_of(stream, key="late")
    assert late.ended


def test_a_writer_that_fails_ends_its_segments_and_nothing_else(
    logs: list[MutableMapping[str, Any]],
) -> None:
    stream = stream_with()
    store, other = store_of(stream), store_of(stream, key="other")
    live = Live(stream)
    live.write(3)

    store.renditions["v1"].writer = cast("SegmentWriter", None)
    live.write(30)
    assert tuple(stream.stores) == (other,)
    assert store.ended
    assert other.renditions["v1"].segments[0].complete
    assert [line["event"] for line in logs if line["log_level"] == "error"] == ["a writer of segments failed"]


def test_wall_times_are_the_streams() -> None:
    stream = stream_with()
    store = store_of(stream)
    live = Live(stream)
    begun = time.monotonic_ns() - ms(40 * 30)
    for n in range(30):
        for track in (live.video, live.audio):
            key, arrival = n % 25 == 0, begun + ms(40 * n)
            live.publisher.write(
                track, (b"%d" % n,), pts=ms(40 * n), key=key, duration=ms(40), arrival=arrival
            )
    for rendition in store.renditions.values():
        for segment in rendition.segments:
            # The clock follows the arrivals, and so moves by a little.
            assert abs(segment.wall - stream.clock.wall(segment.time)) < ms(1)
            assert abs(segment.wall - time.time_ns()) < 5 * NS


def test_a_wall_time_is_that_of_the_same_moment_in_every_rendition() -> None:
    """Although the clock moves by a picture with each, as of those that a publisher begins with at once."""
    stream = stream_with()
    store = store_of(stream)
    live = Live(stream)
    for n in range(60):
        live.publisher.write(live.video, (b"%d" % n,), pts=ms(40 * n), key=n % 25 == 0)
        live.publisher.write(live.audio, (b"%d" % n,), pts=ms(40 * n + 20), duration=ms(40))
    zeros = [[s.wall - s.time for s in rendition.segments] for rendition in store.renditions.values()]
    assert zeros[0] == zeros[1]
    assert abs(zeros[0][0] - zeros[0][1] - NS) < ms(100)


def test_a_stream_of_nothing_that_can_be_carried_has_no_renditions() -> None:
    stream = stream_with()
    publisher = publish(stream)
    publisher.add_track(DATA, 1000, Number())
    store = SegmentStore(stream, Lines(), bounds())
    assert store.renditions == {}
    assert store.lead is None
    assert not store.knows_target


def test_what_is_in_the_way_until_the_next_publisher_is_ready_makes_no_line(
    logs: list[MutableMapping[str, Any]],
) -> None:
    stream = stream_with()
    store = stream.segments(Lines(one_picture=True))
    live = Live(stream)
    live.write(30)
    live.publisher.close()
    again = publish(stream)
    other = again.add_track(OTHER, 90_000, Number())
    again.tracks_complete()
    assert stream.is_ready
    for n in range(60):
        again.write(other.id, (b"%d" % n,), pts=ms(40 * n), key=n % 10 == 0)
    assert list(store.renditions) == [f"v{other.id}"]
    assert not [line for line in logs if line["event"] == "track left out"]
    # One that it has beside is told all the same.
    more = again.add_track(VIDEO, 90_000, Number())
    again.write(other.id, (b"60",), pts=ms(2400), key=True)
    told = [(line["track"], line["reason"]) for line in logs if line["event"] == "track left out"]
    assert told == [(more.id, "one picture")]
