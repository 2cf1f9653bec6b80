"""Long responses and bodies: real clients play over HTTP and WebSocket, and publish by POST and PUT."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.certificate import self_signed

from . import clients, progressive
from .clips import CLIPS
from .crossing import Outcome, cross_all
from .progressive import CONTAINERS
from .server import Penstock, penstock


def _assert_crossed(outcomes: list[Outcome], players: int) -> None:
    assert len(outcomes) == players
    assert all(outcome.report.ok for outcome in outcomes), "\n".join(map(str, outcomes))


@pytest.mark.parametrize("container", CONTAINERS)
def test_every_client_plays_over_http(container: str, server: Penstock, folder: Path) -> None:
    programs = ("ffmpeg 5.1", "ffmpeg new", "gstreamer", "vlc")
    players = [progressive.player(f"{program} http-{container}") for program in programs]
    players.append(progressive.player(f"websockets ws-{container}"))
    pairs = [(clients.publisher(f"ffmpeg new {source}"), players) for source in ("rtmp", "rtsp-tcp")]
    _assert_crossed(cross_all(server.endpoints, pairs, CLIPS["h264b-aac44"], folder), 10)


def test_bodies_are_played_over_rtmp_rtsp_and_http(server: Penstock, folder: Path) -> None:
    players = [
        clients.player("ffmpeg new rtmp"),
        clients.player("ffmpeg new rtsp-tcp"),
        progressive.player("ffmpeg new http-flv"),
    ]
    publishers = [
        progressive.publisher("ffmpeg 5.1", "flv", "POST"),
        progressive.publisher("ffmpeg new", "ts", "PUT"),
        progressive.publisher("ffmpeg new", "mp4", "POST"),
    ]
    pairs = [(publisher, players) for publisher in publishers]
    _assert_crossed(cross_all(server.endpoints, pairs, CLIPS["h264b-aac44"], folder), 9)


def test_other_codecs_are_played_as_well(server: Penstock, folder: Path) -> None:
    new = [progressive.player(f"ffmpeg new http-{container}") for container in CONTAINERS]
    pairs = [(clients.publisher("ffmpeg new rtmp"), new)]
    _assert_crossed(cross_all(server.endpoints, pairs, CLIPS["hevc-opus"], folder), 3)


def test_tls_takes_the_slow_path_and_is_as_exact(work: Path, folder: Path) -> None:
    certificate, key = self_signed(work)
    with (
        penstock(work / "tls", f"server.certificate={certificate}", f"server.key={key}") as server,
        server.explained(),
    ):
        players = [
            progressive.player("ffmpeg new http-flv", "-tls_verify", "0"),
            progressive.player("websockets wss-ts"),
        ]
        pairs = [(clients.publisher("ffmpeg new rtmp", "-tls_verify", "0"), players)]
        _assert_crossed(cross_all(server.secure, pairs, CLIPS["short"], folder), 2)
        kinds = {line["protocol"] for line in server.log() if line.get("event") == "session closed"}
        assert kinds == {"rtmps", "https-flv", "wss-ts"}
