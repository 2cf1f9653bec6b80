"""Many joins at once: ``python -m bench.joins --players 1000 --within 2``.

What the joins do to the server's event loop is seen from outside: by an RTSP connection that asks for OPTIONS
every 5 ms, and by the largest gap in what a player gets that was there before. Both run with priority over
the joining players.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import report
from bench.contestants import PROTOCOLS, Contestant, expand, running
from bench.fanout import machine, numbers, say, words
from bench.paths import RESULTS
from bench.tools import LOAD_CORE, SERVER_CORE, Unavailable, program

LEAD = 1.5  # seconds that the canary plays before the joins begin


def load(name: str, *arguments: str) -> subprocess.Popen[str]:
    command = ["taskset", "-c", str(LOAD_CORE), program(name), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def answer(child: subprocess.Popen[str], seconds: float) -> dict[str, Any]:
    try:
        out, said = child.communicate(timeout=seconds)
    except subprocess.TimeoutExpired as exc:
        child.kill()
        child.communicate()
        raise Unavailable("the load did not end in time") from exc
    if not out:
        raise Unavailable((said.strip().splitlines() or ["no message"])[-1])
    found: dict[str, Any] = json.loads(out)
    return found


def measure(c: Contestant, players: int, within: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="bench-") as name, running(c, Path(name)) as server:
        span = LEAD + within + 3
        common = ["--protocol", server.protocol, "--url", server.url, "--server-core", str(SERVER_CORE)]
        alone = ["--players", "1", "--tick", "0", "--settle", "0.2", "--urgent", "1"]
        canary = load("players", *common, *alone, "--seconds", str(span))
        ping = None
        if server.rtsp_port:
            ping = load("ping", f"rtsp://127.0.0.1:{server.rtsp_port}/live/stream", str(span))
        time.sleep(LEAD)
        pids = ",".join(map(str, server.process.pids()))
        pace = ["--players", str(players), "--ramp", str(players / within), "--inflight", str(players)]
        crowd = load("players", *common, *pace, "--settle", "0.5", "--seconds", "1", "--server-pid", pids)
        joined = answer(crowd, span + 60)
        row = {"name": c.name, "protocol": c.protocol, "players": players, "joined": joined}
        row["canary"] = answer(canary, span + 60)
        row["ping"] = answer(ping, span + 60) if ping else None
        return row


def table(rows: list[dict[str, Any]]) -> str:
    lines = [
        "| contestant | protocol | joined | first key frame after the play request p50 / p99 / max, ms "
        "| after connecting p50 / p99 / max, ms | canary's largest gap, ms | OPTIONS p50 / p99 / max, ms |",
        "|---|---|---|---|---|---|---|",
    ]
    parts = ("p50", "p99", "max")
    for r in rows:
        j, gap = r["joined"], r["canary"]["longest_gap_ms"]
        cells = [
            r["name"],
            report.TITLES[r["protocol"]],
            f"{j['playing']} of {j['players']} in {j['join_seconds']:.1f} s",
        ]
        cells += [report.triple([j], "first_key_ms", parts), report.triple([j], "connect_to_key_ms", parts)]
        cells.append(f"{gap['max']:.0f}" if gap else "-")
        cells.append(report.triple([r["ping"]], "answer_ms", parts) if r["ping"] else "-")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.joins", description=__doc__.splitlines()[0])
    parser.add_argument("--players", type=numbers, default=[1000])
    parser.add_argument("--within", type=float, default=2, help="seconds in which they join")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--contestants", type=words, default=["ours"])
    parser.add_argument("--protocols", type=words, default=list(PROTOCOLS))
    parser.add_argument("--windows", type=words, default=["picture"])
    parser.add_argument("--loops", type=lambda t: t.split(","), default=[""])
    parser.add_argument("--out", type=Path, help="page to put the table into")
    options = parser.parse_args()
    facts = machine("bench.joins")
    rows: list[dict[str, Any]] = []
    refused: list[str] = []
    for players in options.players:
        for protocol in options.protocols:
            for c in expand(options.contestants, protocol, options.windows, options.loops):
                for _ in range(options.runs):
                    try:
                        rows.append(measure(c, players, options.within))
                    except Unavailable as exc:
                        refused.append(f"- {c.name} ({report.TITLES[protocol]}): not run: {exc}")
                        break
                    say(table(rows[-1:]).splitlines()[-1])
    text = "\n".join([report.where(facts), "", table(rows), "", *refused])
    result = {"machine": facts, "rows": rows, "refused": refused}
    report.finish(result, text, raw=RESULTS / "joins.json", mark="joins", page=options.out)


if __name__ == "__main__":
    main()
