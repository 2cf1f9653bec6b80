"""Tracks put in step by reports or by arrival, on virtual time: senders as FFmpeg, GStreamer and cameras are."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest
from attrs import define
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.media import NS, to_ns, to_ticks
from penstock_formats.rtp.alignment import FAR_NS, STEP_NS, WAIT_NS, Alignment, TrackClock

MS = 1_000_000
VIDEO, AUDIO = 90_000, 48_000
START = 1_000 * NS
"""Arrival of what the sender took at its time 0."""
WALL = 1_800_000_000 * NS
"""The sender's wall clock at its time 0."""


ORDERS = {0: (1,), 1: (2, 1), 2: (4, 2, 1, 3)}
"""After the first frame, in which order each group is decoded: no B-frames, one, or three that refer to each other."""


@define
class Sender:
    """One track as its sender has it: `base` is the random RTP time of the sender's time 0."""

    clock: TrackClock
    base: int
    interval: int
    depth: int = 0
    declared: int = 0
    room: int = 0
    """By how many frames it shows later than it decodes, where that is more than its order needs."""

    def ticks(self, time: int) -> int:
        return self.base + to_ticks(time, self.clock.rate)

    def frames(self, count: int, begin: int = 0) -> Iterator[tuple[int, int]]:
        """(decoding time, presentation time) of `count` frames in decoding order, as x264 has them."""
        order = ORDERS[self.depth]
        for n in range(count):
            group, place = divmod(n - 1, len(order))
            shown = group * len(order) + order[place] if n else 0
            yield begin + n * self.interval, begin + (shown + (self.room or self.depth)) * self.interval

    def send(self, count: int, *, begin: int = 0, late: list[int] | None = None) -> None:
        """Frames arrive when they are to be decoded, each later by its part of `late`."""
        for n, (dts, pts) in enumerate(self.frames(count, begin)):
            delay = late[n % len(late)] if late else 0
            self.clock.frame(self.ticks(pts), START + dts + delay, self.declared)

    def report(self, time: int, *, wall: int = WALL) -> None:
        self.clock.reported(wall + time, self.ticks(time))

    def common(self, time: int) -> int:
        """Where the sender's `time` is on the clock of all tracks."""
        assert self.clock.shift is not None
        return to_ns(self.ticks(time) + self.clock.shift, self.clock.rate)


def _pair(depth: int = 0) -> tuple[Alignment, Sender, Sender]:
    alignment = Alignment()
    video = Sender(alignment.add(VIDEO), 0xFEDCBA98, NS // 25, depth, depth)
    audio = Sender(alignment.add(AUDIO), 12_345, 1024 * NS // 48_000)
    return alignment, video, audio


def _apart(video: Sender, audio: Sender, time: int = 5 * NS) -> int:
    return abs(video.common(time) - audio.common(time))


def test_a_report_with_the_first_packet_makes_nobody_wait() -> None:
    # FFmpeg sends each track's report with its first packet, and sound only when its first packet is full.
    alignment, video, audio = _pair(depth=2)
    video.report(0)
    video.send(1)
    assert not alignment.waits(START)
    alignment.place()
    assert video.clock.shift is not None
    assert audio.clock.shift is None
    audio.report(0)
    audio.send(1, begin=-300 * MS)
    assert not alignment.waits(START)
    alignment.place()
    assert _apart(video, audio) < MS // 10
    assert alignment.complete
    assert alignment.correct() == 0


@given(
    st.integers(0, 2),
    st.lists(st.integers(0, 150), min_size=1, max_size=8),
    st.lists(st.integers(0, 150), min_size=1, max_size=8),
    st.integers(-200, 200),
)
def test_without_reports_the_least_delayed_of_each_track_tells(
    depth: int, video_late: list[int], audio_late: list[int], begin: int
) -> None:
    alignment, video, audio = _pair(depth)
    # Within what waits, each track has a frame that nothing held up: jitter only ever adds.
    video.send(20, late=[ms * MS for ms in (*video_late, 0)])
    audio.send(20, begin=begin * MS, late=[ms * MS for ms in (*audio_late, 0)])
    alignment.place()
    assert _apart(video, audio) < MS // 10


@pytest.mark.parametrize("declared", [0, 2, 16])
def test_what_is_reordered_is_seen_whatever_the_config_says(declared: int) -> None:
    for depth in (0, 2):
        alignment, video, audio = _pair(depth)
        video.declared = declared
        video.send(20)
        audio.send(20)
        alignment.place()
        assert _apart(video, audio) < MS // 10


def test_a_config_tells_how_deep_where_the_first_frames_are_reordered_less() -> None:
    alignment, video, audio = _pair(depth=1)
    # x264 chose one B-frame at a time so far; it may take three, and its times leave room for that.
    video.declared = video.room = 2
    video.send(20)
    audio.send(20)
    alignment.place()
    assert _apart(video, audio) < MS // 10


def test_who_has_no_report_waits_a_moment_and_a_silent_track_is_not_waited_for() -> None:
    alignment, video, _ = _pair()
    assert not alignment.waits(START)
    video.send(3)
    assert alignment.waits(START + WAIT_NS - 1)
    assert not alignment.waits(START + WAIT_NS)
    alignment.place()
    assert video.common(0) == NS
    assert not alignment.waits(START)
    assert not alignment.complete


def test_a_single_track_never_waits() -> None:
    alignment = Alignment()
    only = Sender(alignment.add(VIDEO), 7, NS // 25)
    only.send(1)
    assert not alignment.waits(START)


def test_a_track_that_comes_late_is_placed_beside_the_others() -> None:
    alignment, video, audio = _pair()
    video.send(10)
    alignment.place()
    video.send(100, begin=10 * NS, late=[3 * MS, 0])
    audio.send(8, begin=12 * NS, late=[5 * MS, 0])
    alignment.place()
    assert _apart(video, audio) < MS // 10


def test_a_late_track_with_a_report_needs_one_of_the_others_too() -> None:
    alignment, video, audio = _pair()
    video.send(10)
    alignment.place()
    audio.report(12 * NS)
    audio.send(8, begin=12 * NS, late=[30 * MS])
    alignment.place()
    assert 29 * MS < _apart(video, audio) < 31 * MS
    before = video.common(0)
    for seconds in (13, 18):
        audio.report(seconds * NS)
        assert alignment.correct() == 0
        video.report(seconds * NS)
        if seconds == 13:
            assert alignment.correct() == 0, "what only one report says may be wrong"
    assert 29 * MS < alignment.correct() < 31 * MS
    assert _apart(video, audio) < MS // 10
    assert video.common(0) > before


@given(st.integers(-4000, 4000))
def test_two_reports_of_all_tracks_correct_arrival_and_move_forwards_only(away: int) -> None:
    alignment, video, audio = _pair()
    video.send(10)
    audio.send(10, late=[away * MS])
    alignment.place()
    before = video.common(NS), audio.common(NS)
    video.report(NS)
    assert alignment.correct() == 0
    audio.report(NS)
    assert alignment.correct() == 0
    video.report(2 * NS)
    assert alignment.correct() == 0
    audio.report(2 * NS)
    moved = alignment.correct()
    if abs(away) * MS < STEP_NS - MS:
        assert moved == 0
    elif abs(away) * MS > STEP_NS + MS:
        assert abs(moved - abs(away) * MS) < MS // 10
        assert _apart(video, audio) < MS // 10
    after = video.common(NS), audio.common(NS)
    assert all(b >= a for a, b in zip(before, after, strict=True))
    assert before[0] == after[0] or before[1] == after[1], "only one of them moves"


def test_a_sender_that_sets_its_clock_between_two_reports_moves_nothing() -> None:
    alignment, video, audio = _pair()
    for track in (video, audio):
        track.report(0)
        track.send(5)
    alignment.place()
    assert alignment.correct() == 0
    video.report(5 * NS, wall=WALL + NS)
    assert alignment.correct() == 0
    audio.report(5 * NS, wall=WALL + NS)
    assert alignment.correct() == 0
    assert _apart(video, audio) < MS // 10


@settings(max_examples=50)
@given(
    st.lists(st.integers(0, 130), min_size=4, max_size=20),
    st.lists(st.integers(0, 130), min_size=4, max_size=20),
    st.integers(0, 8),
    st.integers(0, 8),
)
def test_of_reports_that_are_late_the_least_late_is_believed(
    video_late: list[int], audio_late: list[int], video_good: int, audio_good: int
) -> None:
    """aiortc reports when its last frame went out, which may be long after it wanted that; two of its reports are not late."""
    alignment, video, audio = _pair()
    for reports, good in ((video_late, video_good), (audio_late, audio_good)):
        reports.insert(0 if good < 4 else len(reports), 0)
        reports.insert(good, 0)
    for track, late in ((video, video_late[0]), (audio, audio_late[0])):
        track.report(0, wall=WALL + late * MS)
        track.send(5)
    alignment.place()
    places = [(video.common(0), audio.common(0))]
    for n in range(1, max(len(video_late), len(audio_late))):
        for track, late in (
            (video, video_late[n % len(video_late)]),
            (audio, audio_late[n % len(audio_late)]),
        ):
            track.report(n * NS // 4, wall=WALL + late * MS)
            alignment.correct()
            places.append((video.common(0), audio.common(0)))
    for n in range(2):
        # Nothing new comes with these: what is known by now is held true.
        for track in (video, audio):
            track.report(6 * NS + n, wall=WALL + 130 * MS)
            alignment.correct()
    assert _apart(video, audio) <= STEP_NS
    assert all(b >= a for before, after in pairwise(places) for a, b in zip(before, after, strict=True))


def test_a_report_that_is_said_again_is_no_new_one_and_no_clock_set_back() -> None:
    """aiortc says when its last packet went out ten times a second, also while a track has nothing to send."""
    alignment, video, audio = _pair()
    for track in (video, audio):
        track.report(0)
        track.send(5)
    alignment.place()
    for track in (video, audio):
        track.report(NS)
    for _ in range(3):
        video.report(3 * NS, wall=WALL + 90 * MS)
        audio.report(3 * NS, wall=WALL + 50 * MS)
        assert alignment.correct() == 0
    assert _apart(video, audio) < MS // 10


def test_clocks_that_drift_apart_are_followed_in_steps_nobody_notices() -> None:
    alignment, video, audio = _pair()
    for track in (video, audio):
        track.report(0)
        track.send(5)
    alignment.place()
    places: list[int] = []
    # The sender's sound card runs 100 ppm fast: after half an hour its ticks are 180 ms ahead.
    for seconds in range(5, 1800, 5):
        ahead = seconds * NS // 10_000
        for track, drift in ((video, 0), (audio, ahead)):
            track.clock.reported(WALL + seconds * NS, track.ticks(seconds * NS + drift))
            alignment.correct()
        assert abs(video.common(seconds * NS) - audio.common(seconds * NS + ahead)) < STEP_NS + MS
        places.append(video.common(seconds * NS))
    assert all(0 < b - a < 5 * NS + 2 * STEP_NS for a, b in pairwise(places))


def test_reports_that_contradict_arrival_by_far_are_not_believed() -> None:
    alignment, video, audio = _pair()
    video.report(0)
    audio.report(0, wall=WALL + FAR_NS + NS)
    video.send(10)
    audio.send(10)
    alignment.place()
    assert _apart(video, audio) < MS // 10
    assert alignment.correct() == 0


def test_tracks_with_reports_are_exact_among_themselves_beside_one_without() -> None:
    alignment, video, audio = _pair()
    other = Sender(alignment.add(AUDIO), 99, 1024 * NS // 48_000)
    video.send(10)
    for track in (audio, other):
        track.report(0)
    audio.send(10)
    other.send(10, late=[120 * MS])
    alignment.place()
    assert _apart(audio, other) < MS // 10
    assert _apart(video, audio) < MS // 10


def test_a_new_numbering_is_placed_anew_among_the_others() -> None:
    alignment, video, audio = _pair()
    for track in (video, audio):
        track.report(0)
        track.send(5)
    alignment.place()
    audio.clock.restart()
    audio.base = 0xABCDEF01
    assert not alignment.complete
    audio.report(3 * NS)
    audio.send(1, begin=3 * NS)
    assert not alignment.waits(START + 3 * NS)
    alignment.place()
    assert _apart(video, audio) < MS // 10


@pytest.mark.parametrize("reported", [False, True])
@pytest.mark.parametrize("drifted", [-9 * NS, 180 * MS, 9 * NS])
def test_a_new_numbering_is_placed_by_how_the_others_arrive_by_then(drifted: int, reported: bool) -> None:
    """A camera's clock is some seconds off after two days, and what it sends comes so much later or earlier."""
    alignment, video, audio = _pair()
    for track in (video, audio):
        track.send(20)
    alignment.place()
    alignment.restart(audio.clock)
    audio.base = 0xABCDEF01
    later = 172_800 * NS
    if reported:
        for track in (video, audio):
            track.report(later, wall=WALL + drifted)
    for track in (video, audio):
        track.send(10, begin=later, late=[drifted])
    alignment.place()
    assert _apart(video, audio, later) < MS // 10


def test_how_a_paused_track_arrived_last_counts_where_another_has_a_new_numbering() -> None:
    alignment, video, audio = _pair()
    # A first frame is large, and later than others.
    video.send(10, late=[300 * MS, *[0] * 9])
    audio.send(20)
    alignment.place()
    alignment.restart(audio.clock)
    audio.base = 0xABCDEF01
    audio.send(20, begin=5 * NS)
    alignment.place()
    assert _apart(video, audio) < MS // 10


def test_a_numbering_that_changes_while_it_waits_waits_no_longer_for_that() -> None:
    alignment, video, _ = _pair()
    video.send(1)
    video.clock.restart()
    video.send(1, begin=NS // 10)
    assert not alignment.waits(START + WAIT_NS)


@pytest.mark.parametrize("behind", [0, 1000])
def test_reports_that_run_away_from_the_wall_clock_are_no_reports(behind: int) -> None:
    """webrtcbin's (GStreamer 1.22) add how long it has run to the time of the last packet, which may be any of a burst."""
    alignment, video, audio = _pair()

    def report(now: int, held: int = 0) -> None:
        for track in (video, audio):
            last = now // track.interval * track.interval - (held if track is video else 0)
            track.clock.reported(WALL + now, track.ticks(last + now))

    video.send(18)
    audio.send(34)
    report(719 * MS, behind * MS)
    alignment.place()
    assert alignment.correct() == 0
    before = video.common(0), audio.common(0)
    wrong = _apart(video, audio)
    assert 20 * MS < abs(wrong - behind * MS) < 25 * MS
    assert alignment.watches
    video.send(25, begin=720 * MS)
    report(1219 * MS)
    assert abs(alignment.correct() - wrong) < MS // 10
    assert _apart(video, audio) < MS // 10
    assert not alignment.watches
    # Nothing moves any more, and another track is put where it arrives.
    report(5119 * MS)
    assert alignment.correct() == 0
    other = Sender(alignment.add(AUDIO), 99, 1024 * NS // 48_000)
    other.report(6 * NS, wall=WALL + 3 * NS)
    other.send(10)
    alignment.place()
    assert _apart(audio, other) < MS // 10
    moved = sorted((video.common(0) - before[0], audio.common(0) - before[1]))
    assert moved[0] == 0
    assert abs(moved[1] - wrong) < MS // 10


def test_a_clock_that_is_set_back_does_not_take_from_reports_what_was_confirmed() -> None:
    """A camera hears of the time: to its reports of each 5 s that looks as if RTP time had run away."""
    alignment, video, audio = _pair()
    video.send(20, late=[150 * MS])
    audio.send(20)
    alignment.place()
    moved: list[int] = []
    for second in range(0, 60, 5):
        for track in (video, audio):
            track.report(second * NS, wall=WALL - (4 * NS if second > 20 else 0))
            moved.append(alignment.correct())
    assert [ns for ns in moved if ns] == [pytest.approx(150 * MS, abs=MS // 10)]
    assert _apart(video, audio) < MS // 10


def test_arrivals_are_watched_until_reports_are_confirmed() -> None:
    alignment, video, audio = _pair()
    assert alignment.watches
    for track in (video, audio):
        track.report(0)
        track.send(5)
    alignment.place()
    assert alignment.watches
    for track in (video, audio):
        track.report(NS)
        alignment.correct()
    assert not alignment.watches
    alignment, video, audio = _pair()
    for track in (video, audio):
        track.send(5)
    alignment.place()
    assert not alignment.watches
