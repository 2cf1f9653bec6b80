"""Run what does no I/O under coverage: each of its modules has at least 90 % of its branches taken.

For parsers the contract alone counts, and each has to be called; for the kernel its own unit tests do.
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
CONTRACT = Path(__file__).with_name("test_parsers.py")
KERNEL = Path(__file__).parents[1] / "kernel"


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


def run(measured: coverage.Coverage, tests: Iterable[Path], *arguments: str) -> int:
    """pytest's exit status."""
    measured.start()
    try:
        return int(pytest.main([*map(str, tests), "-q", "-p", "no:cacheprovider", *arguments]))
    finally:
        measured.stop()


def short_of(measured: coverage.Coverage, names: Iterable[str], *, parsing: bool = False) -> list[str]:
    """A line for each module of too small a share, and for each parser that was never called."""
    # Imported only after the first run: what they import must be measured from its first line on.
    from tests.contracts.source import modules, parsers

    wanted, short = set(names), list[str]()
    branches = hit = 0
    for module in modules():
        if module.name not in wanted:
            continue
        analysis = measured._analyze(str(module.path))  # pyright: ignore[reportPrivateUsage]
        total, taken, lines = shares(analysis)
        branches, hit = branches + total, hit + taken
        share = 100 * taken / total if total else 100.0
        if share < REQUIRED:
            short.append(f"{module.name}: {share:.0f} % of {total} branches; not taken: {lines}")
        short += [
            f"{module.name}: {parser.name} is never called"
            for parser in (parsers(module) if parsing else ())
            if not parser.body & analysis.executed
        ]
    print(f"{hit} of {branches} branches of {len(wanted)} modules: {100 * hit / max(branches, 1):.1f} %")
    return short


def main(arguments: Iterable[str] = ()) -> int:
    """Exit status 0 where all is reached."""
    measured = coverage.Coverage(
        branch=True,
        data_file=None,
        config_file=False,
        source=[
            "penstock",
            "penstock_formats",
            "penstock_codecs",
            "penstock_rtmp",
            "penstock_rtsp",
            "penstock_hls",
        ],
    )
    if failed := run(measured, [CONTRACT], "-k", "not seeds", *arguments):
        return failed
    from tests.contracts.source import KERNEL_IO_FILES, modules
    from tests.contracts.table import MODULES

    short = short_of(measured, MODULES, parsing=True)
    kernel = [
        module
        for module in modules()
        if module.name.startswith("penstock.") and module.path.name not in KERNEL_IO_FILES
    ]
    # A stream is half of what a feed does: that one's tests count for it as well.
    tests = [KERNEL / f"test_{name}.py" for name in (*(module.path.stem for module in kernel), "feed")]
    # One loop is enough here: the three differ in what they do, not in what they are asked.
    if failed := run(measured, filter(Path.exists, tests), "-k", "not uvloop and not trio", *arguments):
        return failed
    short += short_of(measured, (module.name for module in kernel))
    print("\n".join(short), file=sys.stderr)
    return int(bool(short))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
