"""A server with one fault built in: a comparison that did not see it would prove nothing about the real
one.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from . import progressive, srt
from .binaries import require
from .clients import PLAYERS, PUBLISHERS
from .clips import CLIPS
from .crossing import cross
from .sabotage import FAULTS
from .server import penstock

SEEN_AS = {
    "drop": "video: frame",
    "late": "video: pts move",
    "swap": "video: frame",
    "sound": "out of step",
    "flip": "these bytes were never published",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_comparison_sees(fault: str, work: Path, folder: Path) -> None:
    require("ffmpeg-new")
    folder.mkdir()
    players = [player for player in PLAYERS if player.name in ("ffmpeg new rtmp", "ffmpeg new rtsp-tcp")]
    players += [progressive.player(f"ffmpeg new http-{container}") for container in progressive.CONTAINERS]
    players.append(srt.player("ffmpeg new"))
    publisher = next(p for p in PUBLISHERS if p.name == "ffmpeg new rtmp")
    with (
        penstock(folder, program=("-m", "tests.interop.sabotage", fault, "serve")) as server,
        server.explained(),
    ):
        outcomes = cross(
            server.endpoints, publisher, CLIPS["h264-aac"], players, "live/hurt", folder / "crossing"
        )
        for outcome in outcomes:
            assert SEEN_AS[fault] in str(outcome.report), str(outcome)
