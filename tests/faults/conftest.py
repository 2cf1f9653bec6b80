"""Fixtures of the tests with bad inputs: one server and one canary for each module."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.certificate import self_signed

from .rig import Rig, rig

CONFIG = """
[streams."takeover/*"]
override = true
"""


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """The module's server and canary; short timeouts are in `server.SETTINGS`."""
    work: Path = tmp_path_factory.mktemp("faults")
    certificate, key = self_signed(work)
    with rig(work, f"server.certificate={certificate}", f"server.key={key}", config=CONFIG) as running:
        yield running
