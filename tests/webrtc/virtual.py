"""A server and its peers in virtual time: what is on its way over sockets is there at once, and nobody waits for time to pass."""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import TypeVar

import anyio
import pytest

from penstock.media import NS

T = TypeVar("T")
TRIED_SECONDS = 0.01


class Clock:
    """The time of day of everything in this process while it is `running`, in ns."""

    def __init__(self) -> None:
        self.real = time.monotonic_ns
        self.now = self.real()
        self.running = False

    def monotonic_ns(self) -> int:
        return self.now if self.running else self.real()

    def monotonic(self) -> float:
        return self.monotonic_ns() / NS

    @contextmanager
    def virtual(self) -> Generator[None]:
        """From here on time passes only where all tasks wait for it."""
        self.now, self.running = self.real(), True
        try:
            yield
        finally:
            self.running = False


class _Selector(selectors.DefaultSelector):
    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        clock = self._clock
        if not clock.running:
            return super().select(timeout)
        found = super().select(0)
        if not found and timeout is None:
            return super().select(TRIED_SECONDS)
        if not found and timeout is not None and timeout > 0:
            clock.now += int(timeout * NS) + 1
        return found


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self, clock: Clock) -> None:
        self._virtual = clock
        super().__init__(_Selector(clock))

    def time(self) -> float:
        return self._virtual.monotonic()


def run(work: Callable[[Clock], Awaitable[T]]) -> T:
    """What `work` comes to, with a clock that it may set going by itself."""
    clock = Clock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "monotonic_ns", clock.monotonic_ns)
        patch.setattr(time, "monotonic", clock.monotonic)
        return anyio.run(work, clock, backend_options={"loop_factory": lambda: _Loop(clock)})
