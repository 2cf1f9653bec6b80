"""Many players side by side in one page, all of one stream, and what each of them showed."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attrs import frozen
from playwright.sync_api import Browser, Page

import penstock_page
from penstock_page.vendor import VENDORED

from . import picture
from .chromium import library
from .publisher import RATE

HERE = Path(__file__).parent
VENDOR = Path(penstock_page.__file__).parent / "vendor"

PLAYERS = (
    "hls.js ts",
    "hls.js fmp4",
    "hls.js ll",
    "native m3u8 ts",
    "native m3u8 fmp4",
    "native mp4",
    "mpegts.js flv",
    "mpegts.js flv WebSocket",
    "mpegts.js ts",
    "mpegts.js ts WebSocket",
    "dash.js",
    "shaka mpd",
    "shaka m3u8",
)

HTML = """<!doctype html><meta charset="utf-8"><title>wall</title>
<style>body{margin:8px;background:#222;color:#ddd;font:14px sans-serif;display:flex;flex-wrap:wrap;gap:8px}
figure{margin:0}video{width:320px;height:180px;background:#000;display:block}</style>"""


@frozen
class Shown:
    """What one player showed while it was watched; times in seconds but for `delay`, `delay_least` and `delay_most` in ms,
    from a frame's making to its being shown. `played` is how much of the stream went by in these `seconds`.
    """

    player: str
    seconds: float
    played: float
    frames: int
    decoded: int
    dropped: int
    missing: int
    backwards: int
    unreadable: int
    stalls: int
    longest: float
    colour: int
    sound: int
    frequency: float | None
    delay: float | None
    delay_least: float | None
    delay_most: float | None
    begun: float
    error: str

    @classmethod
    def of(cls, player: str, told: dict[str, Any], begun: float, error: str) -> Shown:
        return cls(
            player,
            told["seconds"],
            told["played"],
            told["frames"],
            told["decoded"],
            told["dropped"],
            told["missing"],
            told["backwards"],
            told["unreadable"],
            told["stalls"],
            told["longest"] / 1000,
            told["colour"],
            told["sound"],
            told["frequency"],
            told["delay"],
            told["delayLeast"],
            told["delayMost"],
            begun,
            error or told["error"] or "",
        )

    def faults(self, rate: float) -> list[str]:
        """What is wrong with it, for a publisher of `rate` frames a second and the tone."""
        found = [f"error: {self.error}"] if self.error else []
        if self.stalls:
            found.append(f"stalled {self.stalls} times")
        if self.longest > 1.0:
            found.append(f"no new frame for {self.longest:.1f} s")
        if not 0.9 <= self.played / self.seconds <= FASTEST:
            found.append(f"{self.played:.1f} s of the stream played in {self.seconds:.1f} s")
        elif not 0.9 <= self.decoded / (rate * self.played) <= 1.2:
            # Decoders are ahead of what is shown by more frames at one time than at another.
            found.append(f"{self.decoded} frames decoded of {self.played:.1f} s of the stream")
        if self.backwards:
            found.append(f"{self.backwards} frames out of order")
        if self.unreadable > 2 or not self.frames:
            found.append(f"{self.unreadable} frames not readable of {self.frames + self.unreadable}")
        if self.colour > COLOUR_TOLERANCE:
            found.append(f"a colour is off by {self.colour} of 255")
        if not self.sound:
            found.append("no sound decoded")
        return found


HELD_UP = 0.25
"""Seconds by which a page is late that had nothing to wait for but the processor."""

FASTEST = 1.25
"""The pace at which a player may play: hls.js as it is set here and mpegts.js take 1.2 to make up for a delay."""

COLOUR_TOLERANCE = 14
"""Steps of 255 between a bar as it was drawn and as it is shown: what the encoder and two conversions of colour take."""


def layout() -> str:
    """What `watch.js` has to know of the picture."""
    return json.dumps(
        {
            "width": picture.WIDTH,
            "height": picture.HEIGHT,
            "block": picture.BLOCK,
            "rows": picture.ROWS,
            "columns": picture.COLUMNS,
            "bars": [picture.rgb(*bar) for bar in picture.BARS],
            # The picture has 40 bits of the time.
            "epoch": (time.time_ns() // 1_000_000) >> 40 << 40,
        }
    )


def watch_script() -> str:
    return (HERE / "watch.js").read_text().replace("/*LAYOUT*/ {}", layout())


class Wall:
    """One page with the players; it belongs to the server's own site, as a page that embeds a player does."""

    def __init__(self, browser: Browser, origin: str, path: str, players: Sequence[str]) -> None:
        self.page: Page = browser.new_page(viewport={"width": 1344, "height": 900})
        self.players = tuple(players)
        self.words: list[str] = []
        self.page.on("console", lambda message: self.words.append(message.text))
        self.page.on("pageerror", lambda error: self.words.append(str(error)))
        # Something of the server's own first: a page from nowhere may open no WebSocket to this machine.
        self.page.goto(f"{origin}/index/streams")
        self.page.set_content(HTML)
        scripts = [VENDOR / kept.name / kept.script for kept in VENDORED]
        for name in ("dash", "shaka"):
            if any(player.startswith(name) for player in players):
                scripts.append(library({"dash": "dashjs", "shaka": "shaka-player"}[name]))
        for script in scripts:
            self.page.add_script_tag(path=script)
        self.page.add_script_tag(content=watch_script())
        self.page.add_script_tag(path=HERE / "players.js")
        self._began = time.monotonic()
        self.begun: dict[str, float] = {}
        self.late = 0.0
        """Seconds for which the page was held up at most, when it was watched last."""
        for number, player in enumerate(players):
            # A browser opens six connections to a host: one page's long responses, and those that wait for what comes next, would
            # keep each other waiting. What is not read by scripts has to be of the page's own host for a canvas.
            host = "127.0.0.1" if player.startswith("native") else f"p{number}.localhost"
            url = f"{origin.replace('127.0.0.1', host)}/{path}"
            self.page.evaluate("([name, url]) => void start(name, url)", [player, url])

    def wait(self, seconds: float) -> None:
        """Until each player shows frames, at most so long."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and len(self.begun) < len(self.players):
            counts: dict[str, int] = self.page.evaluate(
                "Object.fromEntries(Object.entries(watchers).map(([name, w]) => [name, w.frames.length]))"
            )
            for name, count in counts.items():
                if count > 5:
                    self.begun.setdefault(name, time.monotonic() - self._began)
            self.page.wait_for_timeout(100)

    def watch(self, seconds: float, *, settle: float = 1.0, attempts: int = 1) -> dict[str, Shown]:
        """What each shows for so long from now on, by name. Before that they `settle`: a player begins with a jump.

        Where something is wrong and the machine had no time for the page meanwhile, or it is wrong with most players at once,
        which have nothing in common but the machine and the publisher, they are watched again, at most `attempts` times in all.
        """
        for name in self.players:
            self.page.evaluate("name => watchers[name].listen()", name)
        shown: dict[str, Shown] = {}
        for _ in range(attempts):
            self.page.wait_for_timeout(settle * 1000)
            shown = self._watch(seconds)
            wrong = sum(bool(seen.faults(RATE)) for seen in shown.values())
            if not wrong or (self.late < HELD_UP and wrong <= len(shown) // 2):
                break
        return shown

    def _watch(self, seconds: float) -> dict[str, Shown]:
        self.page.evaluate("Watcher.late = 0; Object.values(watchers).forEach((w) => w.begin())")
        self.page.wait_for_timeout(seconds * 1000)
        told: dict[str, Any] = self.page.evaluate(
            "Object.fromEntries(Object.entries(watchers).map(([name, w]) =>"
            " [name, {...w.report(), failed: w.video.dataset.failed ?? ''}]))"
        )
        self.late = self.page.evaluate("Watcher.late") / 1000
        return {
            name: Shown.of(name, told[name], self.begun.get(name, -1.0), told[name]["failed"])
            for name in self.players
        }

    def close(self) -> None:
        self.page.close()
