"""Server and canary together, and what must be true after each fault (E1, E3, E4)."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import define

from . import log
from .canary import Canary, canary
from .peer import Peer
from .server import MIB, PENSTOCK, FaultServer, fault_server

SETTLE = 5.0
"""Seconds in which descriptors return to what they were (E3)."""
RSS_SLACK = 16 * MIB
"""What an allocator keeps, beside a test's named limit: the table says 1 MiB, which no Python process can keep to."""
TAIL = 0.05
"""Seconds that the canary goes on after a fault, so that a hole shows: more than a picture's time, and what shows
later still is found before the next fault."""


@define
class Rig:
    """What a test of a fault has at hand."""

    server: FaultServer
    canary: Canary

    @contextmanager
    def watched(self, *, rss: int = 0, bound: float | None = None, settle: float = SETTLE) -> Generator[None]:
        """Whatever happens inside, the canary is well, the server is the same process, its descriptors come back,
        its memory rose by at most `rss` bytes and some slack, and it logged no error of its own."""
        server = self.server
        server.let_log_rest()
        before = server.descriptors
        ill = self.canary.complaints(self.canary.mark(), bound=60.0)
        assert not ill, f"the canary was ill before: {ill}"
        said = len(server.raw_log())
        server.forget_peak()
        resident = server.rss
        yield
        time.sleep(TAIL)
        seen = self.canary.mark()
        assert server.child.running, f"the server ended: {server.child.words(3000)}"
        complaints = self.canary.complaints(seen, bound=bound)
        assert not complaints, complaints
        deadline = time.monotonic() + settle
        while (now := server.descriptors) > before:
            assert time.monotonic() < deadline, f"{now} descriptors, before {before}"
            time.sleep(0.02)
        risen = server.peak - resident
        assert risen <= rss + RSS_SLACK, f"memory rose by {risen / MIB:.1f} MiB"
        bugs = log.bugs(server.raw_log()[said:])
        assert not bugs, bugs

    def peer(self, protocol: str = "rtmp", **options: Any) -> Peer:
        """A new hostile peer at the port of `protocol`."""
        return Peer(self.server.ports[protocol], **options)

    def line(self, peer: Peer | str) -> dict[str, Any]:
        """The one log line of a session that has ended."""
        return log.one_line(self.server, peer if isinstance(peer, str) else peer.address)


@contextmanager
def rig(work: Path, *settings: str, config: str = "", program: tuple[str, ...] = PENSTOCK) -> Generator[Rig]:
    """A server with a canary in it."""
    with (
        fault_server(work, *settings, config=config, program=program) as server,
        canary(server.rtmp, server.rtsp, server.ports["http"], server.pid, work) as bird,
    ):
        with Peer(server.ports["http"]) as first:
            # Its libraries open a file at the first request, and keep it.
            first.send(b"GET /nothing HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
            first.closed_within(SETTLE)
        yield Rig(server, bird)
