"""Fairness among responses that are due at once, as when a segment that thousands wait for is there."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

TURN_NS = 10_000_000
"""How long responses are written in one pass of the event loop before everything else gets its turn."""

FREE = 8
"""Responses after which it is looked at the time: few cost less than to know whether the loop has turned."""


class Turns:
    """One for all connections of a loop: uvloop runs a thousand ready tasks in one pass, a quarter of a second."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._began = 0
        """When the first response of this pass that was counted was written, in monotonic nanoseconds; 0 where none was."""
        self._free = FREE
        self._later: deque[Callable[[], None]] = deque()

    async def wait(self) -> None:
        """Return in this pass of the loop where it has not been long, else in a later one."""
        while not self.take():
            await asyncio.sleep(0)

    def take(self) -> bool:
        """Whether a response may be written in this pass: it has not been long."""
        if self._free:
            self._free -= 1
            return True
        if self._began:
            return time.monotonic_ns() - self._began < TURN_NS
        self._begin()
        return True

    def _begin(self) -> None:
        self._began = time.monotonic_ns()
        self._loop.call_soon(self._next)

    def later(self, write: Callable[[], None]) -> None:
        """Call `write` when it is its turn, after those that were given before."""
        self._later.append(write)
        if not self._began:
            self._begin()

    def _next(self) -> None:
        self._began = 0
        self._free = FREE
        while self._later and self.take():
            self._later.popleft()()
