"""The table of every parser under contract: the cases of all ``cases_*.py`` beside this file."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from tests.contracts.case import ParserCase


def _collected() -> list[ParserCase]:
    found: list[ParserCase] = []
    for path in sorted(Path(__file__).parent.glob("cases_*.py")):
        found += import_module(f"tests.contracts.{path.stem}").CASES
    return found


CASES = _collected()
MODULES = sorted({module for case in CASES for module in case.modules})
"""Modules whose branches the contract must reach."""
