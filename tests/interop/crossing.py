"""One publisher, one clip, several players at once, and what each of them got."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from attrs import evolve, frozen

from .binaries import require
from .clients import Player, Publisher
from .clips import Clip
from .compare import Report, Rules, compare
from .frames import FrameList
from .process import Child, stop_all, wait_all

JOIN_AFTER = 1.2
"""Seconds after the publisher's start when players join: in the middle of the first GOP or a little later."""


@frozen
class Endpoints:
    """Where a server listens: ``rtmp://host:port``, ``rtsp://host:port`` ..., None where it does not."""

    rtmp: str | None = None
    rtsp: str | None = None
    http: str | None = None
    srt: str | None = None

    def url(self, scheme: str, path: str) -> str:
        base = {"rtmp": self.rtmp, "rtsp": self.rtsp, "srt": self.srt}.get(scheme, self.http)
        if base is None:
            raise LookupError(f"the server does not listen for {scheme}")
        # WebSockets are asked for where HTTP is: ws://, or wss:// in place of https://.
        return f"{base.replace('http', 'ws', 1) if scheme in ('ws', 'wss') else base}/{path}"


@frozen
class Outcome:
    """What one player got; `words` are the last lines that the publisher and it said, for a failure's
    message.
    """

    player: Player
    report: Report
    words: str

    def __str__(self) -> str:
        return f"--- {self.player.name}\n{self.report}" + ("" if self.report.ok else f"\n{self.words}")


@frozen
class Crossing:
    """One publisher with one clip, and all the players that watch it."""

    publisher: Publisher
    clip: Clip
    players: tuple[Player, ...]

    @property
    def name(self) -> str:
        return f"{self.publisher.name} {self.clip.name}".replace(" ", "-")

    @property
    def needs(self) -> tuple[str, ...]:
        return tuple(
            dict.fromkeys(need for client in (self.publisher, *self.players) for need in client.needs)
        )


def cross(
    endpoints: Endpoints,
    publisher: Publisher,
    clip: Clip,
    players: Sequence[Player],
    path: str,
    work: Path,
    *,
    join_after: float = JOIN_AFTER,
) -> list[Outcome]:
    """Publish `clip` once to `path`, play it with all `players`, compare; every child is ended before it
    returns.
    """
    argv = publisher.argv(clip, endpoints.url(publisher.scheme, path), work)

    def source() -> FrameList:
        return publisher.sent(clip, work)

    return cross_command(
        endpoints,
        argv,
        source,
        clip,
        players,
        path,
        work,
        same_dts=publisher.scheme != "rtsp",
        unsent_sound=publisher.unsent_sound(clip),
        join_after=join_after,
    )


def cross_all(
    endpoints: Endpoints, pairs: Sequence[tuple[Publisher, Sequence[Player]]], clip: Clip, work: Path
) -> list[Outcome]:
    """Every publisher with its own players, all at once; `work` names the paths."""
    crossings = [Crossing(publisher, clip, tuple(players)) for publisher, players in pairs]
    return cross_each(endpoints, crossings, work)


def cross_each(
    endpoints: Endpoints, crossings: Sequence[Crossing], work: Path, *, join_after: float = JOIN_AFTER
) -> list[Outcome]:
    """The same of different clips."""
    require(*(need for crossing in crossings for need in crossing.needs))
    for crossing in crossings:
        # Made beforehand: encoding beside a running crossing would take its two cores.
        crossing.clip.frames(crossing.publisher.container(crossing.clip))

    def run(number: int) -> list[Outcome]:
        one, path = crossings[number], f"live/{work.name}-{number}"
        folder = work / str(number)
        return cross(endpoints, one.publisher, one.clip, one.players, path, folder, join_after=join_after)

    with ThreadPoolExecutor(len(crossings)) as lanes:
        return [outcome for some in lanes.map(run, range(len(crossings))) for outcome in some]


def cross_command(
    endpoints: Endpoints,
    argv: list[str],
    source: FrameList | Callable[[], FrameList],
    clip: Clip,
    players: Sequence[Player],
    path: str,
    work: Path,
    *,
    same_dts: bool,
    unsent_sound: int = 0,
    join_after: float = JOIN_AFTER,
) -> list[Outcome]:
    """The same for any publishing command; `source` is what it sends, or tells so afterwards."""
    work.mkdir(parents=True, exist_ok=True)
    work.chmod(0o755)
    sender = Child.start("publisher", argv, work / "publisher.log")
    running: list[tuple[Player, Child, Path]] = []
    try:
        time.sleep(join_after)
        for number, player in enumerate(players):
            folder = work / f"{number}-{player.name.replace(' ', '-')}"
            folder.mkdir()
            # VLC runs as another user where we are root.
            folder.chmod(0o777)
            url = endpoints.url(player.scheme, path)
            child = Child.start(player.name, player.argv(clip, url, folder), folder / "log", player.user)
            running.append((player, child, folder))
        if not sender.wait(clip.seconds + 15):
            sender.stop()
        patience = max((player.patience for player in players), default=0.0)
        wait_all([child for _, child, _ in running], patience)
    finally:
        sender.stop()
        stop_all([child for _, child, _ in running])
    published = source() if callable(source) else source
    outcomes: list[Outcome] = []
    for player, child, folder in running:
        rules = _rules(player, same_dts=same_dts, unsent_sound=unsent_sound)
        report = compare(published, player.frames(folder), rules)
        words = (
            f"publisher: {' '.join(argv)}\n{sender.words()}\nplayer: {' '.join(child.argv)}\n{child.words()}"
        )
        outcomes.append(Outcome(player, report, words))
    return outcomes


def _rules(player: Player, *, same_dts: bool, unsent_sound: int) -> Rules:
    rules = player.rules
    return evolve(rules, same_dts=rules.same_dts and same_dts, unsent_sound=unsent_sound)
