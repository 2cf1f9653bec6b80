"""A peer that is refused: closed at once, with one line that says why (E1, E2)."""

from __future__ import annotations

from .peer import Peer
from .rig import Rig

CLOSE = 3.0
"""Seconds in which a violation ends the connection: the promise is one, and machines of tests are slow."""


def refused(faults: Rig, peer: Peer, *reasons: str, closes: float = CLOSE) -> None:
    """The server closes at once and says why in one line, in which one of `reasons` is."""
    peer.closed_within(closes)
    line = faults.line(peer)
    assert line["event"] == "protocol violation", line
    assert any(reason in line["reason"] for reason in reasons), line


def timed_out(faults: Rig, peer: Peer) -> None:
    """The server closes when the handshake timeout, 1 s in these tests, has passed, and says so in one line."""
    peer.closed_within(8)
    line = faults.line(peer)
    assert line["event"] == "session closed", line
    assert line["reason"].startswith("the peer asked for nothing within 1 s"), line
