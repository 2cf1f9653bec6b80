"""Sessions: one for each peer's connection, to be listed, counted and kicked."""

from __future__ import annotations

import hmac
import itertools
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import md5
from types import MappingProxyType
from typing import Literal

import anyio
from attrs import define, field

from penstock.path import StreamPath

Direction = Literal["publish", "read", ""]


@define(eq=False)
class Credentials:
    """What a peer gave to prove who it is. `query` is the URL's query, for tokens."""

    user: str = ""
    password: str | None = None
    query: Mapping[str, str] = MappingProxyType({})
    _verify_ha1: Callable[[str], bool] | None = field(default=None, alias="verify_ha1")
    realm: str = ""

    @property
    def anonymous(self) -> bool:
        return not self.user and self.password is None and not self.query

    def verify(self, *, password: str | None = None, ha1: str | None = None) -> bool:
        """Whether the peer knows `password`, or the password of which `ha1` is MD5(user:realm:password), in hex."""
        if self._verify_ha1 is not None:
            if ha1 is None:
                if password is None:
                    return False
                text = f"{self.user}:{self.realm}:{password}"
                ha1 = md5(text.encode(), usedforsecurity=False).hexdigest()
            return self._verify_ha1(ha1)
        if password is None or self.password is None:
            return False
        return hmac.compare_digest(self.password.encode(), password.encode())


@define(eq=False)
class Session:
    """One peer's connection: who, where from, what for, and how much."""

    id: str
    protocol: str
    address: str
    direction: Direction = ""
    path: StreamPath | None = None
    user: str = ""
    opened: float = field(factory=time.time)
    bytes_in: int = 0
    count_out: Callable[[], int] = lambda: 0
    info: dict[str, object] = field(factory=dict[str, object])
    counters: dict[str, int] = field(factory=dict[str, int])
    """What of its data came to nothing, by what it is; the log tells it with the session's end."""
    reason: str = ""
    relay: str = ""
    """Of a connection of our own: what it is to the config, ``source`` or ``push``."""
    joined: bool = False
    """Whether the log has told that it reads."""
    begin_by: float | None = None
    """Monotonic seconds by which it has to publish or read, or is kicked; None once it does."""
    _scope: anyio.CancelScope | None = field(default=None, init=False, repr=False)

    @property
    def bytes_out(self) -> int:
        return self.count_out()

    def count(self, what: str, number: int) -> None:
        """Add `number` of `what` to the counters."""
        if number:
            self.counters[what] = self.counters.get(what, 0) + number

    def leave_out(self, track_id: int, reason: str) -> None:
        """It does not get a track: its `info` says why."""
        left_out = self.info.setdefault("left_out", {})
        if isinstance(left_out, dict):
            left_out[track_id] = reason

    def kick(self, reason: str) -> None:
        """End the session; its protocol says goodbye and closes. `reason` is logged and shown."""
        if not self.reason:
            self.reason = reason
        if self._scope is not None:
            self._scope.cancel()

    def ends(self, scope: anyio.CancelScope) -> None:
        """Let `kick` cancel `scope`, which runs the session's work already."""
        self._scope = scope

    @contextmanager
    def scope(self) -> Generator[None]:
        """Run the session's work so that `kick` ends it."""
        with anyio.CancelScope() as self._scope:
            if self.reason:
                self._scope.cancel()  # kicked before it began
            yield


KICKS = 32
"""Sessions that are kicked before other tasks get their turn: their ends are a few milliseconds of work."""


async def kick_in_turns(sessions: Iterable[Session], reason: str) -> None:
    """Kick many without holding up the loop: the ends of ten thousand at once would for a second."""
    for number, session in enumerate(sessions, 1):
        session.kick(reason)
        if number % KICKS == 0:
            await anyio.lowlevel.checkpoint()


class Sessions:
    """All open sessions by id."""

    def __init__(self) -> None:
        self._open: dict[str, Session] = {}
        self._numbers = itertools.count(1)

    def add(self, protocol: str, address: str) -> Session:
        session = Session(f"{protocol}-{next(self._numbers)}", protocol, address)
        self._open[session.id] = session
        return session

    def remove(self, session: Session) -> None:
        self._open.pop(session.id, None)

    def __iter__(self) -> Iterator[Session]:
        return iter(tuple(self._open.values()))

    def __len__(self) -> int:
        return len(self._open)

    def get(self, id: str) -> Session | None:
        return self._open.get(id)
