"""Tables in Markdown, put between two marks of a page."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Row = dict[str, Any]
Key = tuple[str, int, str]

TITLES = {"rtmp": "RTMP", "http-flv": "HTTP-FLV", "rtsp-tcp": "RTSP over TCP", "rtsp-udp": "RTSP over UDP"}


def grouped(rows: list[Row]) -> dict[Key, list[Row]]:
    groups: dict[Key, list[Row]] = {}
    for row in rows:
        groups.setdefault((row["protocol"], row["players"], row["name"]), []).append(row)
    return groups


def median(rows: list[Row], *path: str) -> float | None:
    values = []
    for row in rows:
        value: Any = row
        for step in path:
            value = value[step] if value is not None else None
        if value is not None:
            values.append(float(value))
    return statistics.median(values) if values else None


def spread(rows: list[Row], name: str) -> str:
    values = sorted(r[name] for r in rows)
    middle = f"{statistics.median(values):.3f}"
    return middle if len(values) == 1 else f"{middle} ({values[0]:.3f}-{values[-1]:.3f})"


def triple(rows: list[Row], name: str, parts: tuple[str, ...]) -> str:
    values = [median(rows, name, part) for part in parts]
    return " / ".join("-" if v is None else f"{v:.1f}" if v < 100 else f"{v:.0f}" for v in values)


def ratio(rows: list[Row], floor: list[Row] | None, name: str) -> str:
    if not floor:
        return "-"
    mine, theirs = median(rows, name), median(floor, name)
    return "-" if not mine or not theirs else f"{mine / theirs:.2f}"


def kib_for_each_further_player(rows: list[Row]) -> dict[tuple[str, str], float]:
    """By protocol and name: between the fewest and the most players; over idle where there is one level."""
    found: dict[tuple[str, str], float] = {}
    by_name: dict[tuple[str, str], dict[int, list[Row]]] = {}
    for row in rows:
        by_name.setdefault((row["protocol"], row["name"]), {}).setdefault(row["players"], []).append(row)
    for key, levels in by_name.items():
        low, high = min(levels), max(levels)
        top = median(levels[high], "server_rss_kib") or 0.0
        if low == high:
            found[key] = (top - (median(levels[high], "idle_rss_kib") or 0.0)) / high
        else:
            found[key] = (top - (median(levels[low], "server_rss_kib") or 0.0)) / (high - low)
    return found


def floor_of(groups: dict[Key, list[Row]], row: Row) -> list[Row] | None:
    """The floor at the same window; datagrams are never merged, so they have one floor."""
    for rows in groups.values():
        other = rows[0]
        same = other["protocol"] == row["protocol"] and other["players"] == row["players"]
        window = row["protocol"] == "rtsp-udp" or other["window_setting"] == row["window_setting"]
        if other["kind"] == "floor" and same and window and row["window_setting"]:
            return rows
    return None


HEAD = (
    "| contestant | delivered | core | server cpu-s/Gbit | receiver | sum | server : floor | sum : floor "
    "| added delay p50 / p99 / max, ms | arrivals/s | first key frame p50 / p99, ms | lost packets |"
)


def table(groups: dict[Key, list[Row]], protocol: str, players: int) -> list[str]:
    lines = [HEAD, "|---" * HEAD.count(" | ") + "|---|"]
    for (p, n, name), rows in groups.items():
        if (p, n) != (protocol, players):
            continue
        first = rows[0]
        floor = floor_of(groups, first)
        share, core = median(rows, "share") or 0.0, median(rows, "core") or 0.0
        saturated = any(r["saturated"] for r in rows)
        others = max(max(r["others"], r["others_load"]) for r in rows)
        disturbed = f" *disturbed: others took {others:.0%}*" if any(r["disturbed"] for r in rows) else ""
        gone = max(r["closed"] + r["failed"] for r in rows)
        marks = [" **saturated**" if saturated else "", disturbed, f", {gone} gone" if gone else ""]
        delivered = f"{share:.1%}" + "".join(marks)
        key = "-" if first["kind"] == "floor" else triple(rows, "first_key_ms", ("p50", "p99"))
        lost = str(max(r["lost_packets"] for r in rows)) if protocol == "rtsp-udp" else "-"
        cells = [name, delivered, f"{core:.0%}", spread(rows, "server_cost"), spread(rows, "receiver_cost")]
        cells += [spread(rows, "sum_cost"), ratio(rows, floor, "server_cost"), ratio(rows, floor, "sum_cost")]
        arrivals = triple(rows, "arrivals_per_second", ("p50",))
        cells += [triple(rows, "delay_ms", ("p50", "p99", "max")), arrivals, key, lost]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def memory_table(rows: list[Row]) -> list[str]:
    sizes = kib_for_each_further_player(rows)
    levels = sorted({r["players"] for r in rows})
    title = (
        f"from {levels[0]} to {levels[-1]} players"
        if len(levels) > 1
        else f"over idle, at {levels[0]} players"
    )
    lines = [
        f"### Memory: KiB for each further player, {title}",
        "",
        "| contestant | protocol | KiB | MiB in all |",
    ]
    lines.append("|---|---|---|---|")
    groups = grouped(rows)
    for (protocol, name), size in sizes.items():
        if any(r["kind"] == "floor" for r in groups.get((protocol, levels[-1], name), [])):
            continue
        top = max(n for p, n, other in groups if (p, other) == (protocol, name))
        whole = (median(groups[protocol, top, name], "server_rss_kib") or 0.0) / 1024
        lines.append(f"| {name} | {TITLES[protocol]} | {size:.1f} | {whole:.0f} at {top} |")
    return lines


def where(facts: dict[str, str]) -> str:
    """On what, when, and with which command."""
    built = f"Python {facts['python']}; penstock {facts['penstock']}"
    return f"{facts['date']}: {facts['cpu']}; {facts['kernel']}; {built}.\n\n    {facts['command']}"


def tables(result: dict[str, Any], drawing: str = "", drawn_players: int = 0) -> str:
    facts, rows = result["machine"], result["rows"]
    groups = grouped(rows)
    runs = max(r["run"] for r in rows) + 1
    lines = [
        where(facts),
        "",
        f"{runs} interleaved run{'s' if runs > 1 else ''} each: median, and range in brackets.",
        "",
    ]
    if drawing:
        lines += [f"![cost against added delay at {drawn_players} players]({drawing})", ""]
    for protocol in dict.fromkeys(r["protocol"] for r in rows):
        for players in sorted({r["players"] for r in rows if r["protocol"] == protocol}):
            lines += [f"### {TITLES[protocol]}, {players} players", "", *table(groups, protocol, players), ""]
    lines += [*memory_table(rows), ""]
    if result["refused"]:
        lines += ["### Not run", ""]
        lines += [f"- {name}: {reason}" for name, reason in result["refused"].items()]
        lines.append("")
    return "\n".join(lines)


def finish(result: Mapping[str, Any], text: str, *, raw: Path, mark: str, page: Path | None) -> None:
    """Keep the raw `result` at `raw`, and put `text` into a page, or print it where there is none."""
    raw.parent.mkdir(parents=True, exist_ok=True)
    raw.write_text(json.dumps(result, indent=1))
    if page is None:
        print(text)
    else:
        insert(page, mark, text)


def insert(page: Path, mark: str, text: str) -> None:
    """Replace what stands between the marks; a page that has none gets them at its end."""
    begin, end = f"<!-- {mark}: begin -->", f"<!-- {mark}: end -->"
    old = page.read_text() if page.exists() else ""
    if begin not in old:
        old += f"\n{begin}\n{end}\n"
    before, _, rest = old.partition(begin)
    after = rest.partition(end)[2]
    page.write_text(f"{before}{begin}\n\n{text.strip()}\n\n{end}{after}")
