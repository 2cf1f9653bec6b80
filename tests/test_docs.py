"""The documentation is true: its configs are valid, its Python runs, its list of keys is the present one."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(language: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for page in PAGES:
        for number, match in enumerate(
            re.finditer(rf"```{language}\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
        ):
            found.append((f"{page.name}-{number}", match[1]))
    return found


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in blocks("python")])
def test_python_compiles_and_its_definitions_run(text: str) -> None:
    code = compile(text, "docs", "exec")
    # What would serve for ever is defined but not run.
    if "anyio.run(" not in text and "asyncio.run(" not in text:
        exec(code, {})


@pytest.mark.parametrize(
    "text",
    [pytest.param(text, id=name) for name, text in blocks("toml") if "[project" not in text],
)
def test_configs_are_valid(text: str, tmp_path: Path) -> None:
    file = tmp_path / "penstock.toml"
    # Paths of the reader's own machine are not there.
    file.write_text(re.sub(r"^(certificate|key) = .*$", "", text, flags=re.MULTILINE), "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "penstock", "check", str(file)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_list_of_keys_is_the_present_one() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "penstock", "config"], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() in (ROOT / "docs" / "config.md").read_text("utf-8"), (
        "run penstock config again"
    )


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_examples_are_short() -> None:
    """A protocol, a codec and an authorization each need at most 80 lines of code: else the kernel is at fault."""
    modules = list((ROOT / "examples" / "penstock-extras" / "penstock_extras").glob("*.py"))
    assert len(modules) >= 4
    for module in modules:
        lines = [line for line in module.read_text().splitlines() if line.strip()]
        assert len(lines) <= 80, module.name
