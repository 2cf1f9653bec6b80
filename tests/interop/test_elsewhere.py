"""HTTP by other people's programs: Hypercorn in uvicorn's place, projects of FastAPI and Django that penstock is mounted in, and
nginx in front of the files that it writes. Every frame comes as it was published.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from urllib.request import urlopen

import pytest
from attrs import evolve

from tests.certificate import self_signed

from . import clients, dash, hls, progressive
from .binaries import require
from .clients import Player, Publisher
from .clips import CLIPS
from .compare import Rules
from .crossing import Crossing, Endpoints, Outcome, cross_each
from .installed import install
from .server import Penstock, nginx_rtmp, penstock

CLIP = CLIPS["h264b-aac44"]
SETTINGS = ("server.segment_seconds=1", "server.reconnect_grace=0")
DOCS = Path(__file__).parents[2] / "docs" / "http.md"
RTMP = clients.publisher("ffmpeg new rtmp")
SEGMENTS = (hls.player("ffmpeg new hls-ts"), hls.player("ffmpeg new hls-ll"), dash.player("ffmpeg new dash"))
FILES = {
    variant: hls.FFmpegDirectoryPlayer(
        "ffmpeg new",
        f"hls-{variant}",
        ("ffmpeg-new",),
        hls.CODECS[variant],
        Rules(tail=1),
        hls.PATIENCE,
    )
    for variant in ("ts", "fmp4")
}

TOLD_AFTER = 3.5
"""Seconds after which two segments of one are in the list of a directory, where nobody is asked to wait."""

Crossed = dict[str, Future[list[Outcome]]]


def _of_the_docs() -> str:
    """The plugin of docs/http.md that has Hypercorn."""
    blocks: list[str] = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    return next(block for block in blocks if "hypercorn" in block)


def _hypercorn(work: Path, stack: ExitStack) -> tuple[Endpoints, Endpoints]:
    """Where it serves HTTP, and HTTPS with the rest in clear."""
    environment = stack.enter_context(pytest.MonkeyPatch.context())
    install(work / "site", "hypercorn", _of_the_docs(), environment)
    certificate, key = self_signed(work)
    tls = (f"server.certificate={certificate}", f"server.key={key}")
    server = _penstock(work / "hypercorn", stack, "http.asgi_server=hypercorn", *tls)
    with urlopen(f"{server.endpoints.http}/") as answer:
        assert "hypercorn" in answer.headers["server"]
    return server.endpoints, evolve(server.endpoints, http=server.secure.http)


def _mounted(work: Path, stack: ExitStack) -> tuple[Endpoints, Endpoints]:
    """Below which URL FastAPI and Django have it."""
    program = ("-m", "tests.interop.mounted", "serve")
    server = _penstock(work / "mounted", stack, "http.listen=", "http.listen_tls=", program=program)
    (port,) = [line["port"] for line in server.log() if line.get("what") == "django"]
    return (
        evolve(server.endpoints, http=f"{server.endpoints.http}/media"),
        evolve(server.endpoints, http=f"http://127.0.0.1:{port}/media"),
    )


def _penstock(
    work: Path, stack: ExitStack, *settings: str, program: tuple[str, ...] = ("-m", "penstock", "serve")
) -> Penstock:
    server = stack.enter_context(penstock(work, *SETTINGS, *settings, program=program))
    stack.enter_context(server.explained())
    return server


@pytest.fixture(scope="module")
def crossed(work: Path) -> Iterator[Crossed]:
    """What players got of each; all at once, since most of it is waiting for a clip to play."""
    require("ffmpeg-new", "nginx-rtmp")
    CLIP.frames(CLIP.base)
    with ExitStack() as stack:
        plain, secure = _hypercorn(work, stack)
        fastapi, django = _mounted(work, stack)
        nginx = stack.enter_context(nginx_rtmp(work / "nginx"))
        lanes = stack.enter_context(ThreadPoolExecutor(16))

        def cross(
            name: str, where: Endpoints, players: list[Player], publisher: Publisher = RTMP, **options: float
        ) -> Future[list[Outcome]]:
            crossings = [Crossing(publisher, CLIP, tuple(players))]
            return lanes.submit(cross_each, where, crossings, work / name, **options)

        flv, websocket = progressive.player("ffmpeg new http-flv"), progressive.player("websockets ws-ts")
        tls = progressive.player("ffmpeg new http-flv", "-tls_verify", "0")
        found = {
            "hypercorn": cross("hypercorn-plain", plain, [*SEGMENTS, flv, websocket]),
            "hypercorn-post": cross(
                "hypercorn-post",
                plain,
                [clients.player("ffmpeg new rtmp")],
                progressive.publisher("ffmpeg new", "flv", "POST"),
            ),
            "hypercorn-tls": cross("hypercorn-tls", secure, [tls]),
            "fastapi": cross("fastapi", fastapi, [*SEGMENTS, flv, websocket]),
            "django": cross("django", django, [*SEGMENTS[1:], flv]),
        }
        for variant, player in FILES.items():
            settings = (
                f"hls.directory={work / 'nginx' / 'www'}",
                f"hls.directory_streams=live/nginx-{variant}-0",
                f"hls.directory_variant={variant}",
            )
            server = _penstock(work / f"files-{variant}", stack, *settings)
            where = evolve(server.endpoints, http=nginx.http)
            found[f"nginx-{variant}"] = cross(f"nginx-{variant}", where, [player], join_after=TOLD_AFTER)
        yield found


def _assert_crossed(outcomes: list[Outcome], count: int) -> None:
    assert len(outcomes) == count
    assert all(outcome.report.ok for outcome in outcomes), "\n".join(map(str, outcomes))


def test_hypercorn_serves_in_the_place_of_uvicorn(crossed: Crossed) -> None:
    """As docs/http.md has it, over HTTP and HTTPS."""
    _assert_crossed(crossed["hypercorn"].result(), 5)
    _assert_crossed(crossed["hypercorn-post"].result(), 1)
    _assert_crossed(crossed["hypercorn-tls"].result(), 1)


@pytest.mark.parametrize(("project", "players"), [("fastapi", 5), ("django", 3)])
def test_it_is_played_below_a_prefix_of_another_project(project: str, players: int, crossed: Crossed) -> None:
    _assert_crossed(crossed[project].result(), players)


@pytest.mark.parametrize("variant", FILES)
def test_the_directory_is_played_from_nginx(variant: str, crossed: Crossed) -> None:
    _assert_crossed(crossed[f"nginx-{variant}"].result(), 1)
