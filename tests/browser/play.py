"""``python -m tests.browser.play --seconds 60 --out docs/browsers.md``: what each player shows, as a table with a date."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path

from tests.interop.binaries import path_of
from tests.interop.server import Penstock, penstock

from .chromium import chromium
from .publisher import LIVE, RATE, SEED, SOUND, publishing
from .wall import PLAYERS, Shown, Wall

GOPS = {
    "1 s": (*LIVE, "-g", str(RATE)),
    "2 s": (*LIVE, "-g", str(2 * RATE)),
    "10 s, B-frames": SEED,
}
TRANSCODED = "transcoded"
"""Streams whose pictures are made such as a browser takes them."""
SETTLE = 10.0
"""Seconds in which a player comes to the delay that it aims for."""
PATIENCE = {"1 s": 40.0, "2 s": 40.0, "10 s, B-frames": 120.0}
"""Seconds until each player has begun: HLS begins when some segments are there, and one is no shorter than a GOP."""


def origin(server: Penstock) -> str:
    """The server's HTTP address."""
    for line in server.log():
        if line.get("event") == "listening" and line.get("what") == "http":
            return f"http://127.0.0.1:{line['port']}"
    raise LookupError("the server does not serve HTTP")


@contextmanager
def served(work: Path) -> Generator[Penstock]:
    with (
        penstock(
            work,
            "http.listen=127.0.0.1:0",
            "http.listen_tls=",
            "transcode.enabled=true",
            f"transcode.video={TRANSCODED}/*",
        ) as server,
        server.explained(),
    ):
        yield server


def play(
    gop: str, players: Iterable[str], seconds: float, work: Path, screenshots: Path | None
) -> tuple[dict[str, Shown], float]:
    """What all `players` show side by side for `seconds` of a stream with that GOP, and the seconds for which the page was
    held up at most.
    """
    with served(work) as server, chromium() as browser:
        url = server.endpoints.url("rtmp", "live/stream")
        with publishing(url, work, *GOPS[gop], audio=SOUND):
            wall = Wall(browser, origin(server), "live/stream", tuple(players))
            wall.wait(PATIENCE[gop])
            shown = wall.watch(seconds, settle=SETTLE)
            if screenshots is not None:
                screenshots.mkdir(parents=True, exist_ok=True)
                name = "".join(c if c.isalnum() else "-" for c in gop)
                wall.page.screenshot(path=screenshots / f"wall-{name}.png", full_page=True)
            for line in wall.words:
                sys.stderr.write(f"console: {line}\n")
        return shown, wall.late


def table(gop: str, seconds: float, shown: dict[str, Shown], late: float) -> list[str]:
    lines = [
        f"### Key frames each {gop}, {seconds:g} s",
        "",
        f"The page was held up for {late:.2f} s at most; the load of the machine was {os.getloadavg()[0]:.0f} on"
        f" {os.cpu_count()} cores.",
        "",
        "| player | begun after | frames shown | decoded | dropped | stalls | longest gap | delay: median | worst |"
        " colours off by | sound | seen wrong |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for s in shown.values():
        delay = "–" if s.delay is None else f"{s.delay / 1000:.2f} s"
        most = "–" if s.delay_most is None else f"{s.delay_most / 1000:.2f} s"
        sound = "none" if not s.sound else f"{s.frequency:.0f} Hz" if s.frequency else "decoded"
        lines.append(
            f"| {s.player} | {s.begun:.1f} s | {s.frames} | {s.decoded} | {s.dropped} | {s.stalls} |"
            f" {s.longest:.2f} s | {delay} | {most} | {s.colour} of 255 | {sound} | {'; '.join(s.faults(RATE)) or 'nothing'} |"
        )
    return [*lines, ""]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.browser.play", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--out", type=Path, help="Markdown file to write; default: standard output")
    parser.add_argument("--screenshots", type=Path, help="folder for a picture of each page of players")
    parser.add_argument("--players", nargs="*", default=list(PLAYERS), help=", ".join(PLAYERS))
    parser.add_argument("--gops", nargs="*", default=list(GOPS), choices=list(GOPS))
    options = parser.parse_args(argv)
    version = subprocess.run(
        [path_of("chromium"), "--version"], capture_output=True, text=True, check=True
    ).stdout.strip()
    lines: list[str] = []
    wrong = 0
    for gop in options.gops:
        with tempfile.TemporaryDirectory(prefix="penstock-browser-") as work:
            shown, late = play(gop, options.players, options.seconds, Path(work), options.screenshots)
        lines += table(gop, options.seconds, shown, late)
        wrong += sum(bool(s.faults(RATE)) for s in shown.values())
    head = HEAD.format(date=time.strftime("%-d %B %Y"), version=version)
    text = head + "\n".join(lines)
    if options.out is None:
        sys.stdout.write(text)
    else:
        options.out.write_text(text)
    return 1 if wrong else 0


HEAD = """\
# What browsers play

Written by `python -m tests.browser.play --seconds 60 --out docs/browsers.md` on {date}, with {version}, headless.
All players of a table run side by side in one page, from one publisher: FFmpeg over RTMP, H.264 at 320x180 and 25
frames a second with AAC. Each has a host name of its own, as players of different people have a browser of their own: a browser
opens six connections to one, and thirteen players of one page want more, where some wait for what comes next and some have a
response without end. Each frame has its number and the time of its making drawn into it as black and white
blocks, over bars of known colours: what a player shows is drawn into a canvas and read back, so *delay* is from the
making of a frame to its showing, with the encoder's and the browser's share, and *frames shown* are those that were
read. Sound is a tone of 1000 Hz; what is heard is measured by Web Audio. A *stall* is a `waiting` event. Where the page
was held up for more than a quarter of a second, the machine was too busy to play all that: gaps and stalls then say
little of the server.

Chromium's own HLS loads 10 s before it plays, takes its beginning for the end of a pause, and gives up where the list
then brings nothing new (`Segment queue never had any data`): it is started when the list has a segment more than that.
shaka-player over HLS is started when the list has three segments: it loads lists each target duration, a few
milliseconds less each time, until one comes just before the segment does (docs/adr/0022).

"""

if __name__ == "__main__":
    raise SystemExit(main())
