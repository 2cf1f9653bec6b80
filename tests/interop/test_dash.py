"""DASH, real clients: every frame as it was published."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from . import clients, hls
from .binaries import require
from .clips import CLIPS
from .crossing import Crossing, Outcome, cross_all, cross_command, cross_each
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


def test_other_codecs_are_played_as_they_were_published(server: Penstock, folder: Path) -> None:
    """By HLS and by DASH: MP3 is also in MPEG-TS; G.711 is not, and as AAC where sound is transcoded."""
    fragmented = (
        hls.player("ffmpeg new hls-fmp4"),
        hls.player("ffmpeg new hls-ll"),
        player("ffmpeg new dash"),
    )
    crossings = [
        Crossing(clients.publisher(f"ffmpeg new {source}"), CLIPS[clip], (*fragmented, *more))
        for clip, sources, more in (
            ("hevc-opus", ("rtmp",), ()),
            ("h264-mp3", ("rtmp", "rtsp-tcp"), (hls.player("ffmpeg new hls-ts"),)),
            ("h264-pcma", ("rtmp", "rtsp-tcp"), ()),
            ("h264-pcmu", ("rtsp-tcp",), ()),
        )
        for source in sources
    ]
    _assert_crossed(cross_each(server.endpoints, crossings, folder), 20)


def test_gstreamer_joins_a_stream_that_has_been_there_for_longer_than_a_segment(
    work: Path, folder: Path
) -> None:
    """Of such it asked for segments far ahead, as soon as it had read the description again."""
    players = [player("gstreamer dash")]
    require("ffmpeg-new", *players[0].needs)
    publisher, clip = clients.publisher("ffmpeg new rtmp"), CLIPS["h264-aac"]
    source = clip.frames(publisher.container(clip))
    # Without what is kept of before, the first segment begins 3 s from the presentation's zero.
    settings = ("server.reconnect_grace=0", "server.segment_replay_bytes=0", "server.segment_seconds=1")
    with penstock(work / "late", *settings) as running, running.explained():
        argv = publisher.argv(clip, running.endpoints.url("rtmp", "live/late"), folder)
        outcomes = cross_command(
            running.endpoints, argv, source, clip, players, "live/late", folder, same_dts=True, join_after=2.2
        )
    _assert_crossed(outcomes, 1)


def test_ffmpeg_takes_a_short_last_segment_once_while_the_publisher_is_away(work: Path, folder: Path) -> None:
    """Sound alone of 6 s is three segments and a frame."""
    players = [player(name) for name in ("ffmpeg 5.1 dash", "ffmpeg new dash")]
    require("ffmpeg-new", *(need for one in players for need in one.needs))
    pairs = [(clients.publisher("ffmpeg new rtmp"), players)]
    with penstock(work / "away", "server.reconnect_grace=4") as running, running.explained():
        _assert_crossed(cross_all(running.endpoints, pairs, CLIPS["audio-only"], folder), 2)
