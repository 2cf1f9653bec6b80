"""Faults on any TCP listener, and the group's rows."""

from __future__ import annotations
import pytest
from .rig import Rig


@pytest.mark.parametrize("protocol", ["rtmp", "rtsp"])
def test_G1_silence_ends_at_the_handshake_timeout(faults: Rig, protocol: str) -> None:
    with faults.watched(), faults.peer(protocol) as peer:
        taken = peer.closed_within(10)
        assert taken > 0.5
    assert "1 s" in faults.line(peer)["reason"]
