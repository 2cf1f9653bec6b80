"""One server and one browser for a module."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.binaries import require
from tests.interop.server import Penstock

from .play import served


@pytest.fixture(scope="module")
def work() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="penstock-browser-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def server(work: Path) -> Iterator[Penstock]:
    require("chromium", "ffmpeg-new", "npm")
    with served(work) as running:
        yield running
