"""The matrix of publishers, players and codecs: a pairwise subset for pytest, and all of it for the README's summary.

``python -m tests.interop.matrix --full --out docs/matrix.md`` runs every crossing, writes the dated table, and its summary
into README.md between its markers.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import sys
import tempfile
import traceback
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import clients, dash, hls, progressive, srt, tables
from .binaries import missing
from .clients import Player
from .clips import CLIPS
from .compare import Report
from .crossing import Crossing, Endpoints, Outcome, cross
from .server import penstock

CODEC_SETS = (
    "h264-aac", "h264b-aac44", "hevc-aac", "hevc-opus", "h264-opus", "h264-pcma", "h264-pcmu",
    "h264-mp3", "av1-opus", "vp9-opus", "audio-only", "video-only", "vfr",
)  # fmt: skip
# srt-live-transmit sends what FFmpeg has muxed: test_srt has it as a publisher, too.
PUBLISHERS = (*clients.PUBLISHERS, *(p for p in srt.PUBLISHERS if p.program != srt.SRT))
PLAYERS = (*clients.PLAYERS, *srt.PLAYERS)
HTTP_PLAYERS = (*hls.PLAYERS, *dash.PLAYERS, *(p for p in progressive.PLAYERS if p.scheme != "wss"))
HTTP_SOURCE = "ffmpeg new rtmp"
"""Whom players over HTTP watch in the full matrix: it has every codec, and how it came is nothing to them."""
SETTINGS = ("server.reconnect_grace=0",)
"""An end is told at once."""
PLAYERS_AT_ONCE = 4
"""Players of one publisher in the subset: what two cores carry in real time beside the server."""
LANES = 3
"""Crossings at the same time: nearly all of each is waiting for a clip to play in real time."""
BEGIN, END = "<!-- matrix: begin -->", "<!-- matrix: end -->"


def possible(clips: Iterable[str] = CODEC_SETS, *, http: bool = False) -> list[Crossing]:
    """Every publisher with every clip that it has the codecs for, and every player that has them too.

    With `http` those over HTTP are among them.
    """
    return [
        Crossing(publisher, CLIPS[name], tuple(player for player in players if player.can(CLIPS[name])))
        for publisher in PUBLISHERS
        for players in [(*PLAYERS, *HTTP_PLAYERS) if http and publisher.name == HTTP_SOURCE else PLAYERS]
        for name in clips
        if publisher.can(CLIPS[name])
    ]


def pairwise(crossings: Sequence[Crossing], at_once: int = PLAYERS_AT_ONCE) -> list[Crossing]:
    """A small choice, the same one every time, in which each possible pair of two of the five values occurs.

    The values are the publishing program, its protocol, the clip, the playing program, its protocol.
    Greedy: the crossing that covers most pairs not yet covered comes next, the earlier one where two cover
    as many.
    """
    open_pairs: set[tuple[str, str]] = set()
    for crossing in crossings:
        for player in crossing.players:
            open_pairs |= _pairs(crossing, player)
    chosen: list[Crossing] = []
    while open_pairs:
        best: Crossing | None = None
        best_pairs: set[tuple[str, str]] = set()
        for crossing in crossings:
            covered: set[tuple[str, str]] = set()
            players: list[Player] = []
            for _ in range(min(at_once, len(crossing.players))):
                rest = [player for player in crossing.players if player not in players]
                player = max(rest, key=lambda p: len((_pairs(crossing, p) & open_pairs) - covered))
                if not (_pairs(crossing, player) & open_pairs) - covered:
                    break
                players.append(player)
                covered |= _pairs(crossing, player) & open_pairs
            if len(covered) > len(best_pairs):
                best, best_pairs = Crossing(crossing.publisher, crossing.clip, tuple(players)), covered
        if best is None:
            break
        chosen.append(best)
        open_pairs -= best_pairs
    return chosen


def _pairs(crossing: Crossing, player: Player) -> set[tuple[str, str]]:
    values = (
        f"from {crossing.publisher.program}",
        f"in {crossing.publisher.protocol}",
        f"clip {crossing.clip.name}",
        f"to {player.program}",
        f"out {player.protocol}",
    )
    return set(itertools.combinations(values, 2))


def run_one(endpoints: Endpoints, crossing: Crossing, work: Path) -> list[Outcome]:
    """One crossing against a running server; more players than `PLAYERS_AT_ONCE` take turns, each with a
    publish of its own.
    """
    outcomes: list[Outcome] = []
    for at in range(0, len(crossing.players), PLAYERS_AT_ONCE):
        players = crossing.players[at : at + PLAYERS_AT_ONCE]
        path, folder = f"live/{crossing.name}-{at}", work / f"{crossing.name}-{at}"
        try:
            outcomes += cross(endpoints, crossing.publisher, crossing.clip, players, path, folder)
        except Exception:  # noqa: BLE001 - what one left behind could not be read: the others go on
            unread = Report((traceback.format_exc(),), ())
            outcomes += [Outcome(player, unread, "") for player in players]
    return outcomes


def run_all(crossings: Sequence[Crossing], work: Path) -> list[tuple[Crossing, list[Outcome]]]:
    """Every crossing against one running server, `LANES` at a time, with a line for each as it ends."""
    for crossing in crossings:
        # Made beforehand: encoding beside a running crossing would take its two cores.
        crossing.clip.frames(crossing.publisher.container(crossing.clip))
    results: list[tuple[Crossing, list[Outcome]]] = []
    with penstock(work, *SETTINGS) as server, server.explained(), ThreadPoolExecutor(LANES) as lanes:
        futures = [lanes.submit(run_one, server.endpoints, crossing, work) for crossing in crossings]
        for number, (crossing, future) in enumerate(zip(crossings, futures, strict=True)):
            outcomes = future.result()
            results.append((crossing, outcomes))
            good = sum(outcome.report.ok for outcome in outcomes)
            print(f"{number + 1}/{len(crossings)} {crossing.name}: {good} of {len(outcomes)}", flush=True)
            for outcome in outcomes:
                if not outcome.report.ok:
                    print(outcome, flush=True)
    return results


def insert(readme: Path, text: str) -> bool:
    """Put `text` between the markers of a README; False where it has none."""
    if not readme.exists():
        return False
    whole = readme.read_text()
    head, begin, rest = whole.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        return False
    readme.write_text(f"{head}{BEGIN}\n{text}{END}{tail}")
    return True


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.interop.matrix", description=__doc__)
    parser.add_argument("--full", action="store_true", help="every crossing instead of the pairwise subset")
    parser.add_argument("--list", action="store_true", help="only say what would run")
    parser.add_argument(
        "--clip", action="append", choices=sorted(CLIPS), help="only these clips; may be repeated"
    )
    parser.add_argument("--publisher", help="only publishers whose name contains this")
    parser.add_argument("--player", help="only players whose name contains this")
    parser.add_argument("--out", type=Path, help="write the table here, and its summary into README.md")
    options = parser.parse_args(arguments)
    crossings = [
        Crossing(c.publisher, c.clip, tuple(p for p in c.players if (options.player or "") in p.name))
        for c in possible(options.clip or CODEC_SETS, http=options.full)
        if (options.publisher or "") in c.publisher.name
    ]
    chosen = [c for c in (crossings if options.full else pairwise(crossings)) if c.players]
    if options.list:
        for crossing in chosen:
            print(f"{crossing.name} -> {', '.join(player.name for player in crossing.players)}")
        print(f"{len(chosen)} crossings, {sum(len(c.players) for c in chosen)} players")
        return 0
    reason = missing(*{need for crossing in chosen for need in crossing.needs})
    if reason:
        print(reason, file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="penstock-matrix-") as folder:
        work = Path(folder)
        # Below it a client may run as another user.
        work.chmod(0o755)
        results = run_all(chosen, work)
    if options.out:
        date = datetime.datetime.now(datetime.UTC).date()
        options.out.write_text(f"# What crosses\n\n{tables.table(results, date)}")
        if not insert(Path("README.md"), tables.summary(results, date)):
            print("README.md has no markers for the table", file=sys.stderr)
    return 0 if all(outcome.report.ok for _, outcomes in results for outcome in outcomes) else 1


if __name__ == "__main__":
    raise SystemExit(main())
