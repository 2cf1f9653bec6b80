"""Thousands who wait for the same thing, let go a batch at a time, so that what they do then does not hold up the loop."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from itertools import chain

import anyio

BATCH = 64
"""Who are let go in one turn of the loop: at 0.2 ms for each one's response, 13 ms."""


class _Batch:
    """Some who wait; the first of them to go on lets the next batch go."""

    __slots__ = ("event", "joined", "waiting")

    def __init__(self) -> None:
        self.event = anyio.Event()
        self.joined = 0
        self.waiting = 0


class Waiters:
    """Those who wait for positions of something that goes on: a position is a tuple that compares.

    No task lets them go: each batch that wakes sets the event of the next, and the loop turns between the two. Who has no
    task either is called.
    """

    __slots__ = ("_calls", "_current", "_due", "_lines")

    def __init__(self) -> None:
        self._lines: dict[tuple[int, int], list[_Batch]] = {}
        self._calls: dict[tuple[int, int], dict[object, Callable[[], None]]] = {}
        self._due: deque[_Batch] = deque()
        self._current: _Batch | None = None

    def __len__(self) -> int:
        waiting = [batch for line in self._lines.values() for batch in line]
        return sum(batch.waiting for batch in (*waiting, *self._due)) + sum(map(len, self._calls.values()))

    @property
    def positions(self) -> Iterator[tuple[int, int]]:
        """Those that anybody waits for."""
        return chain(self._lines, self._calls)

    async def wait(self, position: tuple[int, int]) -> None:
        """Until `release` is called with `position` or one beyond; what it comes to is the caller's to see."""
        line = self._lines.setdefault(position, [])
        if not line or line[-1].joined >= BATCH:
            line.append(_Batch())
        batch = line[-1]
        batch.joined += 1
        batch.waiting += 1
        try:
            await batch.event.wait()
        finally:
            batch.waiting -= 1
            if batch is self._current:
                self._next()
            elif not batch.waiting and self._lines.get(position) == [batch]:
                del self._lines[position]  # nobody is left there

    def when(self, position: tuple[int, int], call: Callable[[], None]) -> Callable[[], None]:
        """Have `call` called by `release`, with all others in one step; what is returned takes that back."""
        line = self._calls.setdefault(position, {})
        key = object()
        line[key] = call

        def take_back() -> None:
            line.pop(key, None)
            if not line and self._calls.get(position) is line:
                del self._calls[position]

        return take_back

    def release(self, position: tuple[int, int]) -> None:
        """`position` is reached: let go all who wait for it or for one before."""
        reached = sorted(p for p in self._lines if p <= position)
        for one in reached:
            self._due += self._lines.pop(one)
        if self._current is None:
            self._next()
        for one in [p for p in self._calls if p <= position]:
            for call in tuple(self._calls.pop(one).values()):
                call()

    def _next(self) -> None:
        while self._due:
            batch = self._due.popleft()
            if batch.waiting:
                self._current = batch
                batch.event.set()
                return
        self._current = None
