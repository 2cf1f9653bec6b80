"""Run the contract under coverage: every parser is reached, with at least 90 % of the branches of its module.

``python -m tests.contracts.coverage_gate``; other projects' seeds are left out, since not every checkout has them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import coverage
import pytest
from coverage.results import Analysis

REQUIRED = 90.0
"""Percent of branches, for each module by itself: an average would hide the parser that nobody tries."""
TESTS = Path(__file__).with_name("test_parsers.py")


def shares(analysis: Analysis) -> tuple[int, int, str]:
    """Branches of a module, those taken, and the lines that begin those not taken."""
    missing = analysis.missing_branch_arcs()
    stats = analysis.branch_stats()
    total = sum(exits for exits, _ in stats.values())
    taken = sum(taken for _, taken in stats.values())
    lines = ", ".join(
        f"{line}->{'|'.join(str(end) for end in ends)}" for line, ends in sorted(missing.items())
    )
    return total, taken, lines


def main(arguments: Iterable[str] = ()) -> int:
    """Exit status 0 where all is reached."""
    measured = coverage.Coverage(
        branch=True,
        data_file=None,
        config_file=False,
        source=["penstock", "penstock_formats", "penstock_codecs", "penstock_rtmp", "penstock_rtsp"],
    )
    measured.start()
    try:
        failed = pytest.main([str(TESTS), "-q", "-p", "no:cacheprovider", "-k", "not seeds", *arguments])
    finally:
        measured.stop()
    if failed:
        return int(failed)
    # Imported only now: what they import must be measured from its first line on.
    from tests.contracts.source import modules, parsers
    from tests.contracts.table import MODULES

    short: list[str] = []
    branches = hit = 0
    for module in modules():
        if module.name not in MODULES:
            continue
        analysis = measured._analyze(str(module.path))  # pyright: ignore[reportPrivateUsage]
        total, taken, lines = shares(analysis)
        branches, hit = branches + total, hit + taken
        share = 100 * taken / total if total else 100.0
        if share < REQUIRED:
            short.append(f"{module.name}: {share:.0f} % of {total} branches; not taken: {lines}")
        reached = analysis.executed
        short += [
            f"{module.name}: {parser.name} is never called"
            for parser in parsers(module)
            if not parser.body & reached
        ]
    print(f"{hit} of {branches} branches of {len(MODULES)} modules: {100 * hit / max(branches, 1):.1f} %")
    print("\n".join(short), file=sys.stderr)
    return int(bool(short))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
