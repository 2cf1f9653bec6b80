"""DASH is on the HTTP port, which needs asyncio."""

from __future__ import annotations

from typing import Any

import pytest

from tests.kernel.conftest import logs

__all__ = ["logs"]


@pytest.fixture(params=["asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return "asyncio", {}
