"""Thousands of responses that are due at once leave the loop its turns."""

from __future__ import annotations

import asyncio
import time

import anyio
import pytest

from penstock_http.turns import TURN_NS, Turns

pytestmark = pytest.mark.anyio


async def test_much_work_is_spread_over_many_passes() -> None:
    turns = Turns(asyncio.get_running_loop())
    longest = done = passes = 0

    async def work() -> None:
        nonlocal done
        await turns.wait()
        until = time.thread_time_ns() + 200_000
        while time.thread_time_ns() < until:
            pass
        done += 1

    async with anyio.create_task_group() as tasks:
        for _ in range(500):
            tasks.start_soon(work)
        while done < 500:
            before = time.thread_time_ns()
            await asyncio.sleep(0)
            longest = max(longest, time.thread_time_ns() - before)
            passes += 1
    # 100 ms of work; one piece of it and the tasks' own costs come on top of a turn.
    assert passes >= 8
    assert longest < 5 * TURN_NS


async def test_what_is_little_waits_for_nothing() -> None:
    turns = Turns(asyncio.get_running_loop())
    for _ in range(3):
        await turns.wait()
    await anyio.sleep(0.02)
    began = time.monotonic_ns()
    await turns.wait()
    assert time.monotonic_ns() - began < TURN_NS
