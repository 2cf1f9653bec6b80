"""Which tests run beside which, where pytest has several processes (``addopts``): many tests only wait for real clients.

The first process begins with what computes, and gives way to the others; these begin with what plays in real time.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs]

TESTS = Path(__file__).parent
COMPUTING = {"codecs", "contracts", "formats", "kernel", "rtmp", "rtsp"}
"""Folders whose tests mostly compute."""
TOGETHER = "faults"
"""The folder whose tests share one server and one canary, and take what the machine gives: one process has them all."""
LOW = 10
"""How much what computes gives way, as `os.nice` has it."""


def folder_of(nodeid: str) -> str:
    """The folder below this one, or the file in it."""
    return nodeid.partition("::")[0].removeprefix("tests/").partition("/")[0]


class Lanes(LoadScopeScheduling):  # type: ignore[misc]
    """A file of tests to a process, or the folder `TOGETHER`; pytest-xdist asks for it as for its own."""

    def _split_scope(self, nodeid: str) -> str:
        return TOGETHER if folder_of(nodeid) == TOGETHER else nodeid.partition("::")[0]

    def _assign_work_unit(self, node: Any) -> None:
        first = node is self.nodes[0]
        scopes = [scope for scope in self.workqueue if (folder_of(scope) in COMPUTING) is first]
        if scopes:
            # What takes longest comes first, or all others would wait for it at the end.
            self.workqueue.move_to_end(min(scopes, key=lambda scope: scope != TOGETHER), last=False)
        super()._assign_work_unit(node)


class GivesWay:
    """A plugin of pytest's worker processes."""

    def __init__(self) -> None:
        self._usual = os.getpriority(os.PRIO_PROCESS, 0)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        # Before its fixtures: the servers that they start take this over.
        low = LOW if folder_of(item.nodeid) in COMPUTING else 0
        os.setpriority(os.PRIO_PROCESS, 0, min(self._usual + low, 19))


def may_rise() -> bool:
    """Whether this process can take back that it gave way, which not every user may."""
    usual = os.getpriority(os.PRIO_PROCESS, 0)
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, min(usual + 1, 19))
        os.setpriority(os.PRIO_PROCESS, 0, usual)
        return True
    return False
