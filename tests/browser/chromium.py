"""A headless Chromium, driven by Playwright, and the libraries of players that are tests' own."""

from __future__ import annotations

import subprocess
import tarfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from tests.interop.binaries import path_of
from tests.interop.clips import cache_folder

ARGUMENTS = (
    # A muted picture may play by itself anywhere; that its sound is heard needs a tap, which these tests do not give.
    "--autoplay-policy=no-user-gesture-required",
    # Windows in the background are drawn less often, and all windows of a headless browser are.
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
)

PACKAGES = {
    "dashjs": ("5.2.1", "dist/modern/umd/dash.all.min.js"),
    "shaka-player": ("5.2.12", "dist/shaka-player.compiled.js"),
}
"""Players from the npm registry that nobody ships here: their version, and the script."""


@contextmanager
def chromium(*arguments: str, executable: str | None = None) -> Generator[Browser]:
    """A browser of one's own; `executable` is a program that starts it elsewhere, such as in a network namespace."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable or path_of("chromium"), args=[*ARGUMENTS, *arguments]
        )
        try:
            yield browser
        finally:
            browser.close()


def library(name: str) -> Path:
    """The script of one of `PACKAGES`, fetched once."""
    version, script = PACKAGES[name]
    kept = cache_folder() / f"{name}-{version}.js"
    if not kept.exists():
        subprocess.run(
            ["npm", "pack", "--silent", "--pack-destination", str(cache_folder()), f"{name}@{version}"],
            check=True,
            timeout=300,
            capture_output=True,
        )
        archive = cache_folder() / f"{name}-{version}.tgz"
        with tarfile.open(archive) as packed:
            file = packed.extractfile(f"package/{script}")
            assert file is not None, f"{name} {version} has no {script}"
            aside = kept.with_suffix(".part")
            aside.write_bytes(file.read())
        aside.replace(kept)
        archive.unlink()
    return kept
