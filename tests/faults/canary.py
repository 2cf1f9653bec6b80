"""The canary's handle: the program that publishes and reads beside every fault, and what it may see at most."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from attrs import define, field

BASELINE_SECONDS = 0.8
START_LIMIT = 15.0
LEAST_BOUND = 1.0
"""Seconds without a picture that are allowed in any case: ten times the 100 ms that are promised, because the
machine of the tests has others to serve too."""
TIMES_BASELINE = 10
READERS = ("rtmp", "rtsp", "udp", "webrtc")
UDP_LOST = 2
"""Datagrams that the kernel may drop on loopback while the canary is not scheduled."""


@define
class Seen:
    """What one reader has seen between two marks; `delay` and `gap` are the longest, in seconds."""

    received: int
    missing: int
    again: int
    delay: float
    gap: float
    error: str


@define
class Canary:
    """A running canary."""

    process: subprocess.Popen[str]
    bound: float = LEAST_BOUND
    baseline: dict[str, Seen] = field(factory=dict[str, Seen])

    def mark(self) -> dict[str, Seen]:
        """What each reader (``rtmp``, ``rtsp``, ``udp``, ``webrtc``) has seen since the last mark."""
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write("mark\n")
        stdin.flush()
        line = stdout.readline()
        if not line:
            raise RuntimeError(f"the canary's program ended with {self.process.wait()}")
        return {name: Seen(**seen) for name, seen in json.loads(line).items()}

    def complaints(self, seen: dict[str, Seen], *, bound: float | None = None) -> list[str]:
        """Why the canary is not well; empty where it is. `bound` is the longest gap, where it is not the usual."""
        bound = bound or self.bound
        found: list[str] = []
        for name, one in seen.items():
            if one.error:
                found.append(f"{name}: {one.error}")
            if one.missing > (UDP_LOST if name in ("udp", "webrtc") else 0):
                found.append(f"{name}: {one.missing} pictures missing")
            if one.again:
                found.append(f"{name}: {one.again} pictures twice")
            if max(one.gap, one.delay) > bound:
                found.append(
                    f"{name}: gap of {one.gap:.3f} s, delay of {one.delay:.3f} s; bound {bound:.3f} s"
                )
        return found


@contextmanager
def canary(rtmp: int, rtsp: int, http: int, server: int, work: Path) -> Generator[Canary]:
    """Start the canary at the ports of the process `server`, and measure what it sees while nothing disturbs it."""
    errors = work / "canary.log"
    with errors.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.canary_program", *map(str, (rtmp, rtsp, http, server))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            cwd=Path(__file__).parents[2],
        )
    with process:
        try:
            bird = Canary(process)
            _wait_until_it_sings(bird)
            time.sleep(BASELINE_SECONDS)
            bird.baseline = bird.mark()
            worst = max(max(s.gap, s.delay) for s in bird.baseline.values())
            bird.bound = max(LEAST_BOUND, TIMES_BASELINE * worst)
            broken = [f"{name}: {s.error}" for name, s in bird.baseline.items() if s.error]
            assert not broken, f"the canary is ill before any fault: {broken}"
            yield bird
        except BaseException as error:
            error.add_note(f"canary: {errors.read_text()[-2000:]}")
            raise
        finally:
            process.kill()


def _wait_until_it_sings(bird: Canary) -> None:
    deadline = time.monotonic() + START_LIMIT
    heard: set[str] = set()
    seen: dict[str, Seen] = {}
    while len(heard) < len(READERS):
        if time.monotonic() > deadline:
            raise RuntimeError(f"the canary sees nothing: {seen}")
        time.sleep(0.1)
        seen = bird.mark()
        heard |= {name for name, one in seen.items() if one.received}
