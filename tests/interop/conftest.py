"""Fixtures of the tests with real clients."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from .binaries import require
from .server import Penstock, penstock


@pytest.fixture(scope="module")
def work() -> Iterator[Path]:
    """A folder that other users may enter too, which pytest's own are not: VLC does not run as root."""
    folder = Path(tempfile.mkdtemp(prefix="penstock-interop-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def server(work: Path) -> Iterator[Penstock]:
    """One running penstock for a module's tests, each with a path of its own."""
    require("ffmpeg-new")
    with penstock(work) as running, running.explained():
        yield running


@pytest.fixture
def folder(work: Path, request: pytest.FixtureRequest) -> Path:
    """A test's own folder below `work`."""
    name = "".join(c if c.isalnum() or c in "-." else "-" for c in str(getattr(request, "node").name))  # noqa: B009
    return work / name
