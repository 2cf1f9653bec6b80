"""Sources over HTTP: what FFmpeg writes as HLS, and what another penstock serves, played from the relay frame by frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from attrs import evolve, frozen

from .binaries import path_of, require
from .clients import FFmpegPublisher, Publisher, player, publisher
from .clips import CLIPS
from .crossing import Outcome, cross_command
from .server import Penstock, nginx_rtmp, penstock

CLIP = CLIPS["h264b-aac44"]
PATIENT = "[server]\nwait_for_stream = 20\nsegment_seconds = 1.0\nreconnect_grace = 0\n"
FLAGS = "delete_segments+independent_segments+temp_file"
LIVE = ("-hls_time", "1", "-hls_list_size", "4", "-hls_flags", FLAGS)

RENDITIONS = (
    "-map", "0:v", "-map", "0:a", "-master_pl_name", "live.m3u8",
    "-var_stream_map", "v:0,agroup:sound a:0,agroup:sound,language:en,default:yes",
)  # fmt: skip
"""Sound beside the picture, in a playlist of its own."""
PLAYLISTS = {"renditions": "%v.m3u8"}


@frozen
class HlsWriter(FFmpegPublisher):
    """FFmpeg as an origin: a sliding window of segments in a folder."""

    def container(self, clip: object) -> str:
        # An edit list's times are not those that it writes.
        return "plain.mp4"

    def argv(self, clip: object, url: str, work: Path) -> list[str]:
        return [
            path_of(self.needs[0]), "-nostdin", "-v", "warning", "-re", "-i", str(CLIP.file(self.container(clip))),
            "-c", "copy", "-f", "hls", *LIVE, *self.options, url,
        ]  # fmt: skip


@pytest.fixture(scope="module")
def files(work: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and nginx in front of it."""
    require("nginx-rtmp")
    with nginx_rtmp(work / "nginx") as endpoints:
        yield work / "nginx" / "www", endpoints.url("http", "").rstrip("/")


@pytest.fixture(scope="module")
def other(work: Path) -> Iterator[Penstock]:
    """Another penstock, which is pulled from."""
    require("ffmpeg-new")
    with penstock(work / "other", config=PATIENT) as running, running.explained():
        yield running


def _relay(folder: Path, sources: Sequence[tuple[str, str, Publisher, str]]) -> list[Outcome]:
    """Each source by name, with who publishes it and where to: all at once through one relay, over RTMP and RTSP."""
    # What has been fetched ahead is still played when the publisher has ended.
    players = [evolve(player(name), patience=8.0) for name in ("ffmpeg new rtmp", "ffmpeg new rtsp-tcp")]
    config = PATIENT + "".join(
        f'[streams."pull/{name}"]\nsource = "{source}"\nsource_on_demand = true\n'
        for name, source, _, _ in sources
    )
    for _, _, client, _ in sources:
        CLIP.frames(client.container(CLIP))
    with penstock(folder / "relay", config=config) as relay, relay.explained():

        def run(entry: tuple[str, str, Publisher, str]) -> list[Outcome]:
            name, _, client, url = entry
            own = folder / name
            return cross_command(
                relay.endpoints,
                client.argv(CLIP, url, own),
                lambda: client.sent(CLIP, own),
                CLIP,
                players,
                f"pull/{name}",
                own,
                same_dts=True,
            )

        with ThreadPoolExecutor(len(sources)) as lanes:
            return [outcome for some in lanes.map(run, sources) for outcome in some]


def _assert_exact(outcomes: list[Outcome], number: int) -> None:
    assert len(outcomes) == number
    assert all(outcome.report.ok for outcome in outcomes), "\n".join(map(str, outcomes))


def test_hls_that_ffmpeg_writes_is_pulled(files: tuple[Path, str], folder: Path) -> None:
    root, url = files
    require("ffmpeg-new")
    for name in ("ts", "fmp4", "aes", "ranges", "renditions"):
        (root / name).mkdir()
    (root / "aes" / "key").write_bytes(bytes(range(16)))
    info = root / "aes" / "info"
    info.write_text(f"key\n{root / 'aes' / 'key'}\n")
    ts = HlsWriter("ffmpeg new", "hls", ("ffmpeg-new",), frozenset({"h264", "aac"}))
    writers = {
        "ts": ts,
        "fmp4": evolve(ts, options=("-hls_segment_type", "fmp4")),
        "aes": evolve(ts, options=("-hls_key_info_file", str(info))),
        # One file that grows, of byte ranges. With a window of them FFmpeg does not count what has left it.
        "ranges": evolve(
            ts, options=("-hls_segment_type", "fmp4", "-hls_flags", "single_file", "-hls_list_size", "0")
        ),
        "renditions": evolve(ts, options=RENDITIONS),
    }
    sources = [
        (name, f"{url}/{name}/live.m3u8", writer, str(root / name / PLAYLISTS.get(name, "live.m3u8")))
        for name, writer in writers.items()
    ]
    _assert_exact(_relay(folder, sources), 10)
    assert "EXT-X-BYTERANGE" in (root / "ranges" / "live.m3u8").read_text()
    assert "TYPE=AUDIO" in (root / "renditions" / "live.m3u8").read_text()


def test_what_another_penstock_serves_is_pulled(other: Penstock, folder: Path) -> None:
    endpoints = other.endpoints
    client = publisher("ffmpeg new rtmp")
    sources = [
        (name, endpoints.url("http", f"live/{name}{ending}"), client, endpoints.url("rtmp", f"live/{name}"))
        for name, ending in (("ll", ".m3u8"), ("plain", ".m3u8?variant=ts"), ("flv", ".flv"), ("mp4", ".mp4"))
    ]
    _assert_exact(_relay(folder, sources), 8)
