"""Sound in a codec that the carrier has: G.711 over what carries none, as FFmpeg hears it beside the picture."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from .binaries import path_of, require
from .process import Child
from .server import Penstock, penstock
from .srt import with_stream_id
from .tone import pitch

TONE = 1000
SECONDS = 2
RATE = 48_000
PATH = "live/tone"
LIMIT = 40
WAYS = ("srt", "http-ts", "hls-ts", "hls-ll", "dash")


@pytest.fixture(scope="module")
def server(work: Path) -> Iterator[Penstock]:
    require("ffmpeg-new")
    settings = ("transcode.enabled=true", "server.segment_seconds=1")
    with penstock(work, *settings) as running, running.explained():
        argv = [path_of("ffmpeg-new"), "-nostdin", "-v", "error", "-re"]
        argv += ["-f", "lavfi", "-i", "testsrc2=s=320x180:r=25", "-f", "lavfi", "-i", f"sine={TONE}:r=8000"]
        argv += ["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "25"]
        argv += ["-c:a", "pcm_alaw", "-t", "120", "-f", "flv", running.endpoints.url("rtmp", PATH)]
        publisher = Child.start("publisher", argv, work / "publisher.log")
        yield running
        publisher.stop()


@pytest.fixture(scope="module")
def played(server: Penstock, work: Path) -> Iterator[dict[str, Future[tuple[str, bytes]]]]:
    """What FFmpeg says of each, and the samples that it heard."""
    http = f"{server.endpoints.http}/{PATH}"
    urls = {
        "srt": with_stream_id("ffmpeg new", server.endpoints.url("srt", PATH), False),
        "http-ts": f"{http}.ts",
        "hls-ts": f"{http}.m3u8?variant=ts",
        "hls-ll": f"{http}.m3u8",
        "dash": f"{http}.mpd",
    }
    with ThreadPoolExecutor(len(WAYS)) as lanes:
        yield {way: lanes.submit(_play, urls[way], work / f"{way}.wav") for way in WAYS}


def _play(url: str, sound: Path) -> tuple[str, bytes]:
    argv = [
        path_of("ffmpeg-new"),
        "-nostdin",
        "-y",
        "-i",
        url,
        "-map",
        "0:v",
        "-t",
        str(SECONDS),
        "-f",
        "null",
        "-",
    ]
    argv += ["-map", "0:a", "-t", str(SECONDS), "-ac", "1", "-ar", str(RATE), str(sound)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=LIMIT, check=False)
    return done.stderr, sound.read_bytes() if sound.exists() else b""


@pytest.mark.parametrize("way", WAYS)
def test_g711_is_heard_as_aac(way: str, played: dict[str, Future[tuple[str, bytes]]]) -> None:
    said, heard = played[way].result()
    assert re.search(r"Stream #0:\d+.*: Audio: aac", said), said
    assert re.search(r"Stream #0:\d+.*: Video: h264", said), said
    samples = heard[-RATE * 2 :]
    assert len(heard) > RATE * 2 * (SECONDS - 0.2), said
    assert abs(pitch(samples) - TONE) < 15, said
    assert max(memoryview(samples).cast("h")) > 1000
