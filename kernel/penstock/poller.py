"""Waiting for many sockets through one descriptor of the event loop."""

from __future__ import annotations

import asyncio
import select
import socket
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Self

import anyio

PATIENCE_NS = 100_000_000
"""How long what a peer says lies unread where nobody is in a hurry to hear it, while the loop is awake anyway."""
IMPATIENCE_SECONDS = 0.5
"""And how long where nothing else happens."""
MAX_EVENTS = 64
"""Peers that are heard in one turn of the loop: a request of each is some 10 ms of work. The others are next."""
MAX_PATIENT = 256
"""The same of those who are patient: what these say costs less, and their turn is seldom."""


async def wait_readable(sock: socket.socket) -> None:
    """Wait until `sock` can be read or accepted from; only the task that closes it may wait for it.

    On asyncio and uvloop this is a third of what `anyio.wait_readable` costs: no extra turn of the loop, and one
    future in place of an event and two look-ups. What waits again and again does so through a `Poller`.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        await anyio.wait_readable(sock)
        return
    descriptor = sock.fileno()
    future: asyncio.Future[None] = loop.create_future()
    loop.add_reader(descriptor, _readable, future)
    try:
        await future
    finally:
        loop.remove_reader(descriptor)


def _readable(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


async def sleep_until(moment: int) -> None:
    """Sleep until a moment of `time.monotonic_ns()`, with less ado than `anyio.sleep`: the pump does for each picture."""
    await Nap().until(moment)


class Nap:
    """A sleep that may be cut short."""

    __slots__ = ("wake",)

    def __init__(self) -> None:
        self.wake: Callable[[], None] = _nothing
        """End the sleep, if there is one."""

    async def until(self, moment: int) -> None:
        """Sleep until a moment of `time.monotonic_ns()`, or until it is woken."""
        delay = (moment - time.monotonic_ns()) / 1e9
        if delay <= 0:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            woken = anyio.Event()
            self.wake = woken.set
            with anyio.move_on_after(delay):
                await woken.wait()
            return
        future: asyncio.Future[None] = loop.create_future()
        self.wake = partial(_readable, future)
        timer = loop.call_later(delay, _readable, future)
        try:
            await future
        finally:
            timer.cancel()


def _nothing() -> None:
    """Nobody sleeps."""


class _Set:
    """An epoll set, and who waits for what is in it."""

    def __init__(self, most: int) -> None:
        self.poll = select.epoll()
        self._most = most
        self.waiting: dict[int, asyncio.Future[None]] = {}

    def arm(self, descriptor: int) -> None:
        """Tell of `descriptor` once. A socket that is closed leaves the set by itself."""
        try:
            self.poll.modify(descriptor, select.EPOLLIN | select.EPOLLONESHOT)
        except FileNotFoundError:
            self.poll.register(descriptor, select.EPOLLIN | select.EPOLLONESHOT)

    def turn(self) -> None:
        """Wake those whose sockets can be read from."""
        waiting = self.waiting
        for descriptor, _ in self.poll.poll(0, self._most):
            future = waiting.pop(descriptor, None)
            if future is not None and not future.done():
                future.set_result(None)

    def close(self) -> None:
        self.poll.close()
        for future in self.waiting.values():
            future.cancel()


class Poller:
    """Epoll sets inside the event loop's own: to wait again for a socket is one system call and no handle.

    A server has one. Where players only report now and then, as with RTCP and RTMP acknowledgements, each wake-up
    of the loop costs more than what is said: who waits with `patient` is looked at now and then, together with all
    others who do, when the pump has woken the loop. Under trio, and where there is no epoll, waiting is the event loop's.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._looking = False
        self._looked = 0
        self._resting: dict[asyncio.Future[None], int] = {}

    def __enter__(self) -> Self:
        if sys.platform == "linux":
            try:
                self._loop = asyncio.get_running_loop()
            except RuntimeError:
                return self
            self._soon, self._later = _Set(MAX_EVENTS), _Set(MAX_PATIENT)
            self._loop.add_reader(self._soon.poll.fileno(), self._soon.turn)
        return self

    def __exit__(self, *exc: object) -> None:
        loop, self._loop, self._looking = self._loop, None, False
        if loop is not None:
            loop.remove_reader(self._soon.poll.fileno())
            self._soon.close()
            self._later.close()

    async def wait(self, sock: socket.socket, *, patient: bool = False) -> None:
        """Wait until `sock` can be read from; only the task that closes it may wait for it."""
        loop = self._loop
        if loop is None:
            await wait_readable(sock)
            return
        among = self._later if patient else self._soon
        descriptor, waiting = sock.fileno(), among.waiting
        if descriptor in waiting:
            raise anyio.BusyResourceError("reading from")
        among.arm(descriptor)
        if patient and not self._looking:
            self._looking = True
            loop.call_later(IMPATIENCE_SECONDS, self._look_again, loop)
        future = waiting[descriptor] = loop.create_future()
        try:
            await future
        finally:
            # Where the wait was cancelled; what the set still tells of it then is told to nobody.
            if waiting.get(descriptor) is future:
                del waiting[descriptor]

    async def rest(self, moment: int, earliest: int = 0) -> None:
        """Sleep until a moment of `time.monotonic_ns()`, or until the pump has woken the loop, which is cheaper, at `earliest` or
        after.
        """
        loop, delay = self._loop, (moment - time.monotonic_ns()) / 1e9
        if loop is None:
            await sleep_until(moment)
            return
        future: asyncio.Future[None] = loop.create_future()
        timer = loop.call_later(delay, _readable, future)
        self._resting[future] = earliest
        try:
            await future
        finally:
            timer.cancel()
            del self._resting[future]

    def look(self) -> None:
        """See to those who rest, and to those who are patient, if their time has come."""
        if self._resting:
            now = time.monotonic_ns()
            for future, earliest in self._resting.items():
                if now >= earliest:
                    _readable(future)
        if self._looking:
            now = time.monotonic_ns()
            if now - self._looked >= PATIENCE_NS:
                self._looked = now
                self._later.turn()

    def _look_again(self, loop: asyncio.AbstractEventLoop) -> None:
        self.look()
        self._looking = self._loop is not None and bool(self._later.waiting)
        if self._looking:
            loop.call_later(IMPATIENCE_SECONDS, self._look_again, loop)
