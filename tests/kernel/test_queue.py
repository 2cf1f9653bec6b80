"""The bounded queue of a reader of frames: what is missed, what never is, and where it goes on."""

from __future__ import annotations

from itertools import pairwise

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.media import NS, Epoch, Event, Frame, Kind, Track, TrackAdded, TrackChanged, TrackRemoved
from penstock.queue import FrameQueue
from tests.kernel.stage import AUDIO, VIDEO, events

PICTURES, SOUND = Track(1, VIDEO, 90_000), Track(2, AUDIO, 48_000)


def picture(number: int, *, key: bool = False) -> Frame:
    return Frame(PICTURES, number * NS, number * NS, (b"p",), key)


def sound(number: int) -> Frame:
    return Frame(SOUND, number * NS, number * NS, (b"s",))


def numbers(got: list[Event]) -> list[int]:
    return [e.dts // NS for e in got if isinstance(e, Frame)]


def test_over_its_bound_it_goes_on_at_the_next_key_frame() -> None:
    queue = FrameQueue(3)
    for n in range(10):
        queue.put(picture(n, key=n % 4 == 0))
    assert queue.skipped == 7
    assert numbers(events(queue)) == [0, 1, 2]
    for n in range(10, 15):
        queue.put(picture(n, key=n % 4 == 0))
    assert queue.skipped == 9
    assert numbers(events(queue)) == [12, 13, 14]


def test_sound_is_no_place_to_go_on_where_there_are_pictures() -> None:
    queue = FrameQueue(2)
    for n in range(3):
        queue.put(picture(n, key=n == 0))
    events(queue)
    queue.put(sound(3))
    queue.put(picture(4))
    assert len(queue) == 0
    queue.put(picture(5, key=True))
    queue.put(sound(6))
    assert numbers(events(queue)) == [5, 6]


def test_sound_alone_goes_on_anywhere() -> None:
    queue = FrameQueue(2)
    for n in range(5):
        queue.put(sound(n))
    assert (queue.skipped, numbers(events(queue))) == (3, [0, 1])
    queue.put(sound(5))
    assert numbers(events(queue)) == [5]


def test_without_its_pictures_sound_goes_on_anywhere() -> None:
    queue = FrameQueue(2, [picture(0, key=True)])
    for n in range(1, 5):
        queue.put(sound(n))
    queue.put(TrackRemoved(PICTURES))
    events(queue)
    queue.put(sound(5))
    assert numbers(events(queue)) == [5]


def test_what_is_there_already_comes_on_top_of_the_bound() -> None:
    queue = FrameQueue(2, [picture(n, key=n == 0) for n in range(100)])
    queue.put(picture(100))
    queue.put(picture(101))
    queue.put(picture(102))
    assert numbers(events(queue)) == list(range(102))
    assert queue.skipped == 1


CHANGES: dict[str, type[TrackChanged] | type[TrackAdded] | type[TrackRemoved]] = {
    "change": TrackChanged,
    "added": TrackAdded,
    "removed": TrackRemoved,
}


def changes(count: int, track: Track) -> list[Event]:
    return [
        TrackChanged(Track(track.id, track.codec, track.clock_rate, language=str(n))) for n in range(count)
    ]


def test_of_what_changes_all_the_time_the_last_is_kept() -> None:
    queue = FrameQueue(4)
    queue.put(TrackAdded(PICTURES))
    queue.put(picture(0, key=True))
    for change in changes(1000, PICTURES):
        queue.put(change)
        queue.put(Epoch(1))
        queue.put(picture(1))
    got = events(queue)
    assert len(got) <= 8
    last = [e for e in got if isinstance(e, TrackChanged)][-1]
    assert last.track.language == "999"


@given(
    st.integers(1, 8),
    st.lists(
        st.sampled_from(["key", "picture", "sound", "change", "epoch", "added", "removed", "read"]),
        max_size=200,
    ),
)
def test_whatever_comes(most: int, what: list[str]) -> None:
    """Bounded, in order, nothing twice, and pictures only behind a key frame that was not missed."""
    queue = FrameQueue(most)
    got: list[Event] = []
    put = 0
    for n, kind in enumerate(what):
        if kind == "read":
            got += events(queue)
            continue
        event: Event
        if kind in ("key", "picture"):
            event = picture(n, key=kind == "key")
            put += 1
        elif kind == "sound":
            event = sound(n)
            put += 1
        elif kind == "epoch":
            event = Epoch(n)
        else:
            event = CHANGES[kind](PICTURES)
        queue.put(event)
        # Frames are bounded; of the other kinds of event at most one each more.
        assert len(queue) <= most + 4
    got += events(queue)
    found = numbers(got)
    assert found == sorted(set(found))
    assert len(found) + queue.skipped == put
    # A picture that is no key frame follows the one before it: nothing between them is missing.
    shown = [e.dts // NS for e in got if isinstance(e, Frame) and e.track.kind is Kind.VIDEO]
    all_pictures = [n for n, kind in enumerate(what) if kind in ("key", "picture")]
    for before, now in pairwise(shown):
        if what[now] == "picture":
            assert all_pictures.index(now) == all_pictures.index(before) + 1


@pytest.mark.anyio
async def test_who_waits_is_woken_and_told_of_the_end() -> None:
    queue = FrameQueue(4)
    got: list[Event | None] = []

    async def read() -> None:
        while (event := await queue.get()) is not None:
            got.append(event)
        got.append(None)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        await anyio.wait_all_tasks_blocked()
        queue.put(Epoch(1))
        queue.put(Epoch(2))
        await anyio.wait_all_tasks_blocked()
        assert got == [Epoch(1), Epoch(2)]
        queue.put(Epoch(3))
        queue.end()
    assert got == [Epoch(1), Epoch(2), Epoch(3), None]
    assert await queue.get() is None
