"""Who may publish and play, decided by a plugin that is installed like anybody's: what real clients say of themselves."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
from attrs import frozen

from .binaries import path_of, require
from .clients import Player, Publisher, player, publisher
from .clips import CLIPS
from .crossing import Endpoints, Outcome, cross_command
from .installed import install
from .server import Penstock, penstock

CLIP = CLIPS["short"]
DOOR = """
import structlog
from penstock import Plugin, hookimpl

class Door(Plugin):
    name = "door"

    @hookimpl
    async def authorize(self, session, action, credentials):
        way = "query" if credentials.query else "basic" if credentials.password is not None else "digest"
        known = bool(credentials.user) and credentials.verify(password={"maker": "of films", "viewer": "sees:all"}
            .get(credentials.user, ""))
        structlog.get_logger("penstock").info("asked", protocol=session.protocol, action=action, way=way, known=known)
        return known and credentials.user == ("maker" if action == "publish" else "viewer") or "not you"

plugin = Door()
"""


@pytest.fixture
def door(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plugin of somebody else's, where the servers that are started find it."""
    install(folder / "site", "door", DOOR, monkeypatch)


@frozen
class Somebody(Endpoints):
    """Endpoints with credentials, as a user writes them into a URL: RTSP's before the host, RTMP's as a query."""

    user: str = ""
    password: str = ""

    def url(self, scheme: str, path: str) -> str:
        url = super().url(scheme, path)
        if scheme == "rtmp":
            return f"{url}?{urlencode({'user': self.user, 'pass': self.password}, quote_via=quote)}"
        return url.replace("//", f"//{self.user}:{quote(self.password)}@")


def _somebody(at: Endpoints, user: str, password: str) -> Somebody:
    return Somebody(at.rtmp, at.rtsp, user=user, password=password)


def _cross(server: Penstock, source: Publisher, players: list[Player], folder: Path) -> list[Outcome]:
    maker = _somebody(server.endpoints, "maker", "of films")
    viewer = _somebody(server.endpoints, "viewer", "sees:all")
    url = maker.url(source.scheme, "live/mine")
    return cross_command(
        viewer,
        source.argv(CLIP, url, folder),
        lambda: source.sent(CLIP, folder),
        CLIP,
        players,
        "live/mine",
        folder,
        same_dts=source.scheme == "rtmp",
        unsent_sound=source.unsent_sound(CLIP),
    )


@pytest.mark.usefixtures("door")
def test_publishers_and_players_say_who_they_are(folder: Path) -> None:
    digest = publisher("ffmpeg 5.1 rtsp-tcp"), [player("gstreamer rtsp-tcp"), player("ffmpeg new rtsp-udp")]
    basic = publisher("gstreamer rtsp-udp"), [player("ffmpeg 5.1 rtsp-tcp"), player("gstreamer rtsp-http")]
    query = publisher("ffmpeg new rtmp"), [player("gstreamer rtmp"), player("ffmpeg 5.1 rtmp")]
    query[1].append(player("rtmpdump rtmp"))
    require(
        *(need for source, players in (digest, basic, query) for c in (source, *players) for need in c.needs)
    )
    for source, _ in (digest, basic, query):
        # Made beforehand: encoding beside a running crossing would take its two cores.
        CLIP.frames(source.container(CLIP))
    with (
        penstock(folder / "digest") as one,
        penstock(folder / "basic", "rtsp.auth=basic") as two,
        penstock(folder / "query") as three,
        ThreadPoolExecutor(3) as lanes,
    ):
        running = [
            lanes.submit(_cross, server, source, players, folder / way)
            for server, (source, players), way in (
                (one, digest, "digest"),
                (two, basic, "basic"),
                (three, query, "query"),
            )
        ]
        outcomes = [outcome for future in running for outcome in future.result()]
        assert len(outcomes) == 7
        assert all(outcome.report.ok for outcome in outcomes), "\n".join(map(str, outcomes))
        for server, way, peers in ((one, "digest", 3), (two, "basic", 3), (three, "query", 4)):
            known = [line for line in server.log() if line.get("event") == "asked" and line.get("known")]
            assert {line["way"] for line in known} == {way}
            assert len(known) >= peers


@pytest.mark.usefixtures("door")
def test_who_says_something_else_is_told_so(folder: Path) -> None:
    require("ffmpeg-new", "ffmpeg")
    with penstock(folder / "server") as server:
        wrong = _somebody(server.endpoints, "viewer", "sees nothing")
        for scheme, says in (("rtsp", "Forbidden: not you"), ("rtmp", "not you")):
            for program in ("ffmpeg", "ffmpeg-new"):
                argv = [path_of(program), "-nostdin", "-i", wrong.url(scheme, "live/mine"), "-f", "null", "-"]
                done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
                assert done.returncode
                assert says in done.stderr
