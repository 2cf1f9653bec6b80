"""SRT with real clients: as callers that publish and play, and as listeners that are pulled from and pushed to, in clear
and encrypted, frame by frame into the other protocols and back.
"""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from attrs import evolve, frozen

from . import clients, srt
from .binaries import require
from .clients import Player, Publisher
from .clips import CLIPS
from .crossing import Endpoints, Outcome, cross_all, cross_command
from .lossy import lossy
from .process import Child, stop_all, wait_all
from .server import STOP_LIMIT, Penstock, free_port, penstock

CLIP = CLIPS["h264b-aac44"]
SHORT = CLIPS["short"]
SECRET = '[streams."live/*"]\nsecret = "0123456789abcdef"\n'
NEW_RTMP, NEW_RTSP = "ffmpeg new rtmp", "ffmpeg new rtsp-tcp"


def _assert_crossed(outcomes: list[Outcome], players: int) -> None:
    assert len(outcomes) == players
    assert all(outcome.report.ok for outcome in outcomes), "\n".join(map(str, outcomes))


def test_callers_publish_and_play(server: Penstock, folder: Path) -> None:
    """Each of libsrt's programs into SRT, RTMP and RTSP, and RTMP and RTSP into SRT."""
    players = [*srt.PLAYERS, clients.player(NEW_RTMP), clients.player(NEW_RTSP)]
    publishers = [*srt.PUBLISHERS, clients.publisher(NEW_RTMP), clients.publisher(NEW_RTSP)]
    _assert_crossed(cross_all(server.endpoints, [(p, players) for p in publishers], CLIP, folder), 36)


def test_callers_publish_and_play_encrypted(work: Path, folder: Path) -> None:
    """AES with keys of 16, 24 and 32 bytes."""
    keys = {"ffmpeg 5.1": "16", "ffmpeg new": "32", "gstreamer": "24", srt.SRT: "16"}
    publishers = [srt.publisher(name, srt.PASSPHRASE, f"pbkeylen={size}") for name, size in keys.items()]
    players = [srt.player(name, srt.PASSPHRASE) for name in keys] + [clients.player(NEW_RTMP)]
    with penstock(work / "secret", config=SECRET) as server, server.explained():
        _assert_crossed(cross_all(server.endpoints, [(p, players) for p in publishers], SHORT, folder), 20)


@pytest.mark.parametrize("fault", ["", "no-retransmission"])
def test_what_is_lost_is_sent_again(fault: str, work: Path, folder: Path) -> None:
    """Every twelfth data packet is lost in both directions, and no frame; unless nothing is sent again: then it is seen."""
    folder.mkdir()
    program = ("-m", "tests.interop.sabotage", fault, "serve") if fault else ("-m", "penstock", "serve")
    with (
        penstock(folder, program=program) as server,
        server.explained(),
        lossy(str(server.endpoints.srt)) as link,
    ):
        behind = evolve(server.endpoints, srt=f"srt://127.0.0.1:{link.port}")
        pairs = [(srt.publisher("ffmpeg new", "latency=300000"), [srt.player(srt.SRT, "latency=300")])]
        outcomes = cross_all(behind, pairs, SHORT, folder / "crossing")
        assert link.lost > 20
        if fault:
            # It may be the first one that arrives damaged, or a later one.
            assert re.search("video: (frame|the first frame received)", str(outcomes[0].report)), str(
                outcomes[0]
            )
        else:
            _assert_crossed(outcomes, 1)


@frozen
class Relayed:
    """A stream that a relay pulls from, or pushes to, a listening program or another penstock."""

    name: str
    table: str
    publisher: Publisher
    url: str
    player: Player
    played: str = ""


@pytest.fixture(scope="module")
def other(work: Path) -> Iterator[Penstock]:
    require("ffmpeg-new", srt.SRT)
    with penstock(work / "other", config=SECRET) as running, running.explained():
        yield running


def _listening(program: str, *words: str) -> tuple[Publisher, Player, str]:
    return (
        srt.publisher(program, srt.LISTEN, *words),
        srt.player(program, srt.LISTEN, *words),
        f"srt://127.0.0.1:{free_port()}",
    )


def _relayed(other: Penstock) -> Iterator[Relayed]:
    rtmp = clients.player(NEW_RTMP)
    from_rtmp = clients.publisher(NEW_RTMP)
    # Who calls says how it encrypts; AES-GCM is known to the libsrt (1.5.7) of the new FFmpeg only.
    clear, counter, galois = "", srt.PASSPHRASE, f"{srt.PASSPHRASE}&cryptomode=2"
    cases = [(program, words) for program in srt.SPELLINGS for words in (clear, counter)]
    for number, (program, words) in enumerate([*cases, ("ffmpeg new", galois)]):
        name = f"{program}-{number}".replace(" ", "-")
        theirs = (srt.PASSPHRASE,) if words else ()
        publisher, player, url = _listening(program, *theirs)
        yield Relayed(f"pull/{name}", f'source = "{url}?{words}"', publisher, url, rtmp)
        publisher, player, url = _listening(program, *theirs)
        yield Relayed(f"push/{name}", f'push = ["{url}?{words}"]', from_rtmp, "", player, url)
    url = str(other.endpoints.srt)
    yield Relayed(
        "pull/penstock",
        f'source = "{url}/live/one?{srt.PASSPHRASE}"\nsource_on_demand = true',
        srt.publisher("ffmpeg new", srt.PASSPHRASE),
        f"{url}/live/one",
        rtmp,
    )
    yield Relayed(
        "push/penstock",
        f'push = ["{url}?{srt.PASSPHRASE}&streamid=publish:live/two"]',
        from_rtmp,
        "",
        srt.player("ffmpeg new", srt.PASSPHRASE),
        f"{url}/live/two",
    )


def test_listeners_are_pulled_from_and_pushed_to(other: Penstock, folder: Path) -> None:
    """Of FFmpeg, GStreamer and srt-live-transmit, in clear and encrypted, by AES-GCM as well; and another penstock."""
    cases = list(_relayed(other))
    config = "".join(f'[streams."{case.name}"]\nreconnect_grace = 0\n{case.table}\n' for case in cases)
    for case in cases:
        SHORT.frames(case.publisher.container(SHORT))
    with penstock(folder / "relay", config=config) as relay, relay.explained():

        def run(case: Relayed) -> str:
            own = folder / case.name
            url = case.url or relay.endpoints.url("rtmp", case.name)
            at = Endpoints(srt=case.played) if case.played else relay.endpoints
            (outcome,) = cross_command(
                at,
                case.publisher.argv(SHORT, url, own),
                lambda: case.publisher.sent(SHORT, own),
                SHORT,
                [case.player],
                "" if case.played else case.name,
                own,
                same_dts=True,
                unsent_sound=case.publisher.unsent_sound(SHORT),
            )
            return "" if outcome.report.ok else f"{case.name}: {outcome}"

        with ThreadPoolExecutor(6) as lanes:
            problems = list(filter(None, lanes.map(run, cases)))
        assert not problems, "\n".join(problems)


def test_who_is_connected_is_told_that_the_server_stops(folder: Path) -> None:
    """FFmpeg and srt-live-transmit leave at the goodbye: without one they would wait five seconds for a word."""
    peers: list[Publisher | Player] = [
        srt.publisher("ffmpeg new"),
        srt.player("ffmpeg 5.1"),
        srt.player(srt.SRT),
    ]
    children: list[Child] = []
    with penstock(folder / "server") as server, server.explained():
        for peer in peers:
            work = folder / peer.program.replace(" ", "-")
            work.mkdir()
            argv = peer.argv(CLIP, f"{server.endpoints.srt}/live/last", work)
            children.append(Child.start(peer.program, argv, work / "log"))
            time.sleep(1)
        came, deadline = folder / srt.SRT / "srt.ts", time.monotonic() + 5
        while not came.stat().st_size:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        try:
            assert all(child.running for child in children)
            server.child.process.send_signal(signal.SIGTERM)
            assert server.child.wait(STOP_LIMIT)
            assert server.child.process.returncode == 0
            wait_all(children, 3)
            assert [child.name for child in children if child.running] == []
        finally:
            stop_all(children)
