"""A plugin of somebody else's, installed where the servers that a test starts find it."""

from __future__ import annotations

from pathlib import Path

import pytest


def install(site: Path, name: str, code: str, environment: pytest.MonkeyPatch) -> None:
    """Make a distribution with one plugin in `site`: `code` has an object ``plugin``."""
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[penstock.plugins]\n{name} = {name}_plugin:plugin\n")
    (site / f"{name}_plugin.py").write_text(code)
    environment.setenv("PYTHONPATH", str(site))
