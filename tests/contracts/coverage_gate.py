"""What does no I/O is tested well: each of its modules has at least 90 % of its branches taken.

``python -m tests.contracts.coverage_gate`` runs the tests that count; with a FOLDER it reads what ``PENSTOCK_BRANCHES=FOLDER
pytest`` has measured.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import coverage
from coverage.results import Analysis

from tests.branches import CONTRACT, KERNEL, counts_for, measuring
from tests.contracts.source import KERNEL_IO_FILES, Module, modules, parsers
from tests.contracts.table import MODULES

REQUIRED = 90.0
"""Percent of branches, for each module by itself: an average would hide the parser that nobody tries."""


def shares(analysis: Analysis) -> tuple[int, int, str]:
    """Branches of a module, those taken, and the lines that begin those not taken."""
    stats = analysis.branch_stats().values()
    missing = sorted(analysis.missing_branch_arcs().items())
    untaken = ", ".join(f"{line}->{'|'.join(map(str, ends))}" for line, ends in missing)
    return sum(exits for exits, _ in stats), sum(taken for _, taken in stats), untaken


def short_of(measured: coverage.Coverage, wanted: list[Module], *, parsing: bool = False) -> list[str]:
    """A line for each module of too small a share, and for each parser that was never called."""
    short = list[str]()
    branches = hit = 0
    for module in wanted:
        analysis = measured._analyze(str(module.path))  # pyright: ignore[reportPrivateUsage]
        total, taken, untaken = shares(analysis)
        branches, hit = branches + total, hit + taken
        share = 100 * taken / total if total else 100.0
        if share < REQUIRED:
            short.append(f"{module.name}: {share:.0f} % of {total} branches; not taken: {untaken}")
        short += [
            f"{module.name}: {parser.name} is never called"
            for parser in (parsers(module) if parsing else ())
            if not parser.body & analysis.executed
        ]
    print(f"{hit} of {branches} branches of {len(wanted)} modules: {100 * hit / max(branches, 1):.1f} %")
    return short


def run(folder: Path, *arguments: str) -> int:
    """The exit status of the tests that count, which leave in `folder` what they measured."""
    tests = [CONTRACT, *(file for file in KERNEL.glob("test_*.py") if counts_for(file, ""))]
    chosen = ["-k", "not seeds and not uvloop and not trio", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *map(str, tests), *chosen, *arguments]
    return subprocess.run(
        command, env={**os.environ, "PENSTOCK_BRANCHES": str(folder)}, check=False
    ).returncode


def judge(folder: Path) -> int:
    """Exit status 0 where all is reached."""
    sources = modules()
    parsing = [module for module in sources if module.name in MODULES]
    kernel = [m for m in sources if m.name.startswith("penstock.") and m.path.name not in KERNEL_IO_FILES]
    short = list[str]()
    for name, wanted in (("parsers", parsing), ("kernel", kernel)):
        measured = measuring(folder, name)
        measured.combine(keep=True, strict=True)
        short += short_of(measured, wanted, parsing=name == "parsers")
    print("\n".join(short), file=sys.stderr)
    return int(bool(short))


def main(arguments: list[str]) -> int:
    if arguments and Path(arguments[0]).is_dir():
        return judge(Path(arguments[0]))
    with tempfile.TemporaryDirectory() as folder:
        return run(Path(folder), *arguments) or judge(Path(folder))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
