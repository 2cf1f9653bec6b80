"""Which branches the tests take of what does no I/O, measured by any run of pytest that has ``PENSTOCK_BRANCHES`` set.

That names a folder, where `tests.contracts.coverage_gate` finds what was measured. For parsers the contract alone counts,
for the kernel its own unit tests.
"""

from __future__ import annotations

from collections.abc import Generator
from importlib import import_module
from pathlib import Path

import coverage
import pytest

from tests.contracts.source import KERNEL_IO_FILES, ROOT

CONTRACT = ROOT / "tests/contracts/test_parsers.py"
KERNEL = ROOT / "tests/kernel"
BESIDE = {"feed.py"}
"""Of the kernel's files that do I/O, those whose tests count: a stream is half of what a feed does."""


def counts_for(file: Path, test: str) -> str | None:
    """``parsers``, ``kernel`` or None: whose branches this test is to take."""
    if file == CONTRACT:
        # Other projects' seeds are left out: not every checkout has them.
        return None if "seeds" in test else "parsers"
    tested = file.name.removeprefix("test_")
    if file.parent != KERNEL or tested in KERNEL_IO_FILES - BESIDE:
        return None
    # One loop is enough here: the three differ in what they do, not in what they are asked.
    return None if "uvloop" in test or "trio" in test else "kernel"


def measuring(folder: Path, name: str, *, suffix: bool = False) -> coverage.Coverage:
    """Measures into a file of `folder`, or several with a `suffix` each; or reads what was measured so."""
    measured = coverage.Coverage(
        branch=True,
        data_file=str(folder / name),
        data_suffix=suffix,
        config_file=False,
        include=[f"{ROOT}/kernel/*", f"{ROOT}/plugins/*"],
    )
    measured.set_option("run:disable_warnings", ["already-imported"])
    return measured


class Branches:
    """A plugin of pytest: measures each test that counts into `folder`, in each of pytest's processes.

    What importing the kernel and the contract's table takes counts too: the table's messages are made by what it tests.
    """

    def __init__(self, folder: Path) -> None:
        kernel = [
            f"penstock.{file.stem}"
            for file in (ROOT / "kernel/penstock").glob("*.py")
            if file.name not in KERNEL_IO_FILES
        ]
        self._measured: dict[str, coverage.Coverage] = {}
        for name, imports in (("kernel", kernel), ("parsers", ["tests.contracts.table"])):
            self._measured[name] = measuring(folder, name, suffix=True)
            with self._measured[name].collect():
                for module in imports:
                    import_module(module)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        name = counts_for(item.path, item.name)
        if name is None:
            return (yield)
        with self._measured[name].collect():
            return (yield)

    def pytest_sessionfinish(self) -> None:
        for measured in self._measured.values():
            measured.save()
