"""Fairness among responses that are due at once, as when a segment that thousands wait for is there."""

from __future__ import annotations

import asyncio
import time

TURN_NS = 10_000_000
"""How long responses are written in one pass of the event loop before everything else gets its turn."""


class Turns:
    """One for all connections of a loop: uvloop runs a thousand ready tasks in one pass, a quarter of a second."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._began = 0
        """When the first response of this pass was written, in monotonic nanoseconds; 0 where none was."""

    async def wait(self) -> None:
        """Return in this pass of the loop where it has not been long, else in a later one."""
        while self._began:
            if time.monotonic_ns() - self._began < TURN_NS:
                return
            await asyncio.sleep(0)
        self._began = time.monotonic_ns()
        self._loop.call_soon(self._next)

    def _next(self) -> None:
        self._began = 0
