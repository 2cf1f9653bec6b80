"""A publisher whose frames nobody reads as they come is read less often."""

from __future__ import annotations

import time

import anyio
import pytest

from penstock.stream import Stream, StreamOptions
from tests.kernel.segmenting import Lines, bounds, store_of, stream_with
from tests.kernel.stage import ms, stream_of
from tests.kernel.test_segments import Live

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("logs")]

REST = 0.05
"""Seconds: half of the parts of `PART`."""
PART = ms(100)


async def slept(live: Live) -> float:
    """How long the publisher rests after a read; 0 where it says that it does not."""
    began = time.monotonic()
    rested = await live.publisher.flush(rest=True, idle=True)
    passed = time.monotonic() - began
    assert rested == (passed > 0.001)
    return passed if rested else 0.0


async def test_it_rests_while_segments_have_the_time() -> None:
    stream = stream_with(part=PART)
    live = Live(stream)
    live.write(30)
    assert await slept(live) >= REST
    store_of(stream)
    assert await slept(live) >= REST
    assert await live.publisher.flush() is False
    assert await live.publisher.flush(rest=True) is False


async def test_not_where_somebody_waits_for_a_part() -> None:
    stream = stream_with(part=PART)
    live = Live(stream)
    store = store_of(stream)
    live.write(30)
    rendition = store.renditions["v1"]
    take_back = rendition.when((rendition.position[0] + 9, 1), lambda: None)
    assert await slept(live) == 0
    take_back()
    assert await slept(live) >= REST
    # Who writes them to disk waits for whole ones, and may have to a little longer.
    rendition.when((rendition.position[0] + 9, 0), lambda: None)
    assert await slept(live) >= REST
    # Where there are no parts, it is a segment that is waited for.
    whole = stream.segments(Lines("whole", parts=False)).renditions["v1"]
    whole.when((whole.position[0] + 9, 0), lambda: None)
    assert await slept(live) >= REST


async def test_not_where_frames_are_read_as_they_come() -> None:
    stream = stream_with(part=PART)
    live = Live(stream)
    live.write(3)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read, stream)
        await anyio.wait_all_tasks_blocked()
        assert await slept(live) == 0
        tasks.cancel_scope.cancel()
    assert await slept(live) >= REST


async def test_who_comes_to_read_ends_the_rest() -> None:
    stream = stream_with(part=ms(60_000))
    live = Live(stream)
    live.write(3)
    async with anyio.create_task_group() as tasks:
        for _ in range(2):
            tasks.start_soon(read, stream, 0.01)
            assert 0.005 <= await slept(live) < REST
            await anyio.sleep(0.05)
            # And again, when that one has left.
        tasks.cancel_scope.cancel()


async def test_who_waits_for_a_tracks_first_frame_is_told_at_once() -> None:
    stream = stream_with(part=ms(60_000))
    live = Live(stream)
    live.write(3, audio=False)
    told: list[bool] = []

    async def wait() -> None:
        await anyio.sleep(0.01)
        await live.publisher.begun([live.video, live.audio])
        told.append(live.publisher.closed)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        assert 0.005 <= await slept(live) < REST
        assert await slept(live) == 0, "what it waits for may be there already"
        assert not told
        live.write(1)
        await anyio.wait_all_tasks_blocked()
        assert told == [False]
    assert await slept(live) >= REST
    await live.publisher.begun([live.audio])


async def test_who_waits_for_a_publisher_that_leaves_waits_no_more() -> None:
    live = Live(stream_with(part=PART))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(live.publisher.begun, [live.video])
        await anyio.wait_all_tasks_blocked()
        live.publisher.close()


async def read(stream: Stream, after: float = 0) -> None:
    """Read frames, for a moment where it is `after` another."""
    await anyio.sleep(after)
    with anyio.move_on_after(0.02 if after else 60):
        async for _ in stream.read():
            pass


async def test_not_where_every_frame_is_to_go_at_once_nor_before_it_is_ready() -> None:
    live = Live(stream_of(StreamOptions(window=0, segments=bounds(part=PART))))
    live.write(3)
    assert await slept(live) == 0
    unready = stream_of(StreamOptions(segments=bounds(part=PART)))
    assert not unready.is_ready
    assert await unready.flush(rest=True, idle=True) is False
