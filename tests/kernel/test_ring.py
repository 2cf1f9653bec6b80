"""The ring of a feed against a list that keeps everything: what it has, what it lets go of, and its three bounds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from penstock.media import NS, Track
from penstock.ring import Bounds, Ring, Unit
from tests.kernel.stage import VIDEO

TRACK = Track(1, VIDEO, 90_000)
UNITS = st.tuples(st.integers(0, 5000), st.integers(0, 3 * NS), st.booleans())
"""Bytes, ns since the one before, key."""


def unit(size: int, time: int, key: bool) -> Unit:
    half = size // 2
    return Unit(TRACK, (bytes(half), bytes(size - half)), time, key=key)


@given(
    st.builds(Bounds, st.integers(1, 20), st.integers(1, 20_000), st.floats(0.1, 10)),
    st.integers(0, 8 * NS),
    st.lists(UNITS, max_size=100),
)
def test_against_a_list(bounds: Bounds, history: int, given_units: list[tuple[int, int, bool]]) -> None:
    ring = Ring(bounds, history)
    everything: list[Unit] = []
    time = NS
    for size, step, key in given_units:
        time += step
        everything.append(unit(size, time, key))
        ring.append(everything[-1])
        kept = everything[ring.start :]
        # What it has is the end of what it was given, under the same numbers for ever.
        assert ring.end == len(everything)
        assert [ring[n] for n in range(ring.start, ring.end)] == kept
        assert ring.bytes == sum(u.size for u in kept)
        # The three bounds hold, but for a single unit that is larger than any.
        assert len(kept) == 1 or (
            len(kept) <= bounds.frames
            and ring.bytes <= bounds.bytes
            and kept[-1].time - kept[0].time <= bounds.seconds * NS
        )
        keys = [n for n in range(ring.start, ring.end) if everything[n].key]
        assert ring.last_key == (keys[-1] if keys else None)
        for index in range(ring.start, ring.end + 1):
            assert ring.next_key(index) == next((k for k in keys if k >= index), None)
        # Nothing older than the history is kept, unless the last key unit needs it.
        floor = ring.last_key if ring.last_key is not None else ring.end - 1
        assert ring.start == floor or kept[0].time >= time - history or ring.start == ring.end - 1


@given(st.lists(UNITS, min_size=1, max_size=200), st.data())
def test_slices(given_units: list[tuple[int, int, bool]], data: st.DataObject) -> None:
    """Near the end and far from it, which are looked up in two ways."""
    ring = Ring(Bounds(seconds=1e9), 1 << 62)
    for n, (size, _, key) in enumerate(given_units):
        ring.append(unit(size, n, key))
    first = data.draw(st.integers(ring.start, ring.end))
    last = data.draw(st.integers(first, ring.end))
    for end in (last, ring.end):
        assert ring.slice(first, end) == [ring[n] for n in range(first, end)]


def test_everything_from_the_last_key_unit_on_is_kept_while_it_fits() -> None:
    ring = Ring(Bounds(frames=100), 2 * NS)
    for n in range(90):
        ring.append(unit(10, n * NS // 10, n in (0, 30)))
    # The history is 2 s, the key unit 6 s old.
    assert (ring.start, ring.end, ring.last_key) == (30, 90, 30)
    for n in range(90, 140):
        ring.append(unit(10, n * NS // 10, False))
    assert (ring.start, ring.last_key) == (139 - 20, None), (
        "its group is beyond the bound: history is all that is left"
    )


def test_clear_keeps_the_numbers() -> None:
    ring = Ring(Bounds(), NS)
    for n in range(5):
        ring.append(unit(10, n, n == 0))
    ring.clear()
    assert (ring.start, ring.end, ring.bytes, ring.last_key) == (5, 5, 0, None)
    ring.append(unit(3, 6, True))
    assert (ring.start, ring.end, ring.bytes, ring.last_key) == (5, 6, 3, 5)


def test_a_unit_is_of_its_track_unless_it_is_config_or_control() -> None:
    assert Unit(TRACK, (b"x",), 0).of == 1
    assert Unit(TRACK, (b"x",), 0, channel=1).of is None
    assert Unit(TRACK, (b"x",), 0, config=True).of is None
    assert Unit(None, (b"xy", b"z"), 0).of is None
    assert Unit(None, (b"xy", b"z"), 0).size == 3
