"""Time: counters that wrap, sample grids, derived decoding times and the wall clock, at their boundaries and at random."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.clock import (
    MAX_ERROR_NS,
    MAX_REORDER,
    MAX_SLEW,
    OBSERVED,
    SNAP_TOLERANCE_NS,
    WARY_FRAMES,
    DecodingTimes,
    FrameInterval,
    SampleGrid,
    StreamClock,
    Unwrapper,
)
from penstock.media import NS, to_ns, to_ticks

RATES = [
    1,
    1000,
    8000,
    11_025,
    22_050,
    24_000,
    44_100,
    48_000,
    90_000,
    96_000,
    192_000,
    10_000_000,
    499_999_999,
]
PICTURE = NS // 25


@given(st.sampled_from(RATES), st.integers(-(1 << 70), 1 << 70))
def test_ticks_come_back_exactly(rate: int, ticks: int) -> None:
    assert to_ticks(to_ns(ticks, rate), rate) == ticks


@given(st.sampled_from(RATES), st.integers(-(1 << 40), 1 << 40), st.integers(-(1 << 20), 1 << 20))
def test_whole_seconds_are_whole_ticks(rate: int, ticks: int, seconds: int) -> None:
    """So that times may be moved by them, whatever the wire's clock."""
    assert to_ticks(to_ns(ticks, rate) + seconds * NS, rate) == ticks + seconds * rate


@given(st.integers(1, 64), st.integers(0, 1 << 64), st.lists(st.floats(-1, 1), max_size=100))
def test_a_counter_goes_on_over_every_wrap(bits: int, start: int, steps: list[float]) -> None:
    """Whatever the steps, forward and back, as long as each is below half of the counter's range."""
    mask, half = (1 << bits) - 1, 1 << (bits - 1)
    unwrapper = Unwrapper(bits)
    true = start & mask
    assert unwrapper.unwrap(true) == true
    for step in steps:
        true += max(-half, min(half - 1, int(step * half)))
        assert unwrapper.unwrap(true & mask) == true


@pytest.mark.parametrize("bits", [16, 32, 33])
def test_a_counter_at_its_boundaries(bits: int) -> None:
    top, half = (1 << bits) - 1, 1 << (bits - 1)
    assert [Unwrapper(bits).unwrap(n) for n in (0, top)] == [0, top]
    unwrapper = Unwrapper(bits)
    assert [unwrapper.unwrap(n) for n in (top, 0, top, 1)] == [top, top + 1, top, top + 2]
    assert Unwrapper(bits).unwrap(top) == top
    for step, expected in ((half - 1, half - 1), (half, -half), (half + 1, -half + 1)):
        unwrapper = Unwrapper(bits)
        unwrapper.unwrap(0)
        assert unwrapper.unwrap(step) == expected


@pytest.mark.parametrize(
    ("rate", "samples"), [(44_100, 1024), (48_000, 960), (22_050, 1152), (8000, 160), (48_000, 1)]
)
def test_sound_stays_on_its_grid_for_hours(rate: int, samples: int) -> None:
    """RTMP's clock is 1 ms: rounded times become steps of exactly one frame, without drift."""
    grid = SampleGrid(rate)
    count = min(3 * 3600 * rate // samples, 100_000)
    found = [grid.snap(round(n * samples * 1000 / rate) * 1_000_000, samples) for n in range(count)]
    ticks = [to_ticks(t, rate) for t in found]
    assert {b - a for a, b in pairwise(ticks)} == {samples}


@given(
    st.sampled_from([8000, 44_100, 48_000]), st.lists(st.integers(-10 * NS, 10 * NS), min_size=1, max_size=50)
)
def test_a_grid_is_left_where_sound_is_really_elsewhere(rate: int, times: list[int]) -> None:
    """What comes out is never further from what was claimed than the tolerance, and always on a tick."""
    grid = SampleGrid(rate)
    for time in times:
        found = grid.snap(time, 1024)
        assert abs(found - time) <= SNAP_TOLERANCE_NS
        assert to_ns(to_ticks(found, rate), rate) == found


def reordered(count: int, depth: int, seed: int) -> list[int]:
    """Numbers of pictures in decoding order, of which none is output more than `depth` pictures after its turn."""
    choose = random.Random(seed)
    return [n for _, n in sorted((n + choose.randint(0, depth) + n / (count + 1), n) for n in range(count))]


@given(
    st.integers(0, MAX_REORDER), st.integers(1, 60), st.integers(0, 1 << 32), st.integers(-(1 << 62), 1 << 62)
)
def test_derived_decoding_times(depth: int, count: int, seed: int, start: int) -> None:
    """Strictly increasing, never above pts, and no earlier than reordering needs."""
    times = DecodingTimes(depth)
    last = None
    for number in reordered(count, depth, seed):
        pts = start + number * PICTURE
        dts = times.dts(pts, PICTURE)
        assert dts <= pts
        assert last is None or dts > last
        assert pts - dts <= (2 * depth + 1) * PICTURE
        last = dts
    assert times.depth == depth, "a stream that keeps its word is believed"


@given(st.integers(0, 3), st.lists(st.integers(-(1 << 40), 1 << 40), max_size=100))
def test_decoding_times_of_a_stream_that_lies(depth: int, pts: list[int]) -> None:
    """They go up all the same, and what is remembered stays bounded."""
    times = DecodingTimes(depth)
    last = None
    for time in pts:
        dts = times.dts(time, PICTURE)
        assert last is None or dts > last
        last = dts
        assert times.depth <= MAX_REORDER
        assert len(times._pending) <= MAX_REORDER + 1  # pyright: ignore[reportPrivateUsage]


def test_a_stream_that_reorders_more_than_it_said_is_believed_from_then_on() -> None:
    times = DecodingTimes(0)
    order = [0, 3, 1, 2, 6, 4, 5, 9, 7, 8, 12, 10, 11]
    found = [(n, times.dts(n * PICTURE, PICTURE)) for n in order]
    assert times.depth > 0
    assert all(dts <= n * PICTURE for n, dts in found[7:])


@pytest.mark.parametrize("depth", [0, 1, 2, 3])
def test_a_config_that_says_the_most_is_believed_until_the_stream_has_shown_itself(depth: int) -> None:
    times = DecodingTimes(MAX_REORDER)
    found = [(n, times.dts(n * PICTURE, PICTURE)) for n in reordered(4 * OBSERVED, depth, 7)]
    late = [n - dts // PICTURE for n, dts in found]
    assert max(late[:OBSERVED]) > 10
    assert max(late[OBSERVED:]) <= 2 * depth + 1
    assert all(one[1] < two[1] for one, two in pairwise(found))
    assert all(dts <= n * PICTURE for n, dts in found)
    # The same config again, such as with another picture parameter set, says nothing new.
    before = times.depth
    times.declare(MAX_REORDER)
    assert times.depth == before <= depth


def test_a_deeper_config_counts() -> None:
    times = DecodingTimes(2)
    times.declare(1)
    assert times.depth == 2
    times.declare(3)
    assert times.depth == 3


def test_wall_time_follows_arrivals_with_the_drift_of_real_clocks() -> None:
    clock = StreamClock()
    assert clock.wall(5) == 0
    wall = 1_700_000_000 * NS
    clock.arrival(NS, wall)
    assert clock.wall(NS) == wall
    assert clock.wall(3 * NS) == wall + 2 * NS
    # A frame that is a second late moves the clock by 50 ppm of the time that passed, and no more.
    clock.arrival(2 * NS, wall + 2 * NS)
    assert clock.wall(2 * NS) == wall + NS + NS // MAX_SLEW
    # One out of order moves nothing.
    before = clock.wall(0)
    clock.arrival(NS, wall)
    assert clock.wall(0) == before
    # A source that runs 40 ppm fast is followed to within a frame.
    for n in range(1, 100_000):
        clock.arrival(2 * NS + n * PICTURE, wall + NS + n * PICTURE + n * PICTURE // 25_000)
    end = 2 * NS + 99_999 * PICTURE
    assert abs(clock.wall(end) - (wall + NS + 99_999 * PICTURE * 25_001 // 25_000)) < PICTURE


def test_the_first_frames_come_late_or_the_others_before_their_time() -> None:
    """What FFmpeg 9 sends by `-re`: half a second at once, and then at its pace. None was made after it came."""
    clock = StreamClock()
    for n in range(100):
        clock.arrival(NS + n * PICTURE, 100 * NS + max(0, n * PICTURE - NS // 2))
    assert clock.wall(NS) == 100 * NS - NS // 2
    # Sender reports stay on their line.
    assert abs(clock.steady(NS) - 100 * NS) < 1_000_000
    # Later on that is drift, or a player of a file that runs fast.
    clock.arrival(8 * NS, 105 * NS)
    assert abs(clock.wall(NS) - (100 * NS - NS // 2)) < 1_000_000


@pytest.mark.parametrize("seconds", [0.5, 6, 18], ids="{} s".format)
def test_a_burst_puts_no_date_ahead_however_long_it_is(seconds: float) -> None:
    """FFmpeg that restreams HLS without -re sends some segments at once, and then at the pace in which others come."""
    clock, wall = StreamClock(), 100 * NS
    for n in range(1000):
        clock.arrival(NS + n * PICTURE, wall + max(0, n * PICTURE - int(seconds * NS)))
    assert abs(clock.wall(NS) - (wall - int(seconds * NS))) < 1_000_000


@pytest.mark.parametrize("seconds", [3, 6, 8, 10], ids="{} s".format)
def test_what_comes_behind_a_stall_puts_no_date_ahead(seconds: int) -> None:
    """TCP stands still, and then brings all that was sent meanwhile."""
    clock, wall, held = StreamClock(), 100 * NS, range(20 * NS, (20 + seconds) * NS)
    for n in range(1500):
        sent = n * PICTURE
        clock.arrival(NS + sent, wall + (held.stop if sent in held else sent))
    assert abs(clock.wall(NS) - wall) < 1_000_000


def test_a_wall_clock_that_was_set_is_believed_at_once() -> None:
    clock = StreamClock()
    clock.arrival(0, NS)
    clock.arrival(NS, 2 * NS + MAX_ERROR_NS + 1)
    assert clock.wall(NS) == 2 * NS + MAX_ERROR_NS + 1


def test_reports_go_on_through_every_leap() -> None:
    """A publisher that stands still for 6 s and catches up, and another one after it, whose first frame is late."""
    clock = StreamClock()
    assert clock.steady(5) == 0
    clock.arrival(0, 100 * NS)
    clock.arrival(NS, 107 * NS)
    assert (clock.wall(NS), clock.steady(NS)) == (107 * NS, 101 * NS)
    clock.arrival(8 * NS, 108 * NS)
    assert clock.wall(8 * NS) == clock.steady(8 * NS) == 108 * NS
    clock.reset()
    assert clock.wall(9 * NS) == clock.steady(9 * NS) == 109 * NS
    clock.arrival(9 * NS, 110 * NS)
    assert (clock.wall(9 * NS), clock.steady(9 * NS)) == (110 * NS, 109 * NS)
    # Drift is followed by both.
    clock.arrival(10 * NS, 112 * NS)
    assert clock.steady(10 * NS) == 110 * NS + NS // MAX_SLEW
    assert clock.wall(10 * NS) == 111 * NS + NS // MAX_SLEW


def test_a_new_publisher_has_a_clock_of_its_own() -> None:
    clock = StreamClock()
    clock.arrival(0, 10 * NS)
    clock.reset()
    assert clock.wall(NS) == 11 * NS
    clock.arrival(NS, 11 * NS + NS // 2)
    assert clock.wall(NS) == 11 * NS + NS // 2


def test_the_interval_of_frames() -> None:
    interval = FrameInterval()
    assert interval.value == NS // 25
    for n in range(20):
        interval.add(n * NS // 30)
    assert interval.value == pytest.approx(NS // 30, abs=2)
    before = interval.value
    interval.add(100 * NS)  # a gap says nothing
    interval.add(99 * NS)  # nor does a step back
    assert interval.value == before
    interval.add(99 * NS + NS // 2)  # one odd step among many neither
    assert interval.value == pytest.approx(NS // 30, abs=NS // 300)


def test_an_interval_tells_nothing_of_the_next_frame_for_a_while_after_one_was_late() -> None:
    interval = FrameInterval()
    # A first guess that was wrong is no late frame, nor are ticks of a coarse clock.
    times = iter([100 * n + n % 2 for n in range(WARY_FRAMES + 100)])
    for _ in range(20):
        interval.add(next(times) * NS // 1000)
        assert interval.even
    next(times)
    for _ in range(WARY_FRAMES):
        interval.add(next(times) * NS // 1000)
        assert not interval.even
    interval.add(next(times) * NS // 1000)
    assert interval.even


@given(st.lists(st.integers(0, 1 << 50), max_size=100))
def test_an_interval_stays_between_nothing_and_a_second(times: list[int]) -> None:
    interval = FrameInterval()
    for time in times:
        interval.add(time)
        assert 0 < interval.value < NS
