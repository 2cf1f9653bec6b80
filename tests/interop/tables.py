"""What crossed, as Markdown: every single crossing, and the README's summary of them."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence

from attrs import frozen

from .clients import Player
from .crossing import Crossing, Outcome

Results = Sequence[tuple[Crossing, Sequence[Outcome]]]


@frozen
class _Cell:
    """One player's go at one crossing."""

    crossing: Crossing
    outcome: Outcome

    @property
    def player(self) -> Player:
        return self.outcome.player


def _cells(results: Results) -> list[_Cell]:
    return [_Cell(crossing, outcome) for crossing, outcomes in results for outcome in outcomes]


def table(results: Results, date: datetime.date) -> str:
    """A row for each publisher and clip, a column for each player; "yes" only where frames crossed."""
    players = list(dict.fromkeys(cell.player.name for cell in _cells(results)))
    lines = [
        f"Last run: {date.isoformat()}. Rows publish, columns play; "
        "*yes*: every coded frame arrived, in order, in time.",
        "",
        "| publisher | tracks | " + " | ".join(players) + " |",
        "|" + " --- |" * (len(players) + 2),
    ]
    for crossing, outcomes in results:
        by_name = {outcome.player.name: outcome for outcome in outcomes}
        cells: list[str] = []
        for player in players:
            outcome = by_name.get(player)
            cells.append("–" if outcome is None else "yes" if outcome.report.ok else "no")
        lines.append(f"| {crossing.publisher.name} | {crossing.clip.name} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "–: the client has no such codec there, or was not asked: players over HTTP watch one of the publishers. "
        "Of VLC, which writes times of its own, bytes and order are compared.",
    ]
    return "\n".join(lines) + "\n"


def summary(results: Results, date: datetime.date) -> str:
    """Which clients published and played over what, and which codecs came through; "yes" where all of these crossed."""
    cells = _cells(results)
    lines = [f"Last run: {date.isoformat()}, {len(cells)} crossings.", ""]
    lines += _counted(
        cells, "published by", lambda c: c.crossing.publisher.program, lambda c: c.crossing.publisher.protocol
    )
    lines += _counted(cells, "played by", lambda c: c.player.program, lambda c: c.player.protocol)
    lines += _counted(
        cells, "tracks, played over", lambda c: c.crossing.clip.name, lambda c: c.player.protocol
    )
    failed: dict[str, list[str]] = {}
    for cell in cells:
        if not cell.outcome.report.ok:
            source = f"{cell.crossing.clip.name} by {cell.crossing.publisher.name}"
            failed.setdefault(source, []).append(cell.player.name)
    if failed:
        lines += ["Not exact:", ""]
        lines += [f"- {source}, played by {', '.join(players)}" for source, players in failed.items()]
    return "\n".join(lines).rstrip() + "\n"


def _counted(
    cells: Sequence[_Cell], title: str, row: Callable[[_Cell], str], column: Callable[[_Cell], str]
) -> list[str]:
    rows, columns = (list(dict.fromkeys(map(of, cells))) for of in (row, column))
    lines = [f"| {title} | " + " | ".join(columns) + " |", "|" + " --- |" * (len(columns) + 1)]
    for name in rows:
        words: list[str] = []
        for protocol in columns:
            here = [c.outcome.report.ok for c in cells if row(c) == name and column(c) == protocol]
            words.append("–" if not here else "yes" if all(here) else f"{sum(here)} of {len(here)}")
        lines.append(f"| {name} | " + " | ".join(words) + " |")
    return [*lines, ""]
