"""WebRTC with peers that nobody here wrote, frame for frame: webrtcbin, aiortc and FFmpeg publish, aiortc plays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import evolve

from . import clients
from .binaries import require
from .clips import CLIPS
from .crossing import Outcome, cross_all
from .server import Penstock
from .webrtc import PLAYERS, PUBLISHERS

CLIP = CLIPS["webrtc"]
_RTSP = clients.player("ffmpeg new rtsp-tcp")
OTHER = evolve(_RTSP, rules=evolve(_RTSP.rules, sound_within_ms=1500.0))
"""The publishers' sound may begin later than their picture."""
UNTIMED = evolve(OTHER, rules=evolve(OTHER.rules, times=False))
"""aiortc's reports are as late as its event loop, and webrtcbin sends when it comes to it: their times are not the file's."""
PUBLISHED = [(p, (*PLAYERS, OTHER if p.program == "ffmpeg new" else UNTIMED)) for p in PUBLISHERS]


@pytest.fixture(scope="module")
def crossed(server: Penstock, work: Path) -> Iterator[dict[str, list[Outcome]]]:
    """What each publisher's players got, all at once."""
    require(*(need for client in (*PUBLISHERS, *PLAYERS, OTHER) for need in client.needs))
    outcomes = cross_all(server.endpoints, PUBLISHED, CLIP, work / "peers")
    each = len(PLAYERS) + 1
    with server.explained():
        yield {p.name: outcomes[n * each : (n + 1) * each] for n, p in enumerate(PUBLISHERS)}


@pytest.mark.parametrize("publisher", [publisher.name for publisher in PUBLISHERS])
def test_every_frame_crosses(publisher: str, crossed: dict[str, list[Outcome]]) -> None:
    outcomes = crossed[publisher]
    assert all(outcome.report.ok for outcome in outcomes), "\n".join(map(str, outcomes))
