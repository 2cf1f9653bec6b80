"""A publisher whose frames nobody reads as they come is read less often."""

from __future__ import annotations

import time

import anyio
import pytest

from penstock.stream import StreamOptions
from tests.kernel.segmenting import bounds, store_of, stream_with
from tests.kernel.stage import ms, stream_of
from tests.kernel.test_segments import Live

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("logs")]

REST = 0.05
"""Seconds: half of the parts of `PART`."""
PART = ms(100)


async def slept(live: Live) -> float:
    """How long the publisher rests after a read; 0 where it says that it does not."""
    began = time.monotonic()
    rested = await live.publisher.flush(rest=True)
    passed = time.monotonic() - began
    assert rested == (passed > 0.01)
    return passed if rested else 0.0


async def test_it_rests_while_segments_have_the_time() -> None:
    stream = stream_with(part=PART)
    live = Live(stream)
    live.write(30)
    assert await slept(live) >= REST
    store_of(stream)
    assert await slept(live) >= REST
    assert await live.publisher.flush() is False
    assert await live.publisher.flush(rest=True, idle=False) is False


async def test_no_longer_than_a_picture_where_somebody_waits_for_a_part() -> None:
    stream = stream_with(part=PART)
    live = Live(stream)
    store = store_of(stream)
    live.write(30)
    stream.frame_interval = ms(20)
    rendition = store.renditions["v1"]
    take_back = rendition.when((rendition.position[0] + 9, 0), lambda: None)
    assert 0.02 <= await slept(live) < REST
    take_back()
    assert await slept(live) >= REST


async def test_not_where_frames_are_read_as_they_come() -> None:
    stream = stream_with(part=PART)
    live = Live(stream)
    live.write(3)
    async with anyio.create_task_group() as tasks:

        async def read() -> None:
            async for _ in stream.read():
                pass

        tasks.start_soon(read)
        await anyio.wait_all_tasks_blocked()
        assert await slept(live) == 0
        tasks.cancel_scope.cancel()
    assert await slept(live) >= REST


async def test_not_where_every_frame_is_to_go_at_once_nor_before_it_is_ready() -> None:
    live = Live(stream_of(StreamOptions(window=0, segments=bounds(part=PART))))
    live.write(3)
    assert await slept(live) == 0
    unready = stream_of(StreamOptions(segments=bounds(part=PART)))
    assert not unready.is_ready
    assert await unready.flush(rest=True) is False
