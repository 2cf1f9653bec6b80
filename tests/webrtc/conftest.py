"""What is asked over the HTTP port runs on both of its loops."""

from __future__ import annotations

from tests.http.conftest import anyio_backend

__all__ = ["anyio_backend"]
