"""SRT beside libsrt's srt-live-transmit: ``python -m bench.srt --out docs/performance.md``.

Out: readers of one stream of 2.1 Mbit/s and of one of 8 Mbit/s, each plain and AES-128; srt-live-transmit serves one reader a
process, so that as many processes are run as `TRANSMITS`. In: one publisher at a constant rate, whose transport stream penstock
takes apart and srt-live-transmit writes to /dev/null, as the same port does by itself (`bench.srt_sink`): the rest is what the
demultiplexer and the stream behind it cost.
Servers are on core 0, publishers and readers on core 1; what counts is the processor time of the server's threads.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from bench import report, srt_sink
from bench.contestants import publish
from bench.fanout import machine, numbers, say
from bench.paths import BUILD, RESULTS
from bench.tools import LOAD_CORE, SERVER_CORE, Process, Unavailable, free_port

Row = dict[str, Any]
PAYLOAD = 1316
PASSPHRASE = "0123456789abcdef"
TRANSMITS = 10
CLIP_MBPS = 2.1
"""What is published by RTMP (`bench.contestants.publish`), as in the other benches."""
STREAM = "#!::r=live/bench"
TRANSMIT = "srt-live-transmit"


def cpu(process: Process) -> float:
    """Seconds of processor time of all threads, to the nanosecond."""
    return sum(
        int((task / "schedstat").read_text().split()[0])
        for pid in process.pids()
        for task in Path(f"/proc/{pid}/task").iterdir()
    ) / 1e9  # fmt: skip


def clip(mbps: float) -> Path:
    """Half a minute of MPEG-TS at a constant rate."""
    BUILD.mkdir(parents=True, exist_ok=True)
    target = BUILD / f"srt-{mbps:g}.ts"
    if not target.exists():
        video = f"{0.93 * mbps - 0.15:.3f}M"
        command = ["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", "testsrc2=size=1280x720:rate=30"]
        command += ["-f", "lavfi", "-i", "sine=440:sample_rate=48000", "-t", "30"]
        command += ["-vf", f"noise=alls={min(60, int(mbps * 2))}:allf=t"]
        command += ["-c:v", "libx264", "-preset", "ultrafast", "-g", "60", "-b:v", video, "-minrate", video]
        command += [
            "-maxrate",
            video,
            "-bufsize",
            video,
            "-x264-params",
            "nal-hrd=cbr",
            "-pix_fmt",
            "yuv420p",
        ]
        command += ["-c:a", "aac", "-b:a", "128k", "-f", "mpegts", "-muxrate", f"{mbps:g}M", str(target)]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return target


@contextmanager
def penstock(folder: Path, srt: int, rtmp: int) -> Generator[Process]:
    command = [sys.executable, "-m", "penstock", "serve", "--set", f"srt.listen=127.0.0.1:{srt}"]
    command += [
        "--set",
        f"rtmp.listen=127.0.0.1:{rtmp}",
        "--set",
        "http.enabled=false",
        "--set",
        "rtsp.enabled=false",
        "--set",
        "webrtc.enabled=false",
    ]
    # The streams that are read in secret have their key by their path.
    secret = f'{{"live/bench" = {{secret = "{PASSPHRASE}"}}}}'
    settings = {"PENSTOCK_STREAMS": secret} if folder.name.endswith("aes") else {}
    with Process(command, SERVER_CORE, folder / "server.log", settings) as process:
        process.wait_for_port(rtmp)
        yield process


def over(seconds: float, process: Process, count: Callable[[], dict[str, int]]) -> Row:
    """What a window took, and what came in it."""
    before, first, began = cpu(process), count(), time.monotonic()
    time.sleep(seconds)
    last, after, ended = count(), cpu(process), time.monotonic()
    row: Row = {name: last[name] - first[name] for name in ("packets", "bytes", "dropped")}
    window = ended - began
    gbit = row["bytes"] * 8 / 1e9
    took = after - before
    return row | {
        "cost": took / gbit if gbit else 0.0,
        "packet_us": took / row["packets"] * 1e6 if row["packets"] else 0.0,
        "core": took / window,
        "mbps": gbit * 1000 / window,
    }


@contextmanager
def readers(
    port: int, number: int, stream_id: str, passphrase: str
) -> Generator[Callable[[], dict[str, int]]]:
    command = ["taskset", "-c", str(LOAD_CORE), sys.executable, "-m", "bench.srt_readers"]
    command += [str(port), str(number), stream_id, passphrase]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def count() -> dict[str, int]:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("\n")
            process.stdin.flush()
            found: dict[str, int] = json.loads(process.stdout.readline())
            return found

        try:
            deadline = time.monotonic() + 15
            while (now := count())["connected"] < number:
                if now["refused"] or time.monotonic() > deadline:
                    raise Unavailable(f"not all readers were let in: {now}")
                time.sleep(0.1)
            yield count
        finally:
            process.kill()


def out_of_penstock(players: int, secret: bool, mbps: float, options: argparse.Namespace) -> Row:
    with tempfile.TemporaryDirectory(suffix="aes" if secret else "") as name, ExitStack() as stack:
        srt, rtmp = free_port(), free_port()
        process = stack.enter_context(penstock(Path(name), srt, rtmp))
        if mbps == CLIP_MBPS:
            stack.enter_context(publish(f"rtmp://127.0.0.1:{rtmp}/live/bench", Path(name)))
        else:
            length = 2 * options.settle + options.seconds + 20
            key = PASSPHRASE if secret else ""
            stack.enter_context(sender(srt, mbps, length, "#!::r=live/bench,m=publish", key))
        time.sleep(1)
        if players:
            count = stack.enter_context(readers(srt, players, STREAM, PASSPHRASE if secret else ""))
        else:
            nothing: dict[str, int] = {"packets": 0, "bytes": 0, "dropped": 0}
            count = nothing.copy
        # What was sent at once when they joined is over.
        time.sleep(options.settle)
        return over(options.seconds, process, count)


def out_of_transmit(secret: bool, mbps: float, options: argparse.Namespace) -> Row:
    """`TRANSMITS` processes, each with a reader, all fed the same over UDP."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        serving: list[Process] = []
        counts: list[Callable[[], dict[str, int]]] = []
        feeds: list[str] = []
        words = f"&passphrase={PASSPHRASE}&pbkeylen=16" if secret else ""
        for number in range(TRANSMITS):
            srt, udp = free_port(), free_port()
            url = f"srt://127.0.0.1:{srt}?mode=listener{words}"
            command = [shutil.which(TRANSMIT) or TRANSMIT, "-q", f"udp://:{udp}", url]
            serving.append(stack.enter_context(Process(command, SERVER_CORE, folder / f"{number}.log")))
            feeds.append(f"[f=mpegts]udp://127.0.0.1:{udp}?pkt_size={PAYLOAD}")
            time.sleep(0.1)
            counts.append(stack.enter_context(readers(srt, 1, "", PASSPHRASE if secret else "")))
        command = [
            "ffmpeg",
            "-v",
            "error",
            "-re",
            "-i",
            str(clip(mbps)),
            "-map",
            "0",
            "-c",
            "copy",
            "-f",
            "tee",
            "|".join(feeds),
        ]
        stack.enter_context(Process(command, LOAD_CORE, folder / "ffmpeg.log"))

        def count() -> dict[str, int]:
            found = [one() for one in counts]
            return {key: sum(one[key] for one in found) for key in found[0]}

        time.sleep(options.settle)
        before = [cpu(one) for one in serving]
        row = over(options.seconds, serving[0], count)
        took = sum(cpu(one) - b for one, b in zip(serving, before, strict=True))
        gbit = row["bytes"] * 8 / 1e9
        return row | {
            "cost": took / gbit,
            "packet_us": took / row["packets"] * 1e6,
            "core": took / options.seconds,
        }


@contextmanager
def sender(
    port: int, mbps: float, seconds: float, stream_id: str, passphrase: str = ""
) -> Generator[subprocess.Popen[str]]:
    command = [
        "taskset",
        "-c",
        str(LOAD_CORE),
        sys.executable,
        "-m",
        "bench.srt_peer",
        "call",
        "127.0.0.1",
        str(port),
    ]
    command += ["send", "--mbps", f"{mbps:g}", "--seconds", f"{seconds:g}", "--file", str(clip(mbps))]
    command += ["--streamid", stream_id, "--passphrase", passphrase]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def into(server: str, mbps: float, options: argparse.Namespace) -> Row:
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        srt, rtmp = free_port(), free_port()
        if server == "penstock":
            process = stack.enter_context(penstock(folder, srt, rtmp))
        else:
            url = f"srt://127.0.0.1:{srt}?mode=listener"
            command = ["sh", "-c", f"exec {shutil.which(TRANSMIT)} -q '{url}' file://con >/dev/null"]
            if server == "alone":
                command = [sys.executable, str(Path(srt_sink.__file__)), str(srt)]
            process = stack.enter_context(Process(command, SERVER_CORE, folder / "server.log"))
            while f":{srt:04X} " not in Path("/proc/net/udp").read_text():
                if process.child.poll() is not None:
                    raise Unavailable(process.last_words())
                time.sleep(0.1)
        length = options.settle + options.seconds + 2
        publisher = stack.enter_context(sender(srt, mbps, length, "#!::r=live/in,m=publish"))
        time.sleep(options.settle)
        if publisher.poll() is not None:
            raise Unavailable(f"the publisher left: {process.last_words()}")
        rate = mbps * 1e6 / 8 / PAYLOAD

        def count() -> dict[str, int]:
            # What comes is what is sent: at this pace, over loopback.
            sent = int(time.monotonic() * rate)
            return {"packets": sent, "bytes": sent * PAYLOAD, "dropped": 0}

        row = over(options.seconds, process, count)
        said = json.loads((publisher.communicate()[0] or "{}").strip() or "{}")
        return row | {"again": said.get("pktRetrans", 0), "lost": said.get("pktSndDrop", 0)}


def table(rows: list[Row], facts: dict[str, str]) -> str:
    lines = [
        f"{facts['cpu']}, {facts['kernel']}, Python {facts['python']}, {facts['date']}; `{facts['command']}`",
        "",
        "| to readers | Mbit/s | readers | cpu-s/Gbit | us a packet and reader | of it the stream without readers "
        "| core | dropped | times libsrt |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["way"], row["server"], row["secret"], row["size"], row["rate"]), []).append(
            row
        )

    def middle(key: tuple[Any, ...], name: str) -> float:
        return statistics.median(row[name] for row in groups[key]) if key in groups else 0.0

    for key in groups:
        way, server, secret, size, rate = key
        if way == "out":
            base = middle(("out", TRANSMIT, secret, TRANSMITS, rate), "packet_us")
            us, core = middle(key, "packet_us"), middle(key, "core")
            alone = us * middle(("stream", server, secret, 0, rate), "core") / core
            lines.append(
                f"| {server}, {'AES-128' if secret else 'plain'} | {rate:g} | {size} | {middle(key, 'cost'):.3f} | {us:.1f} "
                f"| {f'{alone:.1f}' if alone else '-'}"
                f" | {middle(key, 'core'):.0%} | {middle(key, 'dropped'):.0f} | {us / base if base else 0:.2f} |"
            )
    lines += [
        "",
        "| from a publisher | Mbit/s | us a packet | of it TS and stream | of it SRT | core | sent again | times libsrt "
        "| SRT : libsrt |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for key in groups:
        way, server, _, size, rate = key
        if way == "in":
            base = middle(("in", TRANSMIT, False, 1, rate), "packet_us")
            us = middle(key, "packet_us")
            alone = middle(("alone", server, False, 1, rate), "packet_us")
            lines.append(
                f"| {server} | {rate:g} | {us:.1f} | {f'{us - alone:.1f}' if alone else '-'} | {alone or us:.1f} "
                f"| {middle(key, 'core'):.1%} | {middle(key, 'again'):.0f} | {us / base if base else 0:.2f} "
                f"| {(alone or us) / base if base else 0:.2f} |"
            )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.srt", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--players", type=numbers, default=[10, 50, 100])
    parser.add_argument(
        "--fast", type=float, default=8, help="rate of another stream that is read, 0 for none"
    )
    parser.add_argument("--mbps", type=numbers, default=[2, 8, 50])
    parser.add_argument("--only", choices=["in", "out"], help="one way")
    parser.add_argument("--ours", action="store_true", help="penstock alone")
    parser.add_argument("--cipher", choices=["plain", "aes"], help="readers in clear only, or encrypted only")
    parser.add_argument("--seconds", type=float, default=5, help="length of one measurement")
    parser.add_argument("--settle", type=float, default=3)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--out", type=Path, help="page to put the table into")
    parser.add_argument("--raw", type=Path, default=RESULTS / "srt.json", help="where raw results go")
    options = parser.parse_args()
    rows: list[Row] = []

    def take(way: str, server: str, secret: bool, size: int, rate: float, measure: Callable[[], Row]) -> None:
        what = f"{way} {server} {'AES' if secret else 'plain'} {size} {rate:g}"
        try:
            row = measure()
        except Unavailable as error:
            say(f"{what}: {error}")
            return
        rows.append({"way": way, "server": server, "secret": secret, "size": size, "rate": rate, **row})
        say(f"{what}: {row['packet_us']:.1f} us a packet")

    for rate in {CLIP_MBPS, options.fast or CLIP_MBPS, *options.mbps}:
        clip(rate)
    for _ in range(options.runs):
        if options.only != "in":
            ciphers = {"plain": [False], "aes": [True]}.get(options.cipher, [False, True])
            for secret, rate in product(ciphers, (CLIP_MBPS, options.fast)):
                if not rate:
                    continue
                take(
                    "stream", "penstock", secret, 0, rate, partial(out_of_penstock, 0, secret, rate, options)
                )
                for players in options.players:
                    measure = partial(out_of_penstock, players, secret, rate, options)
                    take("out", "penstock", secret, players, rate, measure)
                if not options.ours:
                    take(
                        "out",
                        TRANSMIT,
                        secret,
                        TRANSMITS,
                        rate,
                        partial(out_of_transmit, secret, rate, options),
                    )
        if options.only != "out":
            for mbps in options.mbps:
                take("in", "penstock", False, 1, mbps, partial(into, "penstock", mbps, options))
                take("alone", "penstock", False, 1, mbps, partial(into, "alone", mbps, options))
                if not options.ours:
                    take("in", TRANSMIT, False, 1, mbps, partial(into, TRANSMIT, mbps, options))
    facts = machine("bench.srt")
    result = {"machine": facts, "rows": rows}
    report.finish(result, table(rows, facts), raw=options.raw, mark="srt", page=options.out)


if __name__ == "__main__":
    main()
