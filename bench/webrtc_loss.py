"""What of a stream gets over a bad link by WebRTC: Chromium plays FFmpeg's, and FFmpeg plays Chromium's, picture by picture.

``sudo TUNNETEM=.../tunnetem.py python -m bench.webrtc_loss --out docs/webrtc.md`` writes the table between its
markers; ``--case play,5,2`` plays one (direction, loss in %, jitter in ms). Runs that are made apart are put together by
``--kept FILE``, and ``--runs 0`` writes the table of those. The server is in one network namespace, with
FFmpeg; Chromium is in the other.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from attrs import asdict, define

from bench.bad_link import HOST, ROOT, TUNNETEM, bad_link, within
from tests.browser import picture
from tests.browser.chromium import chromium
from tests.browser.play import GOPS
from tests.browser.publisher import publishing
from tests.browser.wall import watch_script
from tests.interop.binaries import path_of
from tests.interop.server import Penstock, penstock

RTT_MS = 40
DIRECTIONS = ("play", "publish")
CASES = [
    (direction, float(loss), float(jitter))
    for direction in DIRECTIONS
    for jitter in (0, 2)
    for loss in (0, 2, 5, 10)
]
OPUS = ("-c:a", "libopus", "-b:a", "64k", "-ac", "2")
TONE = 1000
SETTLE = 3.0
"""Seconds in which a browser's estimates of the path settle."""
Case = tuple[str, float, float]
MARKERS = "<!-- bench.webrtc_loss -->", "<!-- /bench.webrtc_loss -->"


@define
class Result:
    """`due` pictures were sent in the time, `seen` of them decoded; `longest` is the longest time without a new one, in ms."""

    due: int
    seen: int
    longest: float
    notes: dict[str, Any]

    @property
    def share(self) -> float:
        """In %."""
        return 100 * min(1.0, self.seen / max(1, self.due))


def play_cell(server: Penstock, page: Any, origin: str, work: Path, seconds: float) -> Result:
    """Chromium plays what FFmpeg publishes over RTMP in the server's own namespace."""
    with publishing(server.endpoints.url("rtmp", "live/loss"), work, *GOPS["2 s"], audio=OPUS):
        _published(server)
        page.evaluate("(url) => new Playing('it').play(url)", f"{origin}/live/loss/whep")
        page.wait_for_function("Playing.all.it.first !== null", timeout=15_000)
        page.evaluate("Playing.all.it.watcher = new Watcher(Playing.all.it.video)")
        page.wait_for_timeout(SETTLE * 1000)
        begin = page.evaluate(
            "async () => { Playing.all.it.watcher.begin(); return Playing.all.it.stats(); }"
        )
        page.wait_for_timeout(seconds * 1000)
        told = page.evaluate(
            "async () => { const it = Playing.all.it; const stats = await it.stats();"
            " return { ...it.watcher.report(), stats, shown: it.watcher.frames.map(({ number }) => number) }; }"
        )
    shown, before, after = told["shown"], begin["video"], told["stats"]["video"]
    names = ("nackCount", "pliCount", "freezeCount", "packetsLost", "retransmittedPacketsReceived", "framesDropped",
             "keyFramesDecoded", "packetsReceived")  # fmt: skip
    return Result(
        (shown[-1] - shown[0]) % 65_536,
        after["framesDecoded"] - before["framesDecoded"],
        told["longest"],
        {name: after.get(name, 0) - before.get(name, 0) for name in names},
    )


def publish_cell(server: Penstock, page: Any, origin: str, work: Path, seconds: float) -> Result:
    """FFmpeg plays over RTSP, in the server's own namespace, what Chromium publishes."""
    page.evaluate(
        "([url, tone]) => new Publishing('it', 'video/H264', tone).publish(url)",
        [f"{origin}/live/loss/whip", TONE],
    )
    _published(server)
    seen: list[tuple[float, int]] = []
    argv = [path_of("ffmpeg-new"), "-v", "error", "-rtsp_transport", "tcp"]
    argv += ["-i", server.endpoints.url("rtsp", "live/loss"), "-map", "0:v", "-fps_mode", "passthrough"]
    argv += ["-f", "rawvideo", "-pix_fmt", "gray", "pipe:1"]
    with (work / "player.log").open("wb") as log:
        player = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log)
    reading = threading.Thread(target=_read, args=(player, seen), daemon=True)
    reading.start()
    page.wait_for_timeout(SETTLE * 1000)
    before = page.evaluate("Playing.all.it.stats()")["outbound-rtp video"]
    began = time.monotonic()
    page.wait_for_timeout(seconds * 1000)
    after = page.evaluate("Playing.all.it.stats()")["outbound-rtp video"]
    ended = time.monotonic()
    time.sleep(1.0)
    player.kill()
    player.wait()
    reading.join()
    counted = [(at, number) for at, number in seen if began + 0.3 < at < ended + 0.3]
    times = [began + 0.3, *(at for at, _ in counted), ended + 0.3]
    names = (
        "nackCount",
        "pliCount",
        "retransmittedPacketsSent",
        "packetsSent",
        "keyFramesEncoded",
        "framesPerSecond",
    )
    return Result(
        after["framesSent"] - before["framesSent"],
        len({number for _, number in counted}),
        1000 * max(b - a for a, b in pairwise(times)),
        {name: after.get(name, 0) - before.get(name, 0) for name in names},
    )


def _read(player: subprocess.Popen[bytes], seen: list[tuple[float, int]]) -> None:
    assert player.stdout is not None
    size = picture.WIDTH * picture.HEIGHT
    while len(luma := player.stdout.read(size)) == size:
        if (found := picture.read(luma)) is not None:
            seen.append((time.monotonic(), found[0]))


def _published(server: Penstock) -> None:
    deadline = time.monotonic() + 15
    while not any(line.get("event") == "stream published" for line in server.log()):
        if time.monotonic() > deadline:
            raise SystemExit("nobody publishes")
        time.sleep(0.05)


def cell(direction: str, seconds: float) -> Result:
    """What is measured in nmA, while the link is there."""
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        inside = work / "chromium"
        inside.write_text(f'#!/bin/sh\nexec ip netns exec nmB {path_of("chromium")} "$@"\n')
        inside.chmod(0o755)
        settings = (f"http.listen={HOST}:0", "http.listen_tls=", f"webrtc.listen={HOST}:0")
        with penstock(work, *settings) as server, server.explained(), _page(server, inside) as (page, origin):
            return (play_cell if direction == "play" else publish_cell)(server, page, origin, work, seconds)


@contextlib.contextmanager
def _page(server: Penstock, executable: Path) -> Generator[tuple[Any, str]]:
    port = next(line["port"] for line in server.log() if line.get("what") == "http")
    origin = f"http://{HOST}:{port}"
    with chromium("--disable-features=WebRtcHideLocalIpsWithMdns", executable=str(executable)) as browser:
        page = browser.new_page()
        page.goto(f"{origin}/index/streams", timeout=60_000)
        page.set_content("<!doctype html><title>WebRTC</title>")
        page.add_script_tag(content=watch_script())
        page.add_script_tag(path=ROOT / "tests" / "browser" / "webrtc.js")
        yield page, origin


def table(found: dict[Case, list[Result]], seconds: float) -> str:
    """A row for each direction and jitter, a column for each loss."""
    losses = sorted({loss for _, loss, _ in found})
    runs = max(map(len, found.values()))
    version = subprocess.run(
        [path_of("chromium"), "--version"], capture_output=True, text=True, check=True
    ).stdout
    lines = [
        f"{' '.join(version.split()[:2])}, {time.strftime('%-d %B %Y')}, RTT {RTT_MS} ms, {seconds:g} s a cell,"
        f" loss each way; in each cell the pictures that were decoded, and the longest time without a new one: of {runs} runs"
        " the median, with the worst in brackets, and where there are none of one run.",
        "",
        "| | " + " | ".join(f"{loss:g} %" for loss in losses) + " |",
        "|---|" + "---|" * len(losses),
    ]
    for direction, jitter in sorted({(direction, jitter) for direction, _, jitter in found}):
        who = "Chromium plays" if direction == "play" else "Chromium publishes, RTSP plays"
        cells = [found.get((direction, loss, jitter), []) for loss in losses]
        texts = [_cell(results) if results else "" for results in cells]
        lines.append(f"| {who}{f', {jitter:g} ms of jitter' if jitter else ''} | " + " | ".join(texts) + " |")
    return "\n".join(lines) + "\n"


def _cell(results: list[Result]) -> str:
    shares, longest = [r.share for r in results], [r.longest for r in results]
    if len(results) == 1:
        return f"{shares[0]:.1f} %, {longest[0]:.0f} ms"
    return f"{median(shares):.1f} % ({min(shares):.1f}), {median(longest):.0f} ms ({max(longest):.0f})"


def measure(case: Case, seconds: float, seed: int) -> Result:
    direction, loss, jitter = case
    with bad_link(rtt=RTT_MS, loss=loss, jitter=jitter, seed=seed):
        subprocess.run(["ip", "-n", "nmB", "route", "add", "default", "via", HOST], check=True)
        argv = [sys.executable, "-m", "bench.webrtc_loss", "--within", direction, "--seconds", str(seconds)]
        done = subprocess.run(
            within("nmA", *argv),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            timeout=seconds + 90,
            check=True,
        )
    return Result(**json.loads(done.stdout.splitlines()[-1]))


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.webrtc_loss", description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--case", action="append", help="direction,loss,jitter")
    parser.add_argument("--within", choices=DIRECTIONS, help=argparse.SUPPRESS)
    parser.add_argument("--runs", type=int, default=3, help="the next ones have other seeds")
    parser.add_argument(
        "--kept", type=Path, help="file of results: what is there counts as well, and more is added"
    )
    parser.add_argument("--out", type=Path, help="Markdown file that has the table")
    a = parser.parse_args(argv)
    if a.within:
        print(json.dumps(asdict(cell(a.within, a.seconds))))
        return
    if not TUNNETEM.exists():
        raise SystemExit("needs tunnetem.py (TUNNETEM)")
    cases: list[Case] = list(CASES)
    if a.case:
        words = [text.split(",") for text in a.case]
        cases = [(direction, float(loss), float(jitter)) for direction, loss, jitter in words]
    found: dict[Case, list[Result]] = {}
    for line in a.kept.read_text().splitlines() if a.kept and a.kept.exists() else ():
        kept: dict[str, Any] = json.loads(line)
        direction, loss, jitter = kept.pop("case")
        found.setdefault((direction, loss, jitter), []).append(Result(**kept))
    for run in range(a.runs):
        for case in cases:
            result = measure(case, a.seconds, a.seed + run)
            found.setdefault(case, []).append(result)
            if a.kept is not None:
                with a.kept.open("a") as out:
                    out.write(json.dumps({"case": case, **asdict(result)}) + "\n")
            print(
                *case,
                f"{result.share:.1f} % ({result.seen}/{result.due}), longest {result.longest:.0f} ms,",
                result.notes,
                flush=True,
            )
    if a.out is not None:
        begin, end = MARKERS
        before, _, rest = a.out.read_text().partition(begin)
        a.out.write_text(f"{before}{begin}\n{table(found, a.seconds)}{end}{rest.partition(end)[2]}")


if __name__ == "__main__":
    main()
