"""Waiting for segments and parts: who is let go when, in batches, and how long that holds up the loop."""

from __future__ import annotations

import time

import anyio
import pytest

from penstock.rendition import Rendition
from penstock.waiters import BATCH, Waiters
from tests.kernel.segmenting import store_of, stream_with
from tests.kernel.stage import VIDEO, Number, ms, publish

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("logs")]


async def settle() -> None:
    for _ in range(3):
        await anyio.lowlevel.checkpoint()


async def test_those_at_or_before_a_position_are_let_go_and_nobody_else() -> None:
    waiters = Waiters()
    gone: list[tuple[int, int]] = []

    async def wait(position: tuple[int, int]) -> None:
        await waiters.wait(position)
        gone.append(position)

    async with anyio.create_task_group() as tasks:
        for position in ((1, 1), (1, 2), (2, 0), (2, 1)):
            tasks.start_soon(wait, position)
        await settle()
        assert len(waiters) == 4
        waiters.release((2, 0))
        await anyio.sleep(0.01)
        assert gone == [(1, 1), (1, 2), (2, 0)]
        assert len(waiters) == 1
        waiters.release((3, 0))


async def test_those_without_a_task_are_called_at_their_position_unless_they_took_it_back() -> None:
    waiters = Waiters()
    called: list[str] = []
    waiters.when((1, 1), lambda: called.append("one"))
    take_back = waiters.when((1, 1), lambda: called.append("other"))
    alone = waiters.when((1, 2), lambda: called.append("alone"))
    waiters.when((9, 0), lambda: called.append("later"))
    take_back()
    alone()
    waiters.release((2, 0))
    assert called == ["one"]
    take_back()
    alone()
    waiters.release((9, 9))
    assert called == ["one", "later"]


async def test_batches_go_one_turn_of_the_loop_after_the_other() -> None:
    waiters = Waiters()
    turn = 0
    gone: dict[int, int] = {}
    done = False

    async def count_turns() -> None:
        nonlocal turn
        while not done:
            turn += 1
            await anyio.lowlevel.checkpoint()

    async def wait() -> None:
        await waiters.wait((1, 0))
        gone[turn] = gone.get(turn, 0) + 1

    async with anyio.create_task_group() as tasks:
        async with anyio.create_task_group() as inner:
            for _ in range(10 * BATCH):
                inner.start_soon(wait)
            await anyio.sleep(0.05)
            tasks.start_soon(count_turns)
            await settle()
            waiters.release((1, 0))
        done = True
    assert sum(gone.values()) == 10 * BATCH
    # Trio runs the tasks of a turn in any order: two batches may come between two turns of this count.
    assert max(gone.values()) <= 2 * BATCH


async def test_those_who_leave_do_not_keep_the_others() -> None:
    """Whole batches are cancelled before they are let go, some while they are, and the rest goes on."""
    waiters = Waiters()
    gone = 0

    async def wait(scope: anyio.CancelScope) -> None:
        nonlocal gone
        with scope:
            await waiters.wait((1, 0))
            gone += 1

    scopes = [anyio.CancelScope() for _ in range(4 * BATCH)]
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            for scope in scopes:
                tasks.start_soon(wait, scope)
            await anyio.sleep(0.05)
            for scope in scopes[BATCH : 2 * BATCH]:
                scope.cancel()
            await settle()
            waiters.release((1, 0))
            for scope in scopes[2 * BATCH : 3 * BATCH]:
                scope.cancel()
    assert gone >= 2 * BATCH
    assert len(waiters) == 0
    # And a line that everybody has left is not kept.
    with anyio.move_on_after(0.01):
        await waiters.wait((9, 0))
    assert waiters._lines == {}  # pyright: ignore[reportPrivateUsage]


async def crowd(rendition: Rendition, number: int, part: int | None, count: int) -> tuple[float, float]:
    """Let `count` wait for a part; returns the seconds it took to let them go, and the longest turn of the loop."""
    longest = start = 0.0
    done = anyio.Event()
    released: list[float] = []

    async def beat() -> None:
        nonlocal longest
        last = time.perf_counter()
        while not done.is_set():
            await anyio.lowlevel.checkpoint()
            now = time.perf_counter()
            longest = max(longest, now - last)
            last = now

    async def viewer() -> None:
        assert await rendition.wait(number, part)
        # What a response costs.
        until = time.perf_counter() + 0.0000_5
        while time.perf_counter() < until:
            pass
        released.append(time.perf_counter())

    async with anyio.create_task_group() as tasks:
        async with anyio.create_task_group() as viewers:
            for _ in range(count):
                viewers.start_soon(viewer)
            while rendition.waiting < count:
                await anyio.sleep(0.01)
            tasks.start_soon(beat)
            await settle()
            longest = 0.0
            start = time.perf_counter()
            rendition._flush(rendition.store.stream.last_time + ms(40), {})  # pyright: ignore[reportPrivateUsage]
        done.set()
    assert len(released) == count
    return max(released) - start, longest


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_ten_thousand_are_released_within_a_second_and_the_loop_turns_meanwhile() -> None:
    stream = stream_with()
    store = store_of(stream)
    publisher = publish(stream)
    video = publisher.add_track(VIDEO, 90_000, Number())
    for n in range(3):
        publisher.write(video.id, (b"v",), pts=ms(40 * n), dts=ms(40 * n), key=n == 0)
    rendition = store.renditions["v1"]
    seconds, turn = await crowd(rendition, rendition.segments[0].number, 0, 10_000)
    # The work itself is half a second; a turn of the loop is a batch of it, and not all.
    assert seconds < 10
    assert turn < seconds / 4


async def test_waiting_for_what_a_segment_turned_out_not_to_have_is_for_the_next_ones_first_part() -> None:
    """RFC 8216bis 6.2.5.2."""
    stream = stream_with()
    store = store_of(stream)
    publisher = publish(stream)
    video = publisher.add_track(VIDEO, 90_000, Number())

    def write(first: int, last: int) -> None:
        for n in range(first, last):
            publisher.write(video.id, (b"v",), pts=ms(40 * n), dts=ms(40 * n), key=n % 25 == 0)

    write(0, 5)
    rendition = store.renditions["v1"]
    number = rendition.segments[0].number
    done: list[str] = []

    async def wait(name: str, number: int, part: int | None) -> None:
        assert await rendition.wait(number, part)
        done.append(name)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait, "there", number, 0)
        tasks.start_soon(wait, "beyond", number, 7)
        tasks.start_soon(wait, "whole", number, None)
        await settle()
        assert done == ["there"]
        write(5, 26)
        await anyio.sleep(0.01)
        assert done == ["there", "whole"]
        write(26, 30)
    assert done == ["there", "whole", "beyond"]
    assert await rendition.wait(number - 5, 3), "what is no longer kept was there"


async def test_the_end_lets_everybody_go_empty_handed() -> None:
    stream = stream_with()
    store = store_of(stream)
    publisher = publish(stream)
    video = publisher.add_track(VIDEO, 90_000, Number())
    publisher.write(video.id, (b"v",), pts=0, dts=0)
    rendition = store.renditions["v1"]
    found: list[bool] = []

    async def wait(number: int) -> None:
        found.append(await rendition.wait(number))

    async def ready() -> None:
        found.append(await rendition.wait_ready(0))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait, rendition.segments[0].number + 3)
        tasks.start_soon(ready)
        await settle()
        assert not store.is_idle(store.asked + 1e6), "somebody waits"
        stream.end("over")
    assert found.count(False) >= 1


async def test_a_playlist_waits_for_segments_or_with_parts_for_the_first_of_known_length() -> None:
    stream = stream_with()
    store = store_of(stream)
    publisher = publish(stream)
    video = publisher.add_track(VIDEO, 90_000, Number())

    def write(first: int, last: int) -> None:
        for n in range(first, last):
            publisher.write(video.id, (b"v",), pts=ms(40 * n), dts=ms(40 * n), key=n % 25 == 0)

    done: list[str] = []
    rendition = store.renditions["v1"]

    async def wait(name: str, rendition: Rendition, segments: int) -> None:
        assert await rendition.wait_ready(segments)
        done.append(name)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait, "two", rendition, 2)
        tasks.start_soon(wait, "segment", rendition, 1)
        tasks.start_soon(wait, "part", rendition, 0)
        await settle()
        write(0, 20)
        await anyio.sleep(0.01)
        assert done == []
        write(20, 27)
        await anyio.sleep(0.01)
        assert sorted(done) == ["part", "segment"]
        write(27, 56)
    assert done[-1] == "two"
    # Who comes now has the segments of what is kept, and learns from these how long they are.
    late = store_of(stream, key="late").renditions["v1"]
    with anyio.fail_after(1):
        assert await late.wait_ready(0)
        assert await late.wait_ready()
