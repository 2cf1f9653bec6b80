"""Blocked reloads let go: ``python -m bench.reloads --waiting 2000,10000``.

So many connections wait for the next part of a Low-Latency HLS playlist. What is measured is the time from the picture that
completes the part to the last whole response, and how long the server's event loop was held at a stretch meanwhile.
Server on core 0, all who wait on core 1.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import socket
import statistics
import subprocess
import sys
import time
from base64 import b64decode
from pathlib import Path
from typing import Any

import anyio

from bench import report
from bench.fanout import machine, numbers, say
from bench.paths import RESULTS
from bench.tools import LOAD_CORE, SERVER_CORE, Unavailable
from penstock import NS, Publisher, Server, log
from penstock.plugins import PluginSet
from penstock.run import raise_file_limit
from penstock_codecs.h264 import H264, H264Config
from penstock_codecs.h264 import plugin as h264
from penstock_hls.plugin import plugin as hls
from penstock_hls.server import FORMATS
from penstock_http.plugin import plugin as http

Row = dict[str, Any]
SPS, PPS = b64decode("Z0LADNoFBn58BEAAAAMAQAAADIPFCqg="), b"\x68\xef\x83\x9c\xb0"
PATH = "live/bench"
RATE, GOP = 25, 50
BEFORE = 6 * GOP + 7
"""Pictures before anybody asks: six segments, and a part of the seventh."""
PROBE_SECONDS = 0.001
NUMBER = b"\r\ncontent-length: "


# -- the server, in a process of its own ------------------------------------------


def write(publisher: Publisher, track: int, first: int, last: int) -> None:
    for n in range(first, last):
        key = n % GOP == 0
        unit = (b"\x65\x88" if key else b"\x41\x9a") + n.to_bytes(4, "big") + bytes(4000)
        at = n * NS // RATE
        publisher.write(track, (unit,), pts=at, dts=at, key=key)


async def longest_turn(seconds: float, found: list[float]) -> None:
    """Adds to `found` the most of the loop's thread's processor time between two turns of a timer."""
    longest, until = 0.0, time.monotonic() + seconds
    while time.monotonic() < until:
        before = time.thread_time()
        await anyio.sleep(PROBE_SECONDS)
        longest = max(longest, time.thread_time() - before)
    found.append(longest)


async def serve() -> None:
    log.configure("error", "json")
    plugins = PluginSet.discover([http, hls, h264], installed=False)
    tables = {"http": {"listen": "127.0.0.1:0"}, "server": {"segment_seconds": 2.0}}
    async with Server(tables, plugins=plugins) as server:
        session = server.open_session("bench", "127.0.0.1:1")
        publisher = await server.streams.publish(session, PATH)
        track = publisher.add_track(H264, 90_000, H264Config((SPS,), (PPS,))).id
        publisher.tracks_complete()
        store = publisher.stream.segments(FORMATS["ll"])
        write(publisher, track, 0, BEFORE)
        number, part = store.renditions["v1"].position
        port = next(e.port for e in server.endpoints if e.what == "http")
        say_to_parent(port=port, number=number, part=part)
        await anyio.to_thread.run_sync(sys.stdin.readline)
        say_to_parent(waiting=store.waiting)
        found: list[float] = []
        began = 0.0
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(longest_turn, 3.0, found)
            await anyio.sleep(0.05)
            began = time.monotonic()
            write(publisher, track, BEFORE, BEFORE + 5)
        say_to_parent(began=began, longest=found[0])
        publisher.close()
        server.close_session(session)


def say_to_parent(**values: object) -> None:
    print(json.dumps(values), flush=True)


# -- those who wait -------------------------------------------------------------


def connect(port: int, url: str, count: int) -> dict[int, socket.socket]:
    asks = f"GET {url} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: viewer\r\n\r\n".encode()
    waiting: dict[int, socket.socket] = {}
    for _ in range(count):
        sock = socket.create_connection(("127.0.0.1", port))
        sock.sendall(asks)
        sock.setblocking(False)
        waiting[sock.fileno()] = sock
    return waiting


def take(waiting: dict[int, socket.socket], poll: select.epoll) -> list[float]:
    """When each had all of its response."""
    received = dict.fromkeys(waiting, b"")
    done: list[float] = []
    deadline = time.monotonic() + 20
    while received and time.monotonic() < deadline:
        for number, _ in poll.poll(0.1, 4096):
            received[number] += waiting[number].recv(1 << 16)
            head, end, body = received[number].partition(b"\r\n\r\n")
            if end and len(body) == int(head.partition(NUMBER)[2].partition(b"\r")[0]):
                if not head.startswith(b"HTTP/1.1 200 "):
                    raise Unavailable(head.decode())
                done.append(time.monotonic())
                poll.unregister(number)
                del received[number]
    if received:
        raise Unavailable(f"{len(received)} have nothing")
    return done


def measure(count: int) -> Row:
    command = ["taskset", "-c", str(SERVER_CORE), sys.executable, "-m", "bench.reloads", "--serve"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        ready = json.loads(server.stdout.readline())
        folder = f"/{PATH}/hls/ll-v1.m3u8"
        connect(ready["port"], folder, 1)
        time.sleep(0.2)
        url = f"{folder}?_HLS_msn={ready['number']}&_HLS_part={ready['part']}"
        waiting = connect(ready["port"], url, count)
        poll = select.epoll()
        for number in waiting:
            poll.register(number, select.EPOLLIN)
        time.sleep(1.0)
        server.stdin.write("go\n")
        server.stdin.flush()
        held = json.loads(server.stdout.readline())["waiting"]
        done = take(waiting, poll)
        found = json.loads(server.stdout.readline())
        for sock in waiting.values():
            sock.close()
    if held != count:
        raise Unavailable(f"{held} of {count} waited")
    took = [at - found["began"] for at in done]
    return {
        "waiting": count,
        "median": statistics.median(took),
        "last": max(took),
        "longest": found["longest"],
    }


def table(rows: list[Row], facts: dict[str, str]) -> str:
    lines = [
        report.where(facts),
        "",
        "| waiting | half are let go after | all | event loop held at a stretch |",
        "|---|---|---|---|",
    ]
    for count in sorted({row["waiting"] for row in rows}):
        own = [row for row in rows if row["waiting"] == count]
        worst = {key: max(row[key] for row in own) for key in ("median", "last", "longest")}
        lines.append(
            f"| {count} | {worst['median']:.2f} s | {worst['last']:.2f} s | {1000 * worst['longest']:.0f} ms |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.reloads", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--waiting", type=numbers, default=[2000, 10_000])
    parser.add_argument("--runs", type=int, default=3, help="of which the worst is shown")
    parser.add_argument("--out", type=Path, help="page to put the table into")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    raise_file_limit()
    if options.serve:
        anyio.run(serve, backend_options={"use_uvloop": True})
        return
    os.sched_setaffinity(0, {LOAD_CORE})
    rows: list[Row] = []
    for count in options.waiting:
        for _ in range(options.runs):
            rows.append(measure(count))
            say(table(rows[-1:], machine("bench.reloads")).splitlines()[-1])
    facts = machine("bench.reloads")
    result = {"machine": facts, "rows": rows}
    report.finish(result, table(rows, facts), raw=RESULTS / "reloads.json", mark="reloads", page=options.out)


if __name__ == "__main__":
    main()
