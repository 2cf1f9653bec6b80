"""KiB of resident memory for each further player: ``python -m bench.memory``.

Between two crowds of different size, each in front of a fresh server. What the kernel holds for sockets is
not in it.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from bench import report
from bench.contestants import PROTOCOLS, expand
from bench.fanout import machine, measure, numbers, say, words
from bench.paths import RESULTS
from bench.tools import Unavailable


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.memory", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--players", type=numbers, default=[100, 1000], help="the smaller and the larger crowd"
    )
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--settle", type=float, default=2)
    parser.add_argument("--contestants", type=words, default=["ours"])
    parser.add_argument("--protocols", type=words, default=list(PROTOCOLS))
    parser.add_argument("--loops", type=lambda t: t.split(","), default=[""])
    parser.add_argument("--out", type=Path, help="page to put the table into")
    options = parser.parse_args()
    facts = machine("bench.memory")
    rows: list[dict[str, Any]] = []
    refused: list[str] = []
    for protocol in options.protocols:
        for c in expand(options.contestants, protocol, ["picture"], options.loops):
            for run in range(options.runs):
                try:
                    rows += [measure(c, players, options) | {"run": run} for players in options.players]
                except Unavailable as exc:
                    refused.append(f"- {c.name} ({report.TITLES[protocol]}): not run: {exc}")
                    break
            say(f"{c.name} ({protocol}) done")
    lines = report.memory_table(rows) if rows else []
    text = "\n".join([report.where(facts), "", *lines, "", *refused])
    result = {"machine": facts, "rows": rows, "refused": refused}
    report.finish(result, text, raw=RESULTS / "memory.json", mark="memory", page=options.out)


if __name__ == "__main__":
    main()
