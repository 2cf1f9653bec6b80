"""The players that ship with the pages are those that are pinned, with their licences."""

from __future__ import annotations

from pathlib import Path

import pytest

import penstock_page
from penstock_page.vendor import VENDORED, Library

FOLDER = Path(penstock_page.__file__).parent / "vendor"


@pytest.mark.parametrize("library", VENDORED, ids=lambda library: library.name)
def test_it_is_the_pinned_version_with_its_licence(library: Library) -> None:
    script = (FOLDER / library.name / library.script).read_text("utf-8")
    assert f'"{library.version}"' in script
    assert "sourceMappingURL" not in script
    for licence in library.licences:
        assert (FOLDER / library.name / Path(licence).name).read_text("utf-8").strip()


def test_nothing_else_is_there() -> None:
    kept = {
        f"{library.name}/{Path(file).name}"
        for library in VENDORED
        for file in (library.script, *library.licences)
    }
    assert {str(file.relative_to(FOLDER)) for file in FOLDER.rglob("*") if file.is_file()} == kept
