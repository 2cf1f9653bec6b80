"""A publisher breaks off and another one with larger pictures comes: hls.js plays on over the discontinuity."""

from __future__ import annotations

import signal
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.interop.server import Penstock

from .chromium import chromium
from .play import GOPS, origin
from .publisher import RATE, publishing
from .wall import COLOUR_TOLERANCE, Wall

PLAYERS = ("hls.js ts", "hls.js fmp4", "hls.js ll")
LARGER = (*GOPS["1 s"], "-s", "640x360")
LIMIT = 30.0
SHOWN = 2 * RATE
"""Pictures of each publisher that a player has to show."""


def numbers(wall: Wall) -> dict[str, list[int]]:
    """Of the pictures that each player has shown."""
    found: dict[str, list[int]] = wall.page.evaluate(
        "Object.fromEntries(Object.entries(watchers).map(([name, w]) => [name, w.frames.map((f) => f.number)]))"
    )
    return found


def both(shown: list[int]) -> tuple[list[int], list[int]]:
    """Those of the first publisher, and those of the second, whose first picture is number 0 again."""
    at = next((n + 1 for n, (a, b) in enumerate(pairwise(shown)) if b < a - RATE), len(shown))
    return shown[:at], shown[at:]


def until_all(wall: Wall, part: int) -> None:
    deadline = time.monotonic() + LIMIT
    while any(len(both(shown)[part]) < SHOWN for shown in numbers(wall).values()):
        assert time.monotonic() < deadline, (numbers(wall), wall.words)
        wall.page.wait_for_timeout(100)


def test_hls_js_shows_pictures_of_both_publishers(server: Penstock, work: Path) -> None:
    path = "live/again"
    url = server.endpoints.url("rtmp", path)
    with server.explained(), chromium() as browser:
        with publishing(url, work, *GOPS["1 s"]) as first:
            wall = Wall(browser, origin(server), path, PLAYERS)
            until_all(wall, 0)
            first.process.send_signal(signal.SIGKILL)
            first.process.wait()
        with publishing(url, work, *LARGER):
            until_all(wall, 1)
        told: dict[str, Any] = wall.page.evaluate(
            "Object.fromEntries(Object.entries(watchers).map(([name, w]) => [name, w.report()]))"
        )
        shown = numbers(wall)
    last = max(both(one)[0][-1] for one in shown.values())
    for player in PLAYERS:
        before, after = both(shown[player])
        seen = told[player]
        assert last - before[-1] < RATE, "not to its end"
        assert after[0] < RATE, "not from its beginning"
        assert after == sorted(after)
        assert seen["size"] == [640, 360]
        assert seen["error"] is None
        assert seen["colour"] <= COLOUR_TOLERANCE
