"""HLS, real clients: MPEG-TS, fragmented MP4 and Low-Latency HLS, every frame as it was published."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from . import clients, srt
from .binaries import require
from .clips import CLIPS
from .crossing import Outcome, cross_all
from .hls import PLAYERS, VARIANTS, player
from .server import Penstock, penstock


@pytest.fixture(scope="module")
def server(work: Path) -> Iterator[Penstock]:
    """Segments of a second, and an end that is told at once."""
    require("ffmpeg-new")
    with (
        penstock(work / "hls", "server.segment_seconds=1", "server.reconnect_grace=0") as running,
        running.explained(),
    ):
        yield running


def _assert_crossed(outcomes: list[Outcome], count: int) -> None:
    assert len(outcomes) == count
    assert all(outcome.report.ok for outcome in outcomes), "\n".join(map(str, outcomes))


@pytest.mark.parametrize("source", ["ffmpeg new rtmp", "ffmpeg new rtsp-tcp"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_client_plays_every_frame(variant: str, source: str, server: Penstock, folder: Path) -> None:
    players = [p for p in PLAYERS if p.protocol == f"hls-{variant}"]
    outcomes = cross_all(
        server.endpoints, [(clients.publisher(source), players)], CLIPS["h264b-aac44"], folder
    )
    _assert_crossed(outcomes, 5 if variant == "ts" else 4)


def test_what_comes_over_srt_is_played(server: Penstock, folder: Path) -> None:
    players = [player("ffmpeg new hls-ts"), player("ffmpeg new hls-ll")]
    pairs = [(srt.publisher("ffmpeg new"), players)]
    _assert_crossed(cross_all(server.endpoints, pairs, CLIPS["h264b-aac44"], folder), 2)
