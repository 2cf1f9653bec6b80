"""The fan-out side by side: ``python -m bench.fanout --players 300,1000``.

Every contestant is started anew for each run, pinned to core 0; publisher and players are on core 1. Runs are
interleaved, so that a noisy minute hits everybody.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench import clip, plot, report
from bench.contestants import OFFERS, PROTOCOLS, WINDOWS, Contestant, expand, running, source_version
from bench.paths import RESULTS
from bench.tools import LOAD_CORE, SERVER_CORE, Unavailable, program

Row = dict[str, Any]
DISTURBED = 0.10  # share of a core; a quiet machine shows 0.01 to 0.03


def measure(c: Contestant, players: int, options: argparse.Namespace) -> Row:
    """One run of one contestant. Raises Unavailable with the reason."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name, running(c, Path(name)) as server:
        idle = server.process.rss_kib()
        command = ["taskset", "-c", str(LOAD_CORE), program("players"), "--protocol", server.protocol]
        command += ["--url", server.url, "--players", str(players), "--seconds", str(options.seconds)]
        command += ["--settle", str(options.settle), "--server-core", str(SERVER_CORE)]
        command += ["--server-pid", ",".join(map(str, server.process.pids()))]
        command += ["--chunk", str(clip.CHUNK), "--fps", str(clip.FPS)]
        limit = options.seconds + options.settle + players / 250 + 60
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=limit)
        except subprocess.TimeoutExpired as exc:
            raise Unavailable(f"the players did not end within {limit:.0f} s") from exc
        if done.returncode or not done.stdout:
            said = (done.stderr.strip().splitlines() or [server.process.last_words()])[-1]
            raise Unavailable(f"no player got a picture: {said}")
        row: Row = json.loads(done.stdout)
    gbit = row["bytes"] * 8 / 1e9
    row |= {
        "protocol": c.protocol,
        "kind": c.kind,
        "window_setting": c.window,
        "loop": c.loop,
        "name": c.name,
    }
    row |= {"idle_rss_kib": idle, "gbit": gbit, "core": row["server_cpu"] / row["window"]}
    row["server_cost"] = row["server_cpu"] / gbit if gbit else 0.0
    row["receiver_cost"] = row["own_cpu"] / gbit if gbit else 0.0
    row["sum_cost"] = row["server_cost"] + row["receiver_cost"]
    # What others took of the two cores; the publisher's part of core 1 is small.
    row["others"] = max(row["server_core_busy"] - row["core"], 0.0)
    row["others_load"] = max(row["own_core_busy"] - row["own_cpu"] / row["window"], 0.0)
    row["disturbed"] = row["others"] > DISTURBED or row["others_load"] > DISTURBED
    row["saturated"] = row["core"] >= 0.90 or row["share"] < 0.995
    return row


def machine(module: str) -> dict[str, str]:
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    uname = os.uname()
    return {
        "cpu": f"{model}, {os.cpu_count()} cores",
        "kernel": f"{uname.sysname} {uname.release} {uname.machine}",
        # Whose build it is decides as much as the version does.
        "python": f"{sys.version.split()[0]} ({Path(sys.executable).resolve()})",
        "date": datetime.datetime.now(datetime.UTC).strftime("%d %b %Y %H:%M UTC"),
        "command": f"python -m {module} " + " ".join(sys.argv[1:]),
        "penstock": source_version(),
    }


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def measure_all(options: argparse.Namespace) -> tuple[list[Row], dict[str, str]]:
    """All rows, and the reason for each contestant that could not be run."""
    contestants = [
        c
        for p in options.protocols
        for c in expand(options.contestants, p, options.windows, options.loops, options.pythons)
    ]
    rows: list[Row] = []
    refused: dict[str, str] = {}
    total = len(options.players) * options.runs * len(contestants)
    done = 0
    for players in options.players:
        for run in range(options.runs):
            for c in contestants:
                done += 1
                key = f"{c.name} ({c.protocol}) at {players} players"
                if key in refused:
                    continue
                try:
                    row = measure(c, players, options)
                except Unavailable as exc:
                    refused[key] = str(exc)
                    say(f"[{done}/{total}] {key}: not run: {exc}")
                    continue
                rows.append(row | {"run": run})
                delay = row["delay_ms"]["p50"] if row["delay_ms"] else float("nan")
                cost = f"{row['server_cost']:.3f} + {row['receiver_cost']:.3f} cpu-s/Gbit"
                got = f"{row['core']:.0%} of the core, {row['share']:.1%} delivered"
                say(f"[{done}/{total}] {key}: {cost}, {got}, delay {delay:.1f} ms")
    return rows, refused


def words(text: str) -> list[str]:
    return [w for w in text.split(",") if w]


def numbers(text: str) -> list[int]:
    return [int(w) for w in words(text)]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.fanout", description=__doc__.splitlines()[0])
    parser.add_argument("--players", type=numbers, default=[100, 300, 600, 1000])
    parser.add_argument("--seconds", type=float, default=10, help="length of one measurement")
    parser.add_argument(
        "--settle", type=float, default=3, help="pause between the last join and the measurement"
    )
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--contestants", type=words, default=list(OFFERS), help=",".join(OFFERS))
    parser.add_argument("--protocols", type=words, default=list(PROTOCOLS), help=",".join(PROTOCOLS))
    parser.add_argument("--windows", type=words, default=list(WINDOWS), help="of ours and of the floor")
    parser.add_argument(
        "--loops", type=lambda t: t.split(","), default=[""], help="of ours, e.g. uvloop,asyncio,trio"
    )
    parser.add_argument(
        "--pythons",
        type=lambda t: [(label, path) for label, _, path in (w.partition("=") for w in words(t))],
        default=[("", sys.executable)],
        help="of ours, LABEL=PATH each, with penstock installed: what the interpreter's build costs",
    )
    parser.add_argument("--out", type=Path, help="page to put the tables into; the plot goes beside it")
    parser.add_argument("--section", default="fanout", help="of that page; another than fanout has no plot")
    parser.add_argument("--raw", type=Path, default=RESULTS / "fanout.json", help="where raw results go")
    parser.add_argument("--plot-players", type=int, help="number of players in the plot (300 if measured)")
    parser.add_argument(
        "--from-raw", action="store_true", help="no measuring: tables and plot from --raw again"
    )
    return parser.parse_args()


def main() -> None:
    options = parse()
    if (os.cpu_count() or 1) < 2:
        raise SystemExit("bench needs two cores: one for the server, one for publisher and players")
    if options.from_raw:
        result = json.loads(options.raw.read_text())
    else:
        facts = machine("bench.fanout")
        rows, refused = measure_all(options)
        result = {"machine": facts, "rows": rows, "refused": refused}
        options.raw.parent.mkdir(parents=True, exist_ok=True)
        options.raw.write_text(json.dumps(result, indent=1))
    levels = sorted({r["players"] for r in result["rows"]})
    if not levels:
        for name, reason in result["refused"].items():
            say(f"{name}: {reason}")
        raise SystemExit("nothing could be measured")
    if options.out is not None and options.section != "fanout":
        report.insert(options.out, options.section, report.tables(result))
        return
    shown = options.plot_players or (300 if 300 in levels else levels[-1])
    drawing = plot.draw(result["rows"], shown)
    text = report.tables(result, "fanout.svg", shown)
    if options.out is None:
        (options.raw.parent / "fanout.svg").write_text(drawing)
        print(text)
        return
    options.out.with_name("fanout.svg").write_text(drawing)
    report.insert(options.out, "fanout", text)


if __name__ == "__main__":
    main()
