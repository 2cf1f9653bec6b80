"""A server with one fault built in: a comparison that did not see it would prove nothing about the real
one.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from . import clients, dash, hls, progressive, srt
from .binaries import require
from .clips import CLIPS
from .crossing import Outcome, cross
from .sabotage import FAULTS
from .server import penstock

SEEN_AS = {
    "drop": "video: frame",
    "late": "video: pts move",
    "swap": "video: frame",
    "sound": "out of step",
    "flip": "these bytes were never published",
}
CLIP = CLIPS["h264-aac"]
TOGETHER = 3
"""Servers at a time: each clip plays in real time, which is mostly waiting."""


def _players() -> list[clients.Player]:
    return [
        clients.player("ffmpeg new rtmp"),
        clients.player("ffmpeg new rtsp-tcp"),
        *(progressive.player(f"ffmpeg new http-{container}") for container in progressive.CONTAINERS),
        srt.player("ffmpeg new"),
        *(hls.player(f"ffmpeg new hls-{variant}") for variant in hls.VARIANTS),
        dash.player("ffmpeg new dash"),
    ]


@pytest.fixture(scope="module")
def hurt(work: Path, request: pytest.FixtureRequest) -> Iterator[dict[str, Future[list[Outcome]]]]:
    """What players got from a server with each fault; a test waits for its own."""
    require("ffmpeg-new")
    CLIP.frames(CLIP.base)
    calls: list[Any] = [getattr(item, "callspec", None) for item in request.session.items]
    asked = {call.params.get("fault") for call in calls if call}
    with ThreadPoolExecutor(TOGETHER) as lanes:
        yield {fault: lanes.submit(_crossed, fault, work / fault) for fault in FAULTS if fault in asked}


def _crossed(fault: str, work: Path) -> list[Outcome]:
    program = ("-m", "tests.interop.sabotage", fault, "serve")
    # Adaptive players have the frame that is hurt before the clip ends, and end with it.
    settings = ("server.segment_seconds=1", "server.reconnect_grace=0")
    with penstock(work, *settings, program=program) as server, server.explained():
        publisher = clients.publisher("ffmpeg new rtmp")
        return cross(server.endpoints, publisher, CLIP, _players(), "live/hurt", work / "crossing")


@pytest.mark.parametrize("fault", FAULTS)
def test_the_comparison_sees(fault: str, hurt: dict[str, Future[list[Outcome]]]) -> None:
    outcomes = hurt[fault].result()
    assert len(outcomes) == len(_players())
    for outcome in outcomes:
        assert SEEN_AS[fault] in str(outcome.report), str(outcome)
