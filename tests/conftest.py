"""Fixtures of all tests: every asynchronous test runs on each event loop that Penstock supports."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.branches import Branches
from tests.lanes import GivesWay, Lanes, may_rise
from tests.machine import share

# Fixed examples, so that a change is never refused for what it did not do, and no clock: the machine may have others to
# serve. PENSTOCK_FUZZ=long draws anew each time.
settings.register_profile(
    "penstock",
    deadline=None,
    derandomize=os.environ.get("PENSTOCK_FUZZ") != "long",
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("penstock")


def pytest_configure(config: pytest.Config) -> None:
    if folder := os.environ.get("PENSTOCK_BRANCHES"):
        config.pluginmanager.register(Branches(Path(folder)))
    worker: dict[str, Any] | None = getattr(config, "workerinput", None)
    if worker is not None:
        share(config, worker["testrunuid"])
        if may_rise():
            config.pluginmanager.register(GivesWay())


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Lanes:
    return Lanes(config, log)


@pytest.fixture(params=["asyncio", "uvloop", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    if request.param == "trio":
        return "trio", {}
    return "asyncio", {"use_uvloop": request.param == "uvloop"}
