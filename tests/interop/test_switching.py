"""A protocol is switched off and on while a stream runs over another one, which loses no frame."""

from __future__ import annotations

from pathlib import Path

import pytest

from .binaries import require
from .clients import PLAYERS, PUBLISHERS
from .clips import CLIPS
from .crossing import cross
from .server import penstock


@pytest.mark.parametrize(
    ("switched", "publishes", "clip", "plays"),
    [
        ("rtsp", "ffmpeg new rtmp", "h264-aac", ("ffmpeg new rtmp", "rtmpdump rtmp")),
        ("rtmp", "ffmpeg new rtsp-tcp", "h264b-aac44", ("ffmpeg 5.1 rtsp-udp", "ffmpeg 5.1 rtsp-tcp")),
    ],
)
def test_the_other_protocol_loses_no_frame(
    switched: str, publishes: str, clip: str, plays: tuple[str, ...], folder: Path
) -> None:
    players = [player for player in PLAYERS if player.name in plays]
    require("ffmpeg-new", *(need for player in players for need in player.needs))
    publisher = next(p for p in PUBLISHERS if p.name == publishes)
    with (
        penstock(folder, program=("-m", "tests.interop.switching", switched, "serve")) as server,
        server.explained(),
    ):
        outcomes = cross(server.endpoints, publisher, CLIPS[clip], players, "live/on", folder / "crossing")
        assert len(outcomes) == len(plays)
        assert all(outcome.report.ok for outcome in outcomes), "\n".join(map(str, outcomes))
        lines = server.log()
    begun = [e for e in lines if e.get("event") == "listening" and e.get("what") == switched]
    assert len(begun) > 3, "it was not switched off and on"
    assert not [e for e in lines if e.get("event") == "plugin failed"]
