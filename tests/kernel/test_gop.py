"""The GOP cache: a picture at once for who joins, per track, within its three bounds."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from penstock.gop import GopCache
from penstock.media import NS, Frame, Kind, Track
from penstock.ring import Bounds
from penstock.segment import SegmentBounds
from tests.kernel.stage import AUDIO, DATA, VIDEO

PICTURE = NS // 25
ONE, TWO = (Track(n, VIDEO, 90_000) for n in (1, 2))
SOUND, WORDS = Track(3, AUDIO, 48_000), Track(4, DATA, 1000)


def frame(track: Track, dts: int, *, key: bool = True, size: int = 10) -> Frame:
    return Frame(track, dts, dts, (bytes(size // 2), bytes(size - size // 2)), key)


def cache_of(
    bounds: Bounds | None = None, *, wanted: Callable[[], bool] = lambda: True, **segments: int
) -> GopCache:
    return GopCache(bounds or Bounds(), SegmentBounds(**segments), wanted)


def cached(cache: GopCache) -> list[tuple[int, int]]:
    return [(f.track.id, f.dts // PICTURE) for f in cache.frames]


def test_from_the_last_key_frame_on_with_its_sound() -> None:
    cache = cache_of()
    for n in range(25):
        cache.add(frame(ONE, n * PICTURE, key=n % 10 == 0))
        cache.add(frame(SOUND, n * PICTURE))
    assert cached(cache) == [(track, n) for n in range(20, 25) for track in (1, 3)]
    assert cache.bytes == 100
    cache.clear()
    assert (cache.frames, cache.replay, cache.bytes) == ((), (), 0)


def test_nothing_before_the_first_key_frame_and_nothing_without_pictures() -> None:
    cache = cache_of()
    for n in range(5):
        cache.add(frame(SOUND, n * PICTURE))
        cache.add(frame(WORDS, n * PICTURE))
        cache.add(frame(ONE, n * PICTURE, key=False))
    assert cached(cache) == []


def test_each_track_has_its_own_group_of_pictures() -> None:
    """Alternatives have key frames at times of their own: each can be joined from its newest one."""
    cache = cache_of()
    for n in range(30):
        cache.add(frame(ONE, n * PICTURE, key=n % 10 == 0))
        cache.add(frame(TWO, n * PICTURE, key=n % 10 == 5))
    assert [n for track, n in cached(cache) if track == 1] == list(range(20, 30))
    assert [n for track, n in cached(cache) if track == 2][-5:] == list(range(25, 30))
    assert cached(cache)[0] == (1, 20)


@given(
    st.builds(Bounds, st.integers(1, 30), st.integers(20, 600), st.floats(0.1, 3)),
    st.lists(
        st.tuples(
            st.sampled_from([ONE, TWO, SOUND, WORDS]), st.booleans(), st.integers(0, 60), st.integers(0, NS)
        ),
        max_size=150,
    ),
)
def test_bounds_and_order(bounds: Bounds, given_frames: list[tuple[Track, bool, int, int]]) -> None:
    cache = cache_of(bounds)
    everything: list[Frame] = []
    dts = 0
    for track, key, size, step in given_frames:
        dts += step
        everything.append(frame(track, dts, key=key or track.kind is not Kind.VIDEO, size=size))
        cache.add(everything[-1])
        kept = cache.frames
        assert len(kept) <= bounds.frames
        assert cache.bytes == sum(f.size for f in kept) <= bounds.bytes
        if not kept:
            continue
        assert kept[-1].dts - kept[0].dts <= bounds.seconds * NS
        # What is kept is in the order in which it came, and begins with a key frame of pictures.
        places = [everything.index(f) for f in kept]
        assert places == sorted(places)
        assert kept[0].key
        assert kept[0].track.kind is Kind.VIDEO
        # Of each track from its first picture here on there is every one, so that what follows a key frame can be decoded.
        for track_ in (ONE, TWO):
            pictures = [f for f in kept if f.track is track_]
            if pictures:
                assert pictures[0].key or track_ is not kept[0].track
                assert pictures == [f for f in everything[places[0] :] if f.track is track_][-len(pictures) :]


def test_the_newest_key_frame_survives_a_group_that_was_too_long() -> None:
    cache = cache_of(Bounds(frames=5))
    for n in range(7):
        cache.add(frame(ONE, n * PICTURE, key=n == 0))
    assert cached(cache) == [], "a part of a group is of no use"
    cache.add(frame(ONE, 7 * PICTURE))
    cache.add(frame(ONE, 8 * PICTURE, key=False))
    assert cached(cache) == [(1, 7), (1, 8)]


def test_three_segments_before_the_last_key_frame_are_kept_for_who_asks_for_segments() -> None:
    for gop, length in ((10, 50), (25, 50), (75, 75)):
        cache = cache_of(target=2 * NS)
        for n in range(12 * gop):
            cache.add(frame(ONE, n * PICTURE, key=n % gop == 0))
            cache.add(frame(SOUND, n * PICTURE))
            first = cache.replay[0]
            assert first.key
            assert first.track is ONE
            assert [f.dts for f in cache.replay[::2]] == [
                k * PICTURE for k in range(first.dts // PICTURE, n + 1)
            ]
            kept = n - first.dts // PICTURE
            assert kept >= min(n, 3 * length), "three are complete whenever somebody asks"
            assert kept < 3 * length + 2 * gop
            assert cache.frames == cache.replay[-len(cache.frames) :]
            assert len(cache.frames) <= 2 * gop


def test_of_sound_alone_three_segments_are_kept_until_there_are_pictures() -> None:
    cache = cache_of(target=2 * NS)
    for n in range(1000):
        cache.add(frame(SOUND, n * PICTURE))
        cache.add(frame(WORDS, n * PICTURE))
        kept = cache.replay
        assert {f.track for f in kept} == {SOUND}
        assert [f.dts for f in kept] == [k * PICTURE for k in range(n + 1 - len(kept), n + 1)]
        assert min(n + 1, 3 * 51) <= len(kept) <= 200
        assert cache.replay_start == kept[0].dts
    assert (cache.frames, cache.bytes) == ((), 0)
    cache.add(frame(ONE, 1000 * PICTURE))
    assert cache.replay == cache.frames


def test_sound_alone_is_bounded_whatever_its_times_are() -> None:
    for step in (0, 1, -NS, 2 * NS):
        cache = cache_of(Bounds(frames=60), target=2 * NS, replay=800)
        for n in range(500):
            cache.add(frame(SOUND, n * step, size=10 if n < 250 else 100))
            assert len(cache.replay) <= 60
            assert sum(f.size for f in cache.replay) <= 800


def test_nothing_is_kept_for_segments_while_nobody_may_ask_for_them() -> None:
    wanted = False
    cache = cache_of(wanted=lambda: wanted)
    for n in range(400):
        if n in (100, 300):
            wanted = not wanted
        cache.add(frame(ONE, n * PICTURE, key=n % 25 == 0))
        kept = len(cache.replay) - len(cache.frames)
        assert bool(kept) is wanted


def test_what_is_kept_for_segments_is_bounded() -> None:
    for cache, most in (
        (cache_of(target=2 * NS, replay=800), 80),
        (cache_of(target=2 * NS, replay=0), 0),
        (cache_of(Bounds(frames=60), target=2 * NS), 60),
    ):
        for n in range(300):
            cache.add(frame(ONE, n * PICTURE, key=n % 25 == 0))
            assert len(cache.replay) - len(cache.frames) <= most
        assert len(cache.replay) - len(cache.frames) == most // 25 * 25, "whole groups"
    cache = cache_of(Bounds(frames=60))
    for n in range(50 + 61):
        cache.add(frame(ONE, n * PICTURE, key=n % 25 == 0 and n <= 50))
    assert cache.replay == (), "nor is what came before a group that was too long"
