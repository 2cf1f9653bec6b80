"""What WHEP viewers cost: ``python -m bench.webrtc --out docs/performance.md``.

The server is on core 0, publisher and viewers are on core 1. It counts itself what the making of encrypted packets takes,
and their sending (`bench.webrtc_serve`); all else that it takes is the rest. With ``--parts`` it counts what that is made of.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from bench import clip, report
from bench.contestants import publish
from bench.fanout import machine, numbers, say
from bench.paths import RESULTS, ROOT
from bench.srt import cpu
from bench.tools import LOAD_CORE, SERVER_CORE, Process, Unavailable, free_port

Row = dict[str, Any]
PATH = "live/bench"


@contextmanager
def load(*arguments: object) -> Generator[subprocess.Popen[str]]:
    """`bench.webrtc_viewers` on its core."""
    command = ["taskset", "-c", str(LOAD_CORE), sys.executable, "-m", "bench.webrtc_viewers"]
    with subprocess.Popen(
        [*command, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def asked(process: subprocess.Popen[str]) -> Row:
    """What has come so far."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    line = process.stdout.readline()
    if not line:
        raise Unavailable("the viewers are gone")
    found: Row = json.loads(line)
    return found


Counted = dict[str, tuple[float, ...]]
"""Nanoseconds, calls, and calls that began within it, of each part."""


@contextmanager
def penstock(folder: Path, *, parts: bool) -> Generator[tuple[Process, int, int, Callable[[], Row]]]:
    """A server, its ports for RTMP and HTTP, and what reads its counters."""
    rtmp, port, media = free_port(), free_port(), free_port()
    counted = folder / "counters"
    command = [sys.executable, "-m", "bench.webrtc_serve", str(counted), *(["--parts"] if parts else [])]
    command += [
        f"rtmp.listen=127.0.0.1:{rtmp}",
        f"http.listen=127.0.0.1:{port}",
        f"webrtc.listen=127.0.0.1:{media}",
        "webrtc.listen_tcp=",
        "rtsp.enabled=false",
        "srt.enabled=false",
    ]
    with Process(command, SERVER_CORE, folder / "server.log", {"PYTHONPATH": str(ROOT)}) as process:
        process.wait_for_port(rtmp)
        process.wait_for_port(port)

        def counters() -> Row:
            counted.unlink(missing_ok=True)
            process.child.send_signal(signal.SIGUSR1)
            while not counted.exists():
                time.sleep(0.001)
            found: Row = json.loads(counted.read_text())
            return found

        yield process, rtmp, port, counters


@contextmanager
def published(by: str, rtmp: int, port: int, folder: Path) -> Generator[None]:
    """The clip, over RTMP or by WHIP."""
    if by == "rtmp":
        with publish(f"rtmp://127.0.0.1:{rtmp}/{PATH}", folder, clip.with_opus()):
            yield
        return
    command = [sys.executable, "-m", "bench.webrtc_publisher", str(port), PATH]
    with Process(command, LOAD_CORE, folder / "publisher.log", {"PYTHONPATH": str(ROOT)}) as process:
        process.wait_for_text("publishing")
        yield


def counted_between(first: Row, last: Row) -> tuple[dict[str, tuple[float, float]], float]:
    """Seconds and calls of each part, without what counting takes; and the seconds that it takes."""
    parts: dict[str, tuple[float, float]] = {}
    counting = 0.0
    for name, now in last["parts"].items():
        spent, calls, within = (a - b for a, b in zip(now, first["parts"].get(name, (0, 0, 0)), strict=True))
        parts[name] = (spent - calls * last["own"] - within * last["outer"]) / 1e9, calls
        counting += calls * (last["own"] + last["outer"]) / 1e9
    return parts, counting


def serve(viewers: int, options: argparse.Namespace) -> Row:
    """One run of the server."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name, ExitStack() as stack:
        process, rtmp, port, counters = stack.enter_context(penstock(Path(name), parts=options.parts))
        stack.enter_context(published(options.publisher, rtmp, port, Path(name)))
        time.sleep(1)
        idle, began = cpu(process), time.monotonic()
        time.sleep(1)
        idle = (cpu(process) - idle) / (time.monotonic() - began)
        crowd = stack.enter_context(load(port, PATH, viewers))
        joined = asked(crowd)
        # What was sent at once when they joined is over.
        time.sleep(options.settle)
        before, earlier, first, began = cpu(process), counters(), asked(crowd), time.monotonic()
        time.sleep(options.seconds)
        last, after, ended = asked(crowd), cpu(process), time.monotonic()
        parts, counting = counted_between(earlier, counters())
    row: Row = {key: last[key] - first[key] for key in ("packets", "bytes", "lost", "bad", "pictures", "cpu")}
    window, took = ended - began, after - before
    delays, joins = sorted(last["delays"]), sorted(joined["first"])
    row |= {f"{name}_us": parts[name][0] / row["packets"] * 1e6 for name in ("encryption", "sending")}
    known = sum(spent for spent, _ in parts.values()) + counting
    parts["the event loop, and all else"] = took - known, 0
    return row | {
        "counting_us": counting / row["packets"] * 1e6,
        "parts": {name: (spent / window, calls / window) for name, (spent, calls) in parts.items()},
        "viewers": viewers,
        "window": window,
        "idle": idle,
        "core": took / window,
        "load_core": row["cpu"] / window,
        "packet_us": took / row["packets"] * 1e6,
        "idle_us": idle * window / row["packets"] * 1e6,
        "cost": took / (row["bytes"] * 8 / 1e9),
        "share": row["pictures"] / (window * clip.FPS * viewers),
        "mbps": row["bytes"] * 8 / window / 1e6,
        "delay": delays,
        "first": joins,
    }


def at(values: Sequence[float], share: float) -> float:
    return values[min(len(values) - 1, int(len(values) * share))] if values else float("nan")


def parts_table(rows: Sequence[Row], facts: dict[str, str]) -> str:
    """What each part takes of a second, and of it how often and how much at a time."""
    numbers = [row["viewers"] for row in rows]
    head = "| ms of each second (calls × us) | " + " | ".join(f"{n} viewers" for n in numbers) + " |"
    lines = [report.where(facts), "", head, "|---" * (len(rows) + 1) + "|"]

    def cell(spent: float, calls: float) -> str:
        each = f" ({calls:.0f} × {spent / calls * 1e6:.1f})" if calls else ""
        return f"{spent * 1e3:.1f}{each}"

    for name in sorted(rows[-1]["parts"], key=lambda name: -rows[-1]["parts"][name][0]):
        cells = [cell(*row["parts"].get(name, (0, 0))) for row in rows]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    counting = [row["counting_us"] * row["packets"] / row["window"] / 1e3 for row in rows]
    lines.append("| counting | " + " | ".join(f"{ms:.1f}" for ms in counting) + " |")
    return "\n".join(lines)


HEAD = (
    "| viewers | delivered | lost | core | cpu-s/Gbit | us a packet | encryption | sending | counting | the rest "
    "| of it a stream without viewers | rest : encryption and sending | viewers' core "
    "| age of a picture p50 / p99, ms | first picture p50 / p99, ms |"
)


def table(rows: Sequence[Row], facts: dict[str, str]) -> str:
    lines = [report.where(facts), "", HEAD, "|---" * HEAD.count(" | ") + "|---|"]
    for viewers in sorted({row["viewers"] for row in rows}):
        here = [row for row in rows if row["viewers"] == viewers]

        def middle(name: str, here: Sequence[Row] = here) -> float:
            return statistics.median(row[name] for row in here)

        delays = sorted(d for row in here for d in row["delay"])
        firsts = sorted(f for row in here for f in row["first"])
        base = middle("encryption_us") + middle("sending_us")
        rest = middle("packet_us") - base - middle("counting_us")
        cells = [f"{viewers}", f"{middle('share'):.1%}", f"{sum(row['lost'] + row['bad'] for row in here)}"]
        cells += [f"{middle('core'):.0%}", f"{middle('cost'):.3f}", f"{middle('packet_us'):.2f}"]
        cells += [f"{middle('encryption_us'):.2f}", f"{middle('sending_us'):.2f}"]
        cells += [f"{middle('counting_us'):.2f}", f"{rest:.2f}"]
        cells += [f"{middle('idle_us'):.2f}", f"{rest / base:.2f}", f"{middle('load_core'):.0%}"]
        cells += [
            f"{at(delays, 0.5):.1f} / {at(delays, 0.99):.1f}",
            f"{at(firsts, 0.5):.0f} / {at(firsts, 0.99):.0f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.webrtc", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--viewers", type=numbers, default=[10, 50, 100, 300])
    parser.add_argument("--seconds", type=float, default=8, help="length of one measurement")
    parser.add_argument("--settle", type=float, default=2)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--publisher", choices=["rtmp", "whip"], default="rtmp")
    parser.add_argument(
        "--parts", action="store_true", help="what the rest is made of, in place of the table"
    )
    parser.add_argument("--mark", default="webrtc", help="section of that page")
    parser.add_argument("--out", type=Path, help="page to put the table into")
    parser.add_argument("--raw", type=Path, default=RESULTS / "webrtc.json", help="where raw results go")
    options = parser.parse_args()
    clip.with_opus()
    rows: list[Row] = []
    for _ in range(options.runs):
        for viewers in options.viewers:
            row = serve(viewers, options)
            rows.append(row)
            parts = f"{row['encryption_us']:.2f} of it encryption, {row['sending_us']:.2f} sending"
            say(f"{viewers} viewers: {row['packet_us']:.2f} us a packet, {parts}")
    facts = machine("bench.webrtc")
    report.finish(
        {"machine": facts, "rows": rows},
        (parts_table if options.parts else table)(rows, facts),
        raw=options.raw,
        mark=options.mark,
        page=options.out,
    )


if __name__ == "__main__":
    main()
