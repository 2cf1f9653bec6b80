"""What all sessions share: who is looked after."""

from __future__ import annotations

import weakref
from typing import Any

import anyio
import pytest

from penstock.session import KICKS
from penstock_rtsp import shared as module
from penstock_rtsp.shared import Shared

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.02)


class Living:
    """A session that ends when another one is looked after."""

    def __init__(self, sessions: set[Any], other: Living | None = None) -> None:
        self._sessions = sessions
        self._other = other
        self.looked_after = anyio.Event()
        self.ended = False

    def check_life(self, now: float) -> None:
        assert not self.ended
        self.looked_after.set()
        if self._other is not None:
            self._other.ended = True
            self._sessions.discard(self._other)


async def test_who_was_looked_after_is_not_kept() -> None:
    sessions: set[Any] = set()
    nothing: Any = None
    shared = Shared(nothing, nothing, nothing, sessions=sessions)
    session = Living(sessions)
    sessions.add(session)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(shared.watch)
        await session.looked_after.wait()
        sessions.clear()
        kept = weakref.ref(session)
        del session
        assert kept() is None
        tasks.cancel_scope.cancel()


async def test_a_session_that_ends_while_others_have_their_turn_is_not_looked_after() -> None:
    sessions: set[Any] = set()
    nothing: Any = None
    shared = Shared(nothing, nothing, nothing, sessions=sessions)
    leaver = Living(sessions)
    rest = [Living(sessions, leaver) for _ in range(2 * KICKS)]
    sessions.update([leaver, *rest])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(shared.watch)
        for session in rest:
            await session.looked_after.wait()
        tasks.cancel_scope.cancel()
    assert leaver.ended
