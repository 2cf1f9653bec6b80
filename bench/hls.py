"""HLS beside a file server: ``python -m bench.hls --players 300,1000``.

One penstock segments a stream (MPEG-TS, 2 s) and writes it to a directory; nginx serves that directory. Each viewer asks for
the playlist every 2 s and for every segment, from penstock and then from nginx, in the same run. Of penstock they ask once in
the same words, as caches do, and once each for the playlist that its own multivariant playlist names, as players do. Servers
are on core 0, publisher and viewers on core 1. Penstock's CPU has all that it does: ingest, segmenting, writing, serving.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urljoin
from urllib.request import urlopen

from bench import report
from bench.contestants import publish
from bench.fanout import machine, numbers, say
from bench.paths import RESULTS
from bench.tools import LOAD_CORE, SERVER_CORE, Process, Unavailable, free_port, program

Row = dict[str, Any]
PLAYLIST = "live/bench/hls/ts-main.m3u8"
OWN = "penstock, a session for each viewer"
MULTIVARIANT = "live/bench.m3u8?variant=ts"
SEGMENT_SECONDS = 2.0


def nginx_config(folder: Path, root: Path, port: int) -> str:
    return f"""
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log error;
events {{ worker_connections 8192; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_timeout 60; keepalive_requests 100000;
  types {{ application/vnd.apple.mpegurl m3u8; video/mp2t ts; }}
  client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  server {{ listen 127.0.0.1:{port}; root {root}; }}
}}
"""


@contextmanager
def serving(folder: Path) -> Iterator[dict[str, tuple[Process, int]]]:
    """Both servers by name with their ports, once the first segments are there."""
    nginx = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    if nginx is None:
        raise Unavailable("nginx is not installed")
    root = folder / "files"
    rtmp, http, port = free_port(), free_port(), free_port()
    settings = [
        f"rtmp.listen=127.0.0.1:{rtmp}", f"http.listen=127.0.0.1:{http}",
        "rtsp.enabled=false", "srt.enabled=false", "webrtc.enabled=false",
        f"server.segment_seconds={SEGMENT_SECONDS:g}", f"hls.directory={root}", "hls.directory_variant=ts",
    ]  # fmt: skip
    command = [sys.executable, "-m", "penstock", "serve"]
    for setting in settings:
        command += ["--set", setting]
    config = folder / "nginx.conf"
    with ExitStack() as stack:
        ours = stack.enter_context(Process(command, SERVER_CORE, folder / "server.log"))
        ours.wait_for_port(rtmp)
        ours.wait_for_port(http)
        stack.enter_context(publish(f"rtmp://127.0.0.1:{rtmp}/live/bench", folder))
        config.write_text(("user root;\n" if os.geteuid() == 0 else "") + nginx_config(folder, root, port))
        theirs = stack.enter_context(
            Process([nginx, "-p", str(folder), "-c", str(config)], SERVER_CORE, folder / "nginx.log")
        )
        theirs.wait_for_port(port)
        deadline = time.monotonic() + 20
        while not (root / PLAYLIST).exists():
            if time.monotonic() > deadline:
                raise Unavailable(f"no segment came: {ours.last_words()}")
            time.sleep(0.1)
        time.sleep(3 * SEGMENT_SECONDS)
        yield {"penstock": (ours, http), OWN: (ours, http), "nginx": (theirs, port)}


def own_playlists(port: int, players: int) -> Iterator[str]:
    """The path of a playlist for each viewer, which has asked for its multivariant playlist."""
    base = f"http://127.0.0.1:{port}/"
    for _ in range(players):
        with urlopen(base + MULTIVARIANT, timeout=10) as response:
            lines = response.read().decode().split()
        found = next(line for line in lines if line and not line.startswith("#") and ".m3u8" in line)
        yield urljoin(base + MULTIVARIANT, found).removeprefix(base)


def measure(
    process: Process, port: int, players: int, options: argparse.Namespace, paths: Path | None
) -> Row:
    command = [
        "taskset",
        "-c",
        str(LOAD_CORE),
        program("hls"),
        "--url",
        f"http://127.0.0.1:{port}/{PLAYLIST}",
    ]
    command += ["--players", str(players), "--seconds", str(options.seconds), "--settle", str(options.settle)]
    command += ["--server-pid", ",".join(map(str, process.pids())), "--server-core", str(SERVER_CORE)]
    if paths is not None:
        command += ["--paths", str(paths)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=options.seconds + options.settle + 60
    )
    if not done.stdout:
        raise Unavailable((done.stderr.strip().splitlines() or ["no message"])[-1])
    row: Row = json.loads(done.stdout)
    gbit = row["bytes"] * 8 / 1e9
    row["share"] = row["segments"] / (players * row["window"] / SEGMENT_SECONDS)
    row["core"] = row["server_cpu"] / row["window"]
    row["cost"] = row["server_cpu"] / gbit if gbit else 0.0
    row["receiver_cost"] = row["own_cpu"] / gbit if gbit else 0.0
    row["per_player"] = 1000 * row["server_cpu"] / (players * row["window"])
    return row


def table(rows: list[Row], facts: dict[str, str]) -> str:
    lines = [
        f"{facts['cpu']}, {facts['kernel']}, Python {facts['python']}, {facts['date']}; `{facts['command']}`",
        "",
        "| server | viewers | cpu-s/Gbit | of the viewers | cpu-s per 1000 viewer-s | core | segments delivered "
        "| segment, ms (p50, p99) | times nginx |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for players in sorted({r["players"] for r in rows}):
        base = _median([r["cost"] for r in rows if r["players"] == players and r["server"] == "nginx"])
        for server in ("penstock", OWN, "nginx"):
            own = [r for r in rows if r["players"] == players and r["server"] == server]
            if not own:
                continue
            cost = [r["cost"] for r in own]
            ms = [r["segment_ms"] for r in own if r["segment_ms"]]
            lines.append(
                f"| {server} | {players} | {_median(cost):.3f} ({min(cost):.3f} to {max(cost):.3f}) "
                f"| {_median([r['receiver_cost'] for r in own]):.3f} "
                f"| {_median([r['per_player'] for r in own]):.3f} | {_median([r['core'] for r in own]):.0%} "
                f"| {_median([r['share'] for r in own]):.1%} "
                f"| {_median([m['p50'] for m in ms]):.1f}, {_median([m['p99'] for m in ms]):.1f} "
                f"| {_median(cost) / base if base else 0:.2f} |"
            )
    return "\n".join(lines)


def _median(values: list[float]) -> float:
    return statistics.median(values) if values else 0.0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.hls", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--players", type=numbers, default=[300, 1000])
    parser.add_argument("--seconds", type=float, default=10, help="length of one measurement")
    parser.add_argument("--settle", type=float, default=3)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--out", type=Path, help="page to put the table into")
    parser.add_argument("--raw", type=Path, default=RESULTS / "hls.json", help="where raw results go")
    options = parser.parse_args()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        Path(name).chmod(0o755)
        with serving(Path(name)) as servers:
            for players in options.players:
                for run in range(options.runs):
                    for server, (process, port) in servers.items():
                        paths = None
                        if server == OWN:
                            paths = Path(name) / "paths"
                            paths.write_text("\n".join(own_playlists(port, players)))
                        row = measure(process, port, players, options, paths) | {"server": server, "run": run}
                        rows.append(row)
                        say(
                            f"{server}, {players} viewers: {row['cost']:.3f} + {row['receiver_cost']:.3f} cpu-s/Gbit, "
                            f"{row['core']:.0%} of the core, {row['share']:.1%} of the segments"
                        )
    facts = machine("bench.hls")
    result = {"machine": facts, "rows": rows}
    report.finish(result, table(rows, facts), raw=options.raw, mark="hls", page=options.out)


if __name__ == "__main__":
    main()
