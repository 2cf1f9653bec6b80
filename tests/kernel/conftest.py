"""What tests of the kernel share."""

from __future__ import annotations

from collections.abc import Generator, MutableMapping
from typing import Any

import pytest
import structlog


@pytest.fixture
def logs() -> Generator[list[MutableMapping[str, Any]]]:
    """The lines that are logged, in place of writing them: a traceback in colours costs half a second."""
    with structlog.testing.capture_logs() as lines:
        yield lines
