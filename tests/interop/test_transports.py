"""What packets travel in besides plain TCP and UDP: TLS, HTTP and multicast."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from attrs import evolve

from tests.certificate import self_signed

from .binaries import require
from .clients import MULTICAST, Client, Player, Publisher, player, publisher
from .clips import CLIPS
from .crossing import Endpoints, Outcome, cross
from .network import own_network
from .server import Penstock, penstock

CLIP = CLIPS["short"]


@pytest.fixture(scope="module")
def certificate(work: Path) -> Path:
    return self_signed(work)[0]


@pytest.fixture(scope="module")
def server(work: Path, certificate: Path) -> Iterator[Penstock]:
    tls = (f"server.certificate={certificate}", f"server.key={self_signed(work)[1]}")
    with penstock(work / "server", *tls) as running, running.explained():
        yield running


def _assert_crossed(outcomes: list[Outcome], players: int) -> None:
    assert len(outcomes) == players
    assert all(outcome.report.ok for outcome in outcomes), "\n".join(map(str, outcomes))


def test_rtmps_and_rtsps_publish_and_play(server: Penstock, certificate: Path, folder: Path) -> None:
    # FFmpeg trusts this certificate and no other; GStreamer has no such option.
    ffmpeg = ("-ca_file", str(certificate), "-tls_verify", "1")
    gst = ("tls-validation-flags=no-flags",)
    publishers = [
        publisher("ffmpeg 5.1 rtmp", *ffmpeg),
        publisher("ffmpeg new rtsp-tcp", *ffmpeg),
        publisher("gstreamer rtmp", *gst),
        publisher("gstreamer rtsp-tcp", *gst),
    ]
    players = [
        [player("ffmpeg new rtmp", *ffmpeg), player("gstreamer rtsp-tcp", *gst)],
        # Its RTSP client has no such options yet, and trusts everybody.
        [player("ffmpeg 5.1 rtsp-tcp"), player("gstreamer rtmp", *gst)],
        [player("ffmpeg 5.1 rtmp", *ffmpeg), player("ffmpeg new rtsp-tcp", *ffmpeg)],
        [player("ffmpeg new rtmp", *ffmpeg), player("gstreamer rtsp-http", *gst)],
    ]
    _assert_crossed(_all_cross(server.secure, publishers, players, folder), 8)
    kinds = {str(line["protocol"]) for line in server.log() if line.get("event") == "session closed"}
    assert kinds == {"rtmps", "rtsps"}


def test_rtsp_over_http_publishes_and_plays(server: Penstock, folder: Path) -> None:
    # FFmpeg plays over HTTP but cannot publish so.
    tunnel = evolve(publisher("gstreamer rtsp-tcp"), protocol="rtsp-http")
    players = [player(f"{program} rtsp-http") for program in ("ffmpeg 5.1", "ffmpeg new", "gstreamer")]
    _assert_crossed(_all_cross(server.endpoints, [tunnel], [players], folder), 3)


def test_multicast_is_sent_once_for_all(folder: Path) -> None:
    # Apart from each other: FFmpeg ends at any RTCP BYE of its group, and GStreamer says one when it hears its own
    # report over loopback.
    groups = [
        ("ffmpeg 5.1 rtmp", ("ffmpeg 5.1 rtsp-udp", "ffmpeg new rtsp-udp")),
        ("gstreamer rtsp-udp", ("gstreamer rtsp-udp",)),
    ]
    publishers = [publisher(name) for name, _ in groups]
    players: list[list[Player]] = []
    for _, names in groups:
        found = [player(name) for name in names]
        players.append([evolve(p, protocol=MULTICAST, rules=evolve(p.rules, from_key=False)) for p in found])
    with own_network(), penstock(folder / "server") as server, server.explained():
        _assert_crossed(_all_cross(server.endpoints, publishers, players, folder), 3)


def _all_cross(
    endpoints: Endpoints, publishers: list[Publisher], players: list[list[Player]], folder: Path
) -> list[Outcome]:
    """Every publisher with its own players, all at once."""
    clients: list[Client] = [*publishers, *(one for some in players for one in some)]
    require(*(need for client in clients for need in client.needs))
    for one in publishers:
        # Made beforehand: encoding beside a running crossing would take its two cores.
        CLIP.frames(one.container(CLIP))

    def run(number: int) -> list[Outcome]:
        path = f"live/{folder.name}-{number}"
        return cross(endpoints, publishers[number], CLIP, players[number], path, folder / str(number))

    with ThreadPoolExecutor(len(publishers)) as lanes:
        return [outcome for some in lanes.map(run, range(len(publishers))) for outcome in some]
