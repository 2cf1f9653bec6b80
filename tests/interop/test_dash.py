"""DASH, real clients: every frame as it was published."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from . import clients
from .binaries import require
from .clips import CLIPS
from .crossing import Outcome, cross_all
from .dash import PLAYERS, player
from .server import Penstock, penstock


@pytest.fixture(scope="module")
def server(work: Path) -> Iterator[Penstock]:
    """An end that is told at once."""
    require("ffmpeg-new")
    with (
        penstock(work / "dash", "server.reconnect_grace=0") as running,
        running.explained(),
    ):
        yield running


def _assert_crossed(outcomes: list[Outcome], count: int) -> None:
    assert len(outcomes) == count
    assert all(outcome.report.ok for outcome in outcomes), "\n".join(map(str, outcomes))


@pytest.mark.parametrize("source", ["ffmpeg new rtmp", "ffmpeg new rtsp-tcp"])
def test_every_client_plays_every_frame(source: str, server: Penstock, folder: Path) -> None:
    outcomes = cross_all(
        server.endpoints, [(clients.publisher(source), PLAYERS)], CLIPS["h264b-aac44"], folder
    )
    _assert_crossed(outcomes, 4)


def test_other_codecs_are_in_fragmented_mp4(server: Penstock, folder: Path) -> None:
    pairs = [(clients.publisher("ffmpeg new rtmp"), [player("ffmpeg new dash")])]
    _assert_crossed(cross_all(server.endpoints, pairs, CLIPS["hevc-opus"], folder), 1)
