"""Which tests run beside which, where pytest has several processes (``addopts``): many tests only wait for real clients.

Each process is a lane with tests of its own, and then takes what is left. The first has what computes, and gives way to the
others. A browser takes a core by itself: one lane has them all, and beside it run tests that are short, because what wants the
machine alone (`tests.machine`) waits for the longest of them. What plays in real time from end to end comes after that.
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
BROWSING = "browser"
PLAYING = "interop"
"""The folder whose tests play whole clips in real time: each takes long, and little of the processor."""
LONGEST = ("test_harness.py", "test_inputs.py", "test_srt.py")
"""Files of `PLAYING` of more than a minute each: the last to begin would keep all others waiting at the end."""
LAST_TO_BROWSE = "test_players.py"
"""Its thirteen players want more than a core: the checks that `.ci/run` does beside the tests are over by then."""
LANES = 4
LOW = 10
"""How much what computes gives way, as `os.nice` has it."""


def folder_of(nodeid: str) -> str:
    """The folder below this one, or the file in it."""
    return nodeid.partition("::")[0].removeprefix("tests/").partition("/")[0]


def lane_of(folder: str) -> int:
    """Which lane begins with the tests of a folder; the last is of those that are named nowhere. `PLAYING` has none."""
    if folder in COMPUTING:
        return 0
    return {TOGETHER: 1, BROWSING: 2, PLAYING: LANES}.get(folder, LANES - 1)


def order(scope: str, lane: int) -> tuple[bool, bool, bool, int, bool]:
    """The less, the sooner a file of tests, or a folder, is run by a lane."""
    folder, file = folder_of(scope), scope.rpartition("/")[2]
    theirs = lane_of(folder)
    return theirs != lane, folder != PLAYING, file not in LONGEST, -theirs, file == LAST_TO_BROWSE


class Lanes(LoadScopeScheduling):  # type: ignore[misc]
    """A file of tests to a process, or the folder `TOGETHER`; pytest-xdist asks for it as for its own."""

    def _split_scope(self, nodeid: str) -> str:
        return TOGETHER if folder_of(nodeid) == TOGETHER else nodeid.partition("::")[0]

    def _assign_work_unit(self, node: Any) -> None:
        lane = self.nodes.index(node) % LANES
        self.workqueue.move_to_end(min(self.workqueue, key=lambda scope: order(scope, lane)), last=False)
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
