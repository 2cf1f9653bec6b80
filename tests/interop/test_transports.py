"""What packets travel in besides plain TCP and UDP: TLS, HTTP and multicast."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from attrs import evolve

from tests.certificate import self_signed

from .clients import MULTICAST, Player, player, publisher
from .clips import CLIPS, Clip
from .crossing import Outcome, cross_all
from .network import own_network
from .server import Penstock, penstock

CLIP = CLIPS["short"]
PATIENCE = 40.0
"""Seconds after the publisher's end in which nobody has to be stopped."""


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


def test_what_goes_inside_tls_and_http(server: Penstock, certificate: Path, folder: Path) -> None:
    # FFmpeg trusts this certificate and no other; GStreamer has no such option.
    ffmpeg = ("-ca_file", str(certificate), "-tls_verify", "1")
    gst = ("tls-validation-flags=no-flags",)
    pairs = [
        (
            publisher("ffmpeg 5.1 rtmp", *ffmpeg),
            # rtmpdump trusts everybody.
            [
                player("ffmpeg new rtmp", *ffmpeg),
                player("gstreamer rtsp-tcp", *gst),
                player("rtmpdump rtmp"),
            ],
        ),
        (
            publisher("ffmpeg new rtsp-tcp", *ffmpeg),
            # Its RTSP client has no such options yet, and trusts everybody.
            [player("ffmpeg 5.1 rtsp-tcp"), player("gstreamer rtmp", *gst)],
        ),
        (
            publisher("gstreamer rtmp", *gst),
            [player("ffmpeg 5.1 rtmp", *ffmpeg), player("ffmpeg new rtsp-tcp", *ffmpeg)],
        ),
        (
            publisher("gstreamer rtsp-tcp", *gst),
            [player("ffmpeg new rtmp", *ffmpeg), player("gstreamer rtsp-http", *gst)],
        ),
    ]
    # FFmpeg plays over HTTP but cannot publish so.
    tunnel = evolve(publisher("gstreamer rtsp-tcp"), protocol="rtsp-http")
    tunnelled = [player(f"{program} rtsp-http") for program in ("ffmpeg 5.1", "ffmpeg new", "gstreamer")]
    with ThreadPoolExecutor(1) as lane:
        http = lane.submit(cross_all, server.endpoints, [(tunnel, tunnelled)], CLIP, folder / "http")
        _assert_crossed(cross_all(server.secure, pairs, CLIP, folder / "tls"), 9)
        _assert_crossed(http.result(), 3)
    kinds = {str(line["protocol"]) for line in server.log() if line.get("event") == "session closed"}
    assert kinds == {"rtmps", "rtsps", "rtsp"}


def _joining(name: str) -> Player:
    client = player(name)
    return evolve(client, protocol=MULTICAST, rules=evolve(client.rules, from_key=False))


def _multicast(folder: Path, clip: Clip, by: str, *to: str) -> None:
    """The players end by themselves with the stream, with all of it: they are told (ADR 0033)."""
    pairs = [(publisher(by), [evolve(_joining(name), patience=PATIENCE) for name in to])]
    with own_network(), penstock(folder / "server", "server.reconnect_grace=1") as server, server.explained():
        began = time.monotonic()
        _assert_crossed(cross_all(server.endpoints, pairs, clip, folder), len(to))
        assert time.monotonic() - began < clip.seconds + PATIENCE, "somebody had to be stopped"


# Apart from each other: FFmpeg ends at any RTCP BYE of its group, and GStreamer says one when it hears its own report
# over loopback.


def test_multicast_is_sent_once_for_all(folder: Path) -> None:
    _multicast(folder, CLIP, "ffmpeg 5.1 rtmp", "ffmpeg 5.1 rtsp-udp", "ffmpeg new rtsp-udp")


def test_gstreamer_joins_a_multicast_group(folder: Path) -> None:
    """Without B-frames: it drops what is shown before the picture with which it begins, and that is any."""
    _multicast(folder, CLIPS["h264-aac"], "gstreamer rtsp-udp", "gstreamer rtsp-udp")
