"""How late a viewer of HLS is: ``python -m bench.hls_delay``.

The publisher writes the time into its pictures. Each part is asked for by blocking reload; `arrival` is how old a
part's first picture is when the part is there, and `shown` how old what a player shows is that begins where
PART-HOLD-BACK (or HOLD-BACK, three target durations) from the end says. For 2 s segments the playlist is asked for each 2 s.
"""

from __future__ import annotations

import argparse
import http.client
import re
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from bench.contestants import publish
from bench.tools import SERVER_CORE, Process, free_port

STAMP = re.compile(rb"penstock-delay-1([0-9a-f]{16})")


class Viewer:
    """One connection, and how old what came over it was."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def get(self, name: str) -> bytes:
        self._connection.request("GET", f"/live/bench/{name}")
        response = self._connection.getresponse()
        body = response.read()
        if response.status != 200:
            raise SystemExit(f"{name}: {response.status} {body[:200]!r}")
        return body

    def age(self, name: str) -> float | None:
        """Seconds since the first picture with a time in a file was sent, once the file is here."""
        found = STAMP.search(self.get(name))
        return None if found is None else (time.monotonic_ns() - int(found[1], 16)) / 1e9


def low_latency(viewer: Viewer, playlist: str, seconds: float) -> tuple[list[float], list[float]]:
    arrivals: list[float] = []
    shown: list[float] = []
    text = viewer.get(playlist).decode()
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        hint = re.search(r'PRELOAD-HINT:TYPE=PART,URI="([^"]*-(\d+)\.(\d+)\.m4s)', text)
        hold = re.search(r"PART-HOLD-BACK=([\d.]+)", text)
        if hint is None or hold is None:
            raise SystemExit(f"no low-latency playlist:\n{text}")
        text = viewer.get(f"{playlist}?_HLS_msn={hint[2]}&_HLS_part={hint[3]}").decode()
        parts = re.findall(r'EXT-X-PART:DURATION=([\d.]+),URI="([^"]*)"', text)
        age = viewer.age(f"hls/{parts[-1][1]}")
        if age is not None:
            arrivals.append(age)
        behind = 0.0
        for duration, uri in reversed(parts):
            behind += float(duration)
            if behind >= float(hold[1]):
                age = viewer.age(f"hls/{uri}")
                if age is not None:
                    shown.append(age)
                break
    return arrivals, shown


def segments(viewer: Viewer, playlist: str, seconds: float) -> tuple[list[float], list[float]]:
    arrivals: list[float] = []
    shown: list[float] = []
    last = ""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        text = viewer.get(playlist).decode()
        found = re.findall(r"#EXTINF:([\d.]+),\n(.*)", text)
        target = re.search(r"TARGETDURATION:(\d+)", text)
        if found[-1][1] != last and target is not None:
            last = found[-1][1]
            age = viewer.age(f"hls/{last}")
            if age is not None:
                arrivals.append(age)
            behind = 0.0
            for duration, uri in reversed(found):
                behind += float(duration)
                if behind >= 3 * int(target[1]) - 0.1:
                    age = viewer.age(f"hls/{uri}")
                    if age is not None:
                        shown.append(age)
                    break
        time.sleep(0.1)
    return arrivals, shown


def line(name: str, found: tuple[list[float], list[float]]) -> str:
    cells = [name]
    for values in found:
        ordered = sorted(values)
        cells.append(
            f"{statistics.median(ordered):.2f} ({ordered[0]:.2f} to {ordered[-1]:.2f}), {len(ordered)} times"
            if ordered
            else "none"
        )
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.hls_delay", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--seconds", type=float, default=15)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as name, ExitStack() as stack:
        folder = Path(name)
        rtmp, port = free_port(), free_port()
        command = [sys.executable, "-m", "penstock", "serve"]
        for setting in (
            f"rtmp.listen=127.0.0.1:{rtmp}",
            f"http.listen=127.0.0.1:{port}",
            "rtsp.enabled=false",
        ):
            command += ["--set", setting]
        server = stack.enter_context(Process(command, SERVER_CORE, folder / "server.log"))
        server.wait_for_port(rtmp)
        server.wait_for_port(port)
        stack.enter_context(publish(f"rtmp://127.0.0.1:{rtmp}/live/bench", folder))
        viewer = Viewer(port)
        print("| seconds | arrival | shown |\n|---|---|---|")
        for title, variant, measure in (
            ("Low-Latency HLS, parts of 200 ms", "ll", low_latency),
            ("HLS, segments of 2 s", "fmp4", segments),
        ):
            entry = viewer.get(f"index.m3u8?variant={variant}").decode()
            playlist = re.search(rf"hls/{variant}-v\d+\.m3u8", entry)
            if playlist is None:
                raise SystemExit(f"no picture:\n{entry}")
            # A few segments first, so that there is where to begin.
            time.sleep(7)
            print(line(title, measure(viewer, playlist[0], options.seconds)), flush=True)


if __name__ == "__main__":
    main()
