"""The HTTP port needs asyncio: its tests run on both of its loops."""

from __future__ import annotations

from typing import Any

import pytest

from tests.kernel.conftest import logs

__all__ = ["logs"]


@pytest.fixture(params=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": request.param == "uvloop"}
