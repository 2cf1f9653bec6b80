"""A protocol is switched off and on while the server runs: a stream over another one does not notice."""

from __future__ import annotations

import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from attrs import evolve

from .binaries import require
from .clients import Player, player, publisher
from .clips import CLIPS
from .compare import Rules, compare
from .crossing import cross
from .installed import install
from .process import Child
from .server import Penstock, free_port, penstock

CLIP = CLIPS["h264b-aac44"]
SWITCH = """
import signal
import anyio
from attrs import frozen
from penstock import Plugin, hookimpl, option

@frozen
class Config:
    what: str = option("", "The plugin that SIGUSR1 switches off and SIGUSR2 on.")

class Service:
    name = "switch"

    def __init__(self, server, what):
        self.server, self.what = server, what

    async def run(self, started):
        with anyio.open_signal_receiver(signal.SIGUSR1, signal.SIGUSR2) as signals:
            started([])
            async for number in signals:
                turn = self.server.disable if number == signal.SIGUSR1 else self.server.enable
                await turn(self.what)

class Switch(Plugin):
    name = "switch"
    config = Config

    @hookimpl
    def services(self, server, config):
        return [Service(server, config.what)]

plugin = Switch()
"""


@pytest.fixture
def switch(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(folder / "site", "switch", SWITCH, monkeypatch)


def _listens(url: str) -> bool:
    parts = urlsplit(url)
    with socket.socket() as probe:
        return probe.connect_ex((parts.hostname or "", parts.port or 0)) == 0


def _wait(what: str, url: str, *, listening: bool) -> None:
    deadline = time.monotonic() + 5
    while _listens(url) is not listening:
        assert time.monotonic() < deadline, f"{what} is not switched {'on' if listening else 'off'}"
        time.sleep(0.02)


def _join(client: Player, server: Penstock, path: str, work: Path) -> Child:
    work.mkdir(parents=True)
    argv = client.argv(CLIP, server.endpoints.url(client.scheme, path), work)
    return Child.start(client.name, argv, work / "log")


def _part(client: Player) -> Rules:
    """Frames may be missing at the end, as many as the clip has, but none in between."""
    return evolve(client.rules, tail=1000, same_dts=False)


@pytest.mark.usefixtures("switch")
def test_a_protocol_off_and_on_again_is_not_noticed_by_the_other(folder: Path) -> None:
    require("ffmpeg", "ffmpeg-new", "gst-launch-1.0")
    cases = (
        ("rtsp", "ffmpeg 5.1 rtmp", ("ffmpeg new rtmp", "gstreamer rtmp"), "ffmpeg new rtsp-tcp"),
        ("rtmp", "ffmpeg new rtsp-tcp", ("ffmpeg 5.1 rtsp-udp", "gstreamer rtsp-tcp"), "ffmpeg 5.1 rtmp"),
    )
    CLIP.frames(CLIP.base)
    with ThreadPoolExecutor(len(cases)) as lanes:
        for done in [lanes.submit(_case, folder / case[0], *case) for case in cases]:
            done.result()


def _case(folder: Path, what: str, source: str, steady: tuple[str, ...], switched: str) -> None:
    """`steady` players of `source` while the protocol `what`, over which another one plays, goes and comes back."""
    listen = f"{what}.listen=127.0.0.1:{free_port()}"
    client, path = player(switched), "live/stream"
    with (
        penstock(folder / "server", listen, f"switch.what={what}") as server,
        server.explained(),
        ThreadPoolExecutor(1) as lane,
    ):
        url = server.endpoints.url(what, "")
        outcomes = lane.submit(
            cross,
            server.endpoints,
            publisher(source),
            CLIP,
            [player(name) for name in steady],
            path,
            folder / "steady",
        )
        time.sleep(1.2)
        before = _join(client, server, path, folder / "before")
        time.sleep(1.3)
        server.child.process.send_signal(signal.SIGUSR1)
        _wait(what, url, listening=False)
        assert before.wait(3), f"{switched} goes on although {what} is off"
        server.child.process.send_signal(signal.SIGUSR2)
        _wait(what, url, listening=True)
        after = _join(client, server, path, folder / "after")
        try:
            found = outcomes.result()
        finally:
            after.stop()
        assert len(found) == len(steady)
        assert all(outcome.report.ok for outcome in found), "\n".join(map(str, found))
        published = publisher(source).sent(CLIP, folder / "steady")
        for work in ("before", "after"):
            got = client.frames(folder / work)
            # Who was sent away, or came late, has a part of it: every frame between is there.
            assert got.video is not None, work
            report = compare(published, got, _part(client))
            assert report.ok, f"{work}: {report}"
        closed = [line for line in server.log() if line.get("reason") == f"{what} is switched off"]
        assert [line["protocol"] for line in closed] == [what]
