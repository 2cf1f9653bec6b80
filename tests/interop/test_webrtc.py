"""WebRTC with peers that nobody here wrote, frame for frame: webrtcbin, aiortc and FFmpeg publish, the first two play.

In RTSP and RTMP their pictures and sound have to be in step as the peers sent them.
"""

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
OTHERS = [
    evolve(other, rules=evolve(other.rules, sound_within_ms=1500.0))
    for other in map(clients.player, ("ffmpeg new rtsp-tcp", "ffmpeg new rtmp"))
]
"""The publishers' sound may begin later than their picture."""
TAILS = {"aiortc": 3, "webrtcbin": 1}
"""Frames of theirs that may be missing at the end."""
STEPPING = {
    name: [evolve(other, rules=evolve(other.rules, tolerance_ms=20.0, tail=tail)) for other in OTHERS]
    for name, tail in TAILS.items()
}
"""aiortc and webrtcbin report when something went out, which on a busy machine is late: a report that is less late than those
before moves a track by as much. What must be right is how sound and picture stand to each other."""
PUBLISHED = [(p, (*PLAYERS, *STEPPING.get(p.program, OTHERS))) for p in PUBLISHERS]
PER_PUBLISHER = len(PLAYERS) + len(OTHERS)


@pytest.fixture(scope="module")
def crossed(server: Penstock, work: Path) -> Iterator[dict[str, list[Outcome]]]:
    """What each publisher's players got, all at once."""
    require(*(need for client in (*PUBLISHERS, *PLAYERS, *OTHERS) for need in client.needs))
    outcomes = cross_all(server.endpoints, PUBLISHED, CLIP, work / "peers")
    with server.explained():
        each = PER_PUBLISHER
        yield {p.name: outcomes[n * each : (n + 1) * each] for n, p in enumerate(PUBLISHERS)}


@pytest.mark.parametrize("publisher", [publisher.name for publisher in PUBLISHERS])
def test_every_frame_crosses(publisher: str, crossed: dict[str, list[Outcome]]) -> None:
    outcomes = crossed[publisher]
    assert all(outcome.report.ok for outcome in outcomes), "\n".join(map(str, outcomes))
