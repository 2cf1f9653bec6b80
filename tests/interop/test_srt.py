"""SRT with real clients, as callers and as listeners, plain and encrypted."""

from __future__ import annotations

from pathlib import Path

from . import clients, srt
from .clips import CLIPS
from .crossing import Outcome, cross_all
from .server import Penstock

CLIP = CLIPS["h264b-aac44"]


def _assert_crossed(outcomes: list[Outcome], players: int) -> None:
    assert len(outcomes) == players
    assert all(outcome.report.ok for outcome in outcomes), "\n".join(map(str, outcomes))


def test_callers_publish_and_play(server: Penstock, folder: Path) -> None:
    players = [*srt.PLAYERS, clients.player("ffmpeg new rtmp"), clients.player("ffmpeg new rtsp-tcp")]
    _assert_crossed(cross_all(server.endpoints, [(p, players) for p in srt.PUBLISHERS], CLIP, folder), 24)
