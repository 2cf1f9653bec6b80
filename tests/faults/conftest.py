"""Fixtures of the tests with bad inputs: one server and one canary for each module."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .rig import Rig, rig


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """The module's server and canary; short timeouts are in `server.SETTINGS`."""
    work: Path = tmp_path_factory.mktemp("faults")
    with rig(work) as running:
        yield running
