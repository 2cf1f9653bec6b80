"""Thousands of peers at once: sockets that connect together, send what they are told, and are read until they have an answer."""

from __future__ import annotations

import resource
import select
import socket
import time
from collections.abc import Iterable
from types import TracebackType

from attrs import define, field

from .peer import own_address

SPARE = 200
"""Descriptors that the tests and the server have for other things."""


KEPT = 4096
"""Bytes of each that are kept of what comes until its end: thousands of players have gigabytes waiting in their sockets."""


def allow_files(number: int, pid: int = 0) -> None:
    """Let this process, or that of `pid`, have so many files open."""
    number += SPARE
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    if soft < number:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (number, max(hard, number)))


@define(eq=False)
class Member:
    """One peer: it sends `says` once it is connected, and is content when `wants` has come."""

    port: int
    says: bytes = b""
    wants: bytes = b""
    source: str = field(factory=own_address)
    sock: socket.socket = field(factory=socket.socket, init=False)
    received: bytes = b""


class Crowd:
    """Connects all its members; a member is closed with the crowd."""

    def __init__(self, members: Iterable[Member]) -> None:
        self.members = list(members)
        self._open = {member.sock.fileno(): member for member in self.members}

    def __enter__(self) -> Crowd:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for member in self.members:
            member.sock.close()

    def connect(self, seconds: float) -> None:
        """Connect all, as fast as it goes, and wait until all are content."""
        poll = select.epoll()
        for member in self.members:
            member.sock.setblocking(False)
            member.sock.bind((member.source, 0))
            member.sock.connect_ex(("127.0.0.1", member.port))
            poll.register(member.sock, select.EPOLLOUT)
        waiting = set(self._open)
        deadline = time.monotonic() + seconds
        with poll:
            while waiting:
                assert time.monotonic() < deadline, (
                    f"{len(waiting)} of {len(self.members)} wait after {seconds} s"
                )
                for number, event in poll.poll(0.1, 1024):
                    member = self._open[number]
                    if event & select.EPOLLOUT:
                        assert member.sock.send(member.says) == len(member.says)
                        poll.modify(number, select.EPOLLIN if member.wants else 0)
                    else:
                        data = member.sock.recv(65_536)
                        assert data, f"the server closed after {member.received[-200:]!r}"
                        member.received += data
                    if member.wants in member.received:
                        waiting.discard(number)
                        poll.unregister(number)

    def ends(self) -> None:
        """Read each to its end. Raises `OSError` where that is a reset, or it has none."""
        for member in self.members:
            while data := member.sock.recv(65_536):
                if len(member.received) < KEPT:
                    member.received += data
