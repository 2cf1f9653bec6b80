"""Fixtures of the tests with bad inputs: one server and one canary for all of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.certificate import self_signed

from .rig import Rig, rig

CONFIG = """
[streams."takeover/*"]
override = true

[streams."secret/*"]
secret = "0123456789abcdef"
"""


@pytest.fixture(scope="package")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """Server and canary of all tests here that need no other settings; short timeouts are in `server.SETTINGS`.

    That it outlives them all is a test of its own.
    """
    work: Path = tmp_path_factory.mktemp("faults")
    certificate, key = self_signed(work)
    with rig(work, f"server.certificate={certificate}", f"server.key={key}", config=CONFIG) as running:
        yield running
