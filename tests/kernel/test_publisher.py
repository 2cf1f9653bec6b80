"""The publishing side: times on the stream's own clock, tracks, configs, and what becomes of a source that jumps."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.clock import STEP_NS
from penstock.errors import Closed
from penstock.media import NS, Epoch, Event, Frame, Track, TrackAdded, TrackChanged, TrackRemoved, to_ticks
from penstock.publisher import JUMP_NS, MAX_TRACKS, Publisher, flush_all
from penstock.stream import Stream
from tests.kernel.stage import (
    AUDIO,
    DATA,
    VIDEO,
    Host,
    Number,
    events,
    frames,
    ms,
    publish,
    stream_of,
    with_queue,
)

PICTURE, SOUND = ms(40), ms(20)
HOUR = 3600 * NS


class Source:
    """A publisher of pictures and sound whose clock can be set: `at` is the source's time, sound is `lead` ahead."""

    def __init__(self, stream: Stream | None = None, *, at: int = 0, lead: int = 0) -> None:
        self.stream = stream if stream is not None else stream_of()
        self.queue = with_queue(self.stream)
        self.publisher = publish(self.stream)
        self.video = self.publisher.add_track(VIDEO, 90_000, Number())
        self.audio = self.publisher.add_track(AUDIO, 48_000, Number())
        self.publisher.tracks_complete()
        self.arrival = 10 * NS
        self.at = at
        self.lead = lead
        self.moved: dict[int, list[int]] = {self.video.id: [], self.audio.id: []}

    def write(self, track: Track, time: int, **more: Any) -> None:
        self.moved[track.id].append(time)
        self.publisher.write(track.id, (bytes(960),), pts=time, arrival=self.arrival, **more)

    def run(self, seconds: float, tracks: tuple[str, ...] = ("video", "audio")) -> None:
        """Frames in the order in which they come: a picture and two of sound each 40 ms."""
        for _ in range(int(seconds * NS) // PICTURE):
            if "video" in tracks:
                self.write(self.video, self.at, dts=self.at)
            if "audio" in tracks:
                self.write(self.audio, self.at + self.lead)
                self.write(self.audio, self.at + self.lead + SOUND)
            self.at += PICTURE
            self.arrival += PICTURE

    def shifts(self, got: list[Event], track: Track) -> list[int]:
        """By how much each frame of a track was moved."""
        return [
            frame.pts - time for frame, time in zip(frames(got, track), self.moved[track.id], strict=True)
        ]


def epochs(got: list[Event]) -> list[int]:
    return [e.number for e in got if isinstance(e, Epoch)]


def assert_ordered(got: list[Event]) -> None:
    """Decoding times of each track go up, and no picture is shown before it is decoded."""
    last: dict[int, int] = {}
    for frame in frames(got):
        assert frame.dts > last.get(frame.track.id, -1)
        assert frame.pts >= frame.dts
        last[frame.track.id] = frame.dts


@pytest.mark.parametrize("start", [0, ms(1), -5 * NS, HOUR, ms((1 << 32) - 1), ms(123_456_789)])
def test_a_stream_begins_between_one_and_two_seconds(start: int) -> None:
    source = Source(at=start)
    source.run(1)
    got = events(source.queue)
    assert NS <= frames(got)[0].dts < 2 * NS
    (shift,) = set(source.shifts(got, source.video))
    assert shift % NS == 0, "ticks of every clock stay exact"
    assert set(source.shifts(got, source.audio)) == {shift}
    assert epochs(got) == []


@pytest.mark.parametrize("jump", [-HOUR, HOUR, -2 * NS, JUMP_NS + 5 * NS, -HOUR + PICTURE, 26 * HOUR])
@pytest.mark.parametrize("lead", [0, ms(300), -ms(300), ms(2500), -ms(2500), ms(900), -ms(1100)])
@pytest.mark.parametrize("sound_first", [False, True])
@pytest.mark.parametrize("apart", [0, 1, 20])
def test_a_jump_of_the_source_is_one_epoch_for_all_tracks(
    jump: int, lead: int, sound_first: bool, apart: int
) -> None:
    """Whichever track shows it first, however far ahead the sound is, and whatever still comes from before."""
    source = Source(at=100 * NS, lead=lead)
    source.run(5)
    first, second = ("audio", "video") if sound_first else ("video", "audio")
    before = source.at
    source.at += jump
    source.run(0.04, (first,))
    # The other one's last frames from before the jump, while the first goes on behind it.
    for n in range(apart):
        track, step = (source.video, PICTURE) if second == "video" else (source.audio, SOUND)
        source.write(track, before + (lead if second == "audio" else 0) + n * step, dts=None)
        source.run(0.04, (first,))
    source.run(5)
    got = events(source.queue)
    assert epochs(got) == [1]
    assert_ordered(got)
    # At the end both are moved alike, so that they are in step as they were.
    assert source.shifts(got, source.video)[-1] == source.shifts(got, source.audio)[-1]
    assert source.shifts(got, source.video)[-1] % NS == 0


def test_two_jumps_are_two_epochs() -> None:
    source = Source()
    for jump in (HOUR, -2 * HOUR, HOUR):
        source.run(3)
        source.at += jump
    source.run(3)
    got = events(source.queue)
    assert epochs(got) == [1, 2, 3]
    assert_ordered(got)


def test_tracks_that_start_anew_on_clocks_of_their_own_make_one_epoch() -> None:
    """As RTP's do where a camera restarts: each with another random offset."""
    source = Source()
    source.run(3)
    for n in range(100):
        source.write(source.video, 9 * HOUR + n * PICTURE, dts=9 * HOUR + n * PICTURE)
        source.write(source.audio, 2 * HOUR + 2 * n * SOUND)
        source.write(source.audio, 2 * HOUR + (2 * n + 1) * SOUND)
    got = events(source.queue)
    assert epochs(got) == [1]
    assert_ordered(got)
    pictures, sound = frames(got, source.video), frames(got, source.audio)
    assert pictures[-1].pts - pictures[-100].pts == 99 * PICTURE
    assert sound[-1].pts - sound[-200].pts == 199 * SOUND
    assert abs(pictures[-1].pts - sound[-1].pts) < 2 * NS


def test_a_track_that_was_silent_goes_on_where_the_others_are() -> None:
    """Sound that was off for longer than a gap may be, beside pictures that went on: the clock never jumped."""
    source = Source()
    source.run(2)
    source.run(3 * JUMP_NS / NS, ("video",))
    source.run(2)
    got = events(source.queue)
    assert epochs(got) == []
    assert len(set(source.shifts(got, source.video) + source.shifts(got, source.audio))) == 1


@pytest.mark.parametrize("clock", [HOUR, 0, -HOUR])
def test_a_late_track_on_a_clock_of_its_own_is_no_jump(clock: int) -> None:
    """The others are not moved, and it is placed where the stream is."""
    source = Source(at=100 * NS)
    source.run(30, ("video",))
    late = source.publisher.add_track(AUDIO, 48_000, Number())
    source.moved[late.id] = []
    for n in range(100):
        source.run(0.04, ("video",))
        source.write(late, clock + n * PICTURE)
    got = events(source.queue)
    assert epochs(got) == []
    assert len(set(source.shifts(got, source.video))) == 1
    (shift,) = set(source.shifts(got, late))
    assert shift % NS == 0
    assert 0 <= frames(got, late)[0].pts - frames(got, source.video)[751].pts < 2 * NS
    assert_ordered(got)


def test_a_step_back_below_a_second_is_no_jump() -> None:
    """Its frames are put one behind the other until the source is where it was."""
    source = Source()
    source.run(2)
    source.at -= ms(500)
    source.run(2)
    got = events(source.queue)
    assert epochs(got) == []
    assert_ordered(got)
    assert frames(got)[-1].pts - frames(got)[0].pts == ms(3500) - PICTURE + SOUND


def test_frames_of_one_time_have_time_stamps_of_their_own_in_every_carrier() -> None:
    """GStreamer's flvmux gives all that was shown before its first dts that dts: players by RTP took it for one picture."""
    source = Source()
    for _ in range(3):
        source.publisher.write(source.video.id, (b"p",), pts=source.at, dts=source.at)
        source.publisher.write(source.audio.id, (bytes(960),), pts=source.at)
    got = events(source.queue)
    assert_ordered(got)
    for track in (source.video, source.audio):
        times = [f.pts for f in frames(got, track)]
        assert times[-1] - times[0] < ms(1)
        for rate in (8000, 44_100, 90_000):
            assert len({to_ticks(pts, rate) for pts in times}) == 3


def test_data_without_a_time_is_where_the_stream_is() -> None:
    source = Source(at=500 * NS)
    data = source.publisher.add_track(DATA, 1000, Number())
    source.run(2)
    source.publisher.write(data.id, (b"x",), pts=0)
    source.run(20)
    source.publisher.write(data.id, (b"y",), pts=0)
    source.publisher.write(data.id, (b"z",), pts=source.at)
    got = events(source.queue)
    assert epochs(got) == []
    x, y, z = frames(got, data)
    assert 0 <= x.pts - 3 * NS < 2 * NS
    assert 0 <= y.pts - 23 * NS < 2 * NS
    assert z.pts - source.at == source.shifts(got, source.video)[0]


@settings(max_examples=60, deadline=None)
@given(
    st.integers(-(1 << 62), 1 << 62),
    st.lists(
        st.tuples(st.floats(0.1, 3), st.sampled_from([0, 1, -1, 9, -9, 3600]), st.integers(-NS, NS)),
        max_size=8,
    ),
)
def test_whatever_a_source_does_times_go_up_and_ticks_stay(
    start: int, parts: list[tuple[float, int, int]]
) -> None:
    source = Source(at=start)
    for seconds, jump, more in parts:
        source.run(seconds)
        source.at += jump * NS + more
    source.run(1)
    got = events(source.queue)
    assert_ordered(got)
    assert len(epochs(got)) <= len(parts)
    pictures = frames(got, source.video)
    # A frame is moved by whole seconds, or it is one of those that were put one behind the other.
    for frame, shift, before in zip(
        pictures[1:], source.shifts(got, source.video)[1:], pictures, strict=False
    ):
        assert shift % NS == 0 or frame.dts == before.dts + STEP_NS
    assert frames(got)[-1].dts - frames(got)[0].dts <= (sum(p[0] for p in parts) + 1 + 13 * len(parts)) * NS


# -- one publisher after the other --------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [0, 7 * NS, HOUR, -HOUR])
def test_across_publishers_the_clock_goes_on(at: int) -> None:
    """Rebased, with an epoch, and behind what was sent; the pause is that of the wall clock, up to a second more."""
    host = Host()
    stream = stream_of(host=host)
    first = Source(stream, at=50 * NS)
    first.run(4)
    wall = first.arrival
    first.publisher.close("gone")
    second = Source(stream, at=at)
    second.queue = first.queue
    # Tracks that are alike go on under their ids.
    assert (second.video.id, second.audio.id) == (first.video.id, first.audio.id)
    second.arrival = wall + 3 * NS
    second.run(4)
    got = events(first.queue)
    assert epochs(got) == [1]
    assert stream.epoch == 1
    assert_ordered(got)
    seam = next(n for n, e in enumerate(got) if isinstance(e, Epoch))
    old, new = frames(got[:seam]), frames(got[seam:])
    assert len(old) == len(new) == 300
    assert (new[0].dts - at) % NS == 0
    assert new[0].dts >= max(frame.dts for frame in old)
    assert {"stream_published", "stream_unpublished"} <= set(host.hooks)


def test_a_first_publisher_makes_no_epoch_and_one_without_frames_neither() -> None:
    stream = stream_of()
    queue = with_queue(stream)
    publish(stream).close()
    Source(stream).run(1)
    assert epochs(events(queue)) == []


def test_an_old_publisher_that_closes_late_does_not_disturb_the_new_one() -> None:
    stream = stream_of()
    queue = with_queue(stream)
    old = publish(stream)
    stream.publisher = None  # taken over
    new = publish(stream)
    old.close()
    assert stream.publisher is new
    assert not stream.ended
    with pytest.raises(Closed, match="the publisher was closed"):
        old.add_track(VIDEO, 90_000)
    assert queue is not None


# -- tracks and configs -------------------------------------------------------------------------------------------


def test_a_change_of_config_comes_before_its_frames_once() -> None:
    stream = stream_of()
    queue = with_queue(stream)
    with publish(stream) as publisher:
        track = publisher.add_track(VIDEO, 90_000)
        publisher.write(track.id, (b"early",), pts=0)
        publisher.configure(track.id, Number(1))
        publisher.write(track.id, (b"a",), pts=0)
        publisher.configure(track.id, Number(1))
        publisher.write(track.id, (b"b",), pts=PICTURE)
        publisher.configure(track.id, Number(2))
        publisher.write(track.id, (), pts=2 * PICTURE)
        publisher.write(track.id, (b"c",), pts=2 * PICTURE)
    got = events(queue)
    assert publisher.dropped == 2, "one before its config, one without bytes"
    assert publisher.closed
    kinds = [type(e).__name__ if not isinstance(e, Frame) else e.units[0].decode() for e in got]
    assert kinds == ["TrackAdded", "TrackChanged", "a", "b", "TrackChanged", "c"]
    assert [f.track.config for f in frames(got)] == [Number(1), Number(1), Number(2)]


def test_ready_when_every_track_has_its_config() -> None:
    stream = stream_of()
    publisher = publish(stream)
    video = publisher.add_track(VIDEO, 90_000)
    publisher.add_track(AUDIO, 48_000, Number())
    assert not stream.is_ready
    publisher.tracks_complete()
    assert not stream.is_ready
    publisher.configure(video.id, Number())
    assert stream.is_ready


def test_tracks_of_the_publisher_before_go_when_the_new_one_is_ready() -> None:
    """Not before: it may declare them again."""
    stream = stream_of()
    queue = with_queue(stream)
    first = publish(stream)
    for codec, rate in ((VIDEO, 90_000), (AUDIO, 48_000), (DATA, 1000)):
        first.add_track(codec, rate, Number())
    first.close()
    second = publish(stream)
    assert second.add_track(AUDIO, 48_000, Number(5)).id == 2
    assert second.add_track(AUDIO, 44_100, Number()).id == 4, "another clock is another track"
    assert len(stream.tracks) == 4
    second.tracks_complete()
    assert [t.id for t in stream.tracks] == [2, 4]
    got = [e for e in events(queue) if not isinstance(e, Frame)]
    assert [type(e) for e in got] == [TrackAdded] * 3 + [TrackChanged, TrackAdded, TrackRemoved, TrackRemoved]


def test_tracks_that_are_alike_go_on_by_language() -> None:
    stream = stream_of()
    first = publish(stream)
    ids = {name: first.add_track(AUDIO, 48_000, Number(), language=name).id for name in ("de", "fr", "it")}
    first.close()
    with_queue(stream)
    second = publish(stream)
    again = {name: second.add_track(AUDIO, 48_000, Number(), language=name).id for name in ("it", "de", "fr")}
    assert again == ids


def test_tracks_are_bounded() -> None:
    publisher = publish(stream_of())
    for _ in range(MAX_TRACKS):
        publisher.add_track(AUDIO, 48_000)
    with pytest.raises(Closed, match=f"more than {MAX_TRACKS} tracks"):
        publisher.add_track(AUDIO, 48_000)


# -- decoding times, sound, and wishes of readers -----------------------------------------------------------------


def derived(
    depth: int, order: list[int], configure: Callable[[Publisher, int], None] | None = None
) -> list[Frame]:
    stream = stream_of()
    queue = with_queue(stream)
    publisher = publish(stream)
    track = publisher.add_track(VIDEO, 90_000, Number(depth=depth, rate=25.0))
    for number in order:
        publisher.write(track.id, (b"x",), pts=number * PICTURE)
    got = events(queue)
    assert_ordered(got)
    return frames(got)


def test_decoding_times_come_from_the_codecs_reordering() -> None:
    got = derived(1, [0, 2, 1, 4, 3, 6, 5])
    assert [f.pts - f.dts for f in got] == [n * PICTURE for n in (1, 2, 0, 2, 0, 2, 0)]
    assert all(f.pts == f.dts for f in derived(0, [0, 1, 2, 3]))


def test_a_config_may_raise_the_depth() -> None:
    stream = stream_of()
    queue = with_queue(stream)
    publisher = publish(stream)
    track = publisher.add_track(VIDEO, 90_000, Number(depth=0))
    publisher.write(track.id, (b"x",), pts=0)
    publisher.configure(track.id, Number(depth=2))
    for number in (3, 1, 2, 6, 4, 5):
        publisher.write(track.id, (b"x",), pts=number * PICTURE)
    assert_ordered(events(queue))


@pytest.mark.parametrize("rate", [1e9, 1e-9, 0.0, -1.0, None])
def test_a_config_may_claim_any_rate(rate: float | None) -> None:
    stream = stream_of()
    publisher = publish(stream)
    track = publisher.add_track(VIDEO, 90_000, Number(depth=2, rate=rate))
    publisher.write(track.id, (b"x",), pts=0)
    assert NS // 1000 <= stream.frame_interval <= NS


def test_sound_of_a_coarse_clock_is_put_on_its_sample_grid() -> None:
    stream = stream_of()
    queue = with_queue(stream)
    publisher = publish(stream)
    track = publisher.add_track(AUDIO, 44_100, Number())
    for n in range(1000):
        publisher.write(track.id, (bytes(1024),), pts=ms(round(n * 1024 / 44.1)))
    got = frames(events(queue))
    ticks = [(f.pts * 44_100 + NS // 2) // NS for f in got]
    assert {b - a for a, b in pairwise(ticks)} == {1024}
    assert got[0].duration == 1024 * NS // 44_100


def test_readers_wishes_reach_a_publisher_that_can_act() -> None:
    stream = stream_of()
    publisher = publish(stream)
    video = publisher.add_track(VIDEO, 90_000, Number())
    audio = publisher.add_track(AUDIO, 48_000, Number())
    stream.request_key_frame()
    stream.bitrate_hint(video, 1)
    asked: list[Any] = []
    publisher.on_key_frame_request = asked.append
    publisher.on_bitrate_hint = lambda track, bits: asked.append((track, bits))
    for _ in range(100):
        stream.request_key_frame()
        stream.request_key_frame(video)
        stream.request_key_frame(audio)
    stream.bitrate_hint(video, 500_000)
    assert asked == [video, (video, 500_000)], "at most one a second, and never for sound"
    publisher.close()
    stream.bitrate_hint(video, 1)
    assert len(asked) == 2


@pytest.mark.anyio
async def test_a_flush_that_fails_ends_its_session_and_not_the_flushes_of_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bad, good = Source(), Source()
    flushed: list[str] = []

    async def fail(*, rest: bool = False, idle: bool = False) -> bool:
        raise ZeroDivisionError

    async def flush(*, rest: bool = False, idle: bool = False) -> bool:
        flushed.append("good")
        return False

    monkeypatch.setattr(bad.stream, "flush", fail)
    monkeypatch.setattr(good.stream, "flush", flush)
    await flush_all([bad.publisher, good.publisher])
    assert flushed == ["good"]
    assert bad.publisher.session.reason == "internal error"
    assert not good.publisher.session.reason
