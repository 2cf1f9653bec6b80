"""Waiting for many sockets through one descriptor of the event loop."""

from __future__ import annotations

import socket
import sys
import time

import anyio
import pytest

from penstock import poller as module
from penstock.poller import IMPATIENCE_SECONDS, Poller, sleep_until

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("patient", [False, True])
async def test_each_waiter_is_woken_for_its_own_socket(
    patient: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE_NS", 2_000_000)
    pairs = [socket.socketpair() for _ in range(20)]
    woken: list[int] = []

    async def wait(number: int) -> None:
        near = pairs[number][0]
        for _ in range(3):
            await poller.wait(near, patient=patient)
            assert near.recv(10) == b"x"
            woken.append(number)
            if number + 1 < len(pairs):
                pairs[number + 1][1].send(b"x")

    with Poller() as poller:
        async with anyio.create_task_group() as tasks:
            for number in range(len(pairs)):
                tasks.start_soon(wait, number)
            for _ in range(3):
                pairs[0][1].send(b"x")
                while woken.count(len(pairs) - 1) < _ + 1:
                    await anyio.sleep(0.001)
                    poller.look()
    assert sorted(woken) == sorted(list(range(20)) * 3)
    for near, far in pairs:
        near.close()
        far.close()


async def test_who_is_patient_is_heard_also_where_nothing_else_happens() -> None:
    near, far = socket.socketpair()
    with Poller() as poller, near, far:
        far.send(b"x")
        with anyio.fail_after(20 * IMPATIENCE_SECONDS):
            await poller.wait(near, patient=True)


async def test_who_rests_goes_on_when_the_pump_is_awake_or_at_its_time(anyio_backend_name: str) -> None:
    with Poller() as poller:
        for seconds, looks in ((0.01, False), (60.0, True)):
            began = time.monotonic()
            with anyio.fail_after(5):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(poller.rest, time.monotonic_ns() + int(seconds * 1e9))
                    await anyio.sleep(0.001)
                    if looks and sys.platform == "linux" and anyio_backend_name != "trio":
                        poller.look()
                    elif looks:
                        tasks.cancel_scope.cancel()
            assert looks or time.monotonic() - began >= seconds - 0.001


async def test_who_gave_up_waiting_is_forgotten_and_may_wait_again() -> None:
    near, far = socket.socketpair()
    with Poller() as poller, near, far:
        for _ in range(3):
            with anyio.move_on_after(0.01) as limit:
                await poller.wait(near)
            assert limit.cancelled_caught
        far.send(b"x")
        with anyio.fail_after(5):
            await poller.wait(near)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the event loop says so itself")
async def test_two_may_not_wait_for_one_socket() -> None:
    near, far = socket.socketpair()
    with Poller() as poller, near, far:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(poller.wait, near)
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(anyio.BusyResourceError):
                await poller.wait(near)
            tasks.cancel_scope.cancel()


async def test_sleeping_until_a_moment() -> None:
    moment = time.monotonic_ns() + 20_000_000
    await sleep_until(moment)
    # An event loop's timer may be a millisecond early.
    assert time.monotonic_ns() > moment - 2_000_000
    await sleep_until(moment)


async def test_who_rests_is_woken_with_the_loop_but_not_too_early(anyio_backend_name: str) -> None:
    # Trio sleeps until the end.
    latest = 30_000_000 if anyio_backend_name == "trio" else 10_000_000_000
    with Poller() as poller:
        began = time.monotonic_ns()
        woken: list[int] = []

        async def rest() -> None:
            await poller.rest(began + latest, began + 20_000_000)
            woken.append(time.monotonic_ns())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(rest)
            with anyio.fail_after(5):
                while not woken:
                    await anyio.sleep(0.001)
                    poller.look()
        assert woken[0] >= began + 20_000_000


async def test_who_rests_is_woken_also_where_nothing_else_happens() -> None:
    with Poller() as poller:
        began = time.monotonic_ns()
        with anyio.fail_after(5):
            await poller.rest(began + 20_000_000)
            await poller.rest(began)
        assert time.monotonic_ns() > began + 18_000_000
        with anyio.move_on_after(0.01) as limit:
            await poller.rest(began + 10_000_000_000)
        assert limit.cancelled_caught
        # It is forgotten.
        poller.look()
