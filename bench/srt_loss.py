"""What is lost for good over a bad link: libsrt with itself, ours with libsrt both ways, ours with itself, in one run.

``sudo python -m bench.srt_loss [--seconds 20] [--case 40,120,10,0]``; needs srt-live-transmit (``apt install srt-tools``) and
``shared/tools/tunnetem.py``, whose place ``TUNNETEM`` may say. A case is RTT and latency in ms, loss in % of
either way, and the mean of packets that are lost in a row (0: each by itself). How bursts fall is chance: ``--lanes`` measure
beside each other, over a link each, as the rate is low; cases with bursts have ``--burst-seconds`` a run.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from attrs import asdict, define

from bench import report
from bench.bad_link import HOST, ROOT, TUNNETEM, bad_link, within
from bench.fanout import machine, say
from bench.paths import RESULTS
from bench.srt_peer import PAYLOAD, numbered

CASES = [(40, 120, 1, 0), (40, 120, 5, 0), (40, 120, 10, 0), (100, 400, 10, 0), (100, 400, 20, 0),
         (40, 120, 5, 5), (100, 400, 10, 10)]  # fmt: skip
PAIRS = [("libsrt", "libsrt"), ("ours", "libsrt"), ("libsrt", "ours"), ("ours", "ours")]
PORT = 9710
WARM_UP = 2
"""Seconds that are not counted: libsrt takes the round trip for 100 ms at first, and asks again each 150."""
OWN_NAMES = ["unshare", "--net", "--mount", "sh", "-c", 'mount -t tmpfs tmpfs /run/netns && exec "$@"', "sh"]
"""A lane has network namespaces of its own, by the same names."""

Case = tuple[int, ...]


@define
class Run:
    """One pair in one case: of `due` packets `lost` never came, and `again` of `sent` were sent once more."""

    case: Case
    sender: str
    receiver: str
    lost: int
    due: int
    again: int
    sent: int

    @property
    def share(self) -> float:
        return 100 * self.lost / self.due


def peer(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "bench.srt_peer", *arguments]


def feed(process: subprocess.Popen[bytes], mbps: float, seconds: float) -> None:
    """What our sender sends, to a tool that reads it."""
    assert process.stdin is not None
    began, gap = time.monotonic(), PAYLOAD * 8 / (mbps * 1e6)
    with contextlib.suppress(BrokenPipeError):
        for n in range(int(seconds / gap)):
            time.sleep(max(0.0, began + n * gap - time.monotonic()))
            process.stdin.write(numbered(n))
            process.stdin.flush()
        time.sleep(2)
    # At the end of its input alone it would wait for more.
    process.terminate()
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()


def lost(data: bytes, sent: int, skipped: int) -> tuple[int, int]:
    """How many numbers are missing, and of how many, from the first that is there and so many more to the last.

    srt-live-transmit reads the last packets of its input only when more follow, and nobody misses what comes last.
    """
    numbers = {int.from_bytes(data[at + 1 : at + 9], "big") for at in range(0, len(data), PAYLOAD)}
    if not numbers:
        return sent, sent
    first = min(numbers) + skipped
    due = max(numbers) + 1 - first
    return due - sum(number >= first for number in numbers), due


def retransmitted(file: Path) -> int:
    """Of the statistics that srt-live-transmit leaves."""
    rows = list(csv.DictReader(file.read_text().splitlines())) if file.exists() else []
    return sum(int(row["pktRetrans"]) for row in rows if (row.get("pktRetrans") or "").isdigit())


def play(sender: str, receiver: str, case: Case, a: argparse.Namespace) -> Run:
    rtt, latency, loss, burst = case
    seconds = a.burst_seconds if burst else a.seconds
    sent = int(seconds * a.mbps * 1e6 / 8 / PAYLOAD)
    with tempfile.TemporaryDirectory() as name, bad_link(rtt=rtt, loss=loss, burst=burst, seed=a.seed):
        out, stats = Path(name) / "out", Path(name) / "stats.csv"
        uri = f"srt://{HOST}:{PORT}?latency={latency}"
        common = ["--latency", str(latency), "--mbps", str(a.mbps), "--seconds", str(seconds)]
        with out.open("wb") as sink:
            receiving = subprocess.Popen(
                within("nmA", *peer("listen", HOST, str(PORT), "receive", *common, "--file", str(out)))
                if receiver == "ours"
                else within("nmA", "srt-live-transmit", "-q", "-a:no", "-chunk:1316", f"{uri}&mode=listener", "file://con"),
                stdout=subprocess.DEVNULL if receiver == "ours" else sink, cwd=ROOT, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            time.sleep(1.0)
            sending = subprocess.Popen(
                within("nmB", *peer("call", HOST, str(PORT), "send", *common))
                if sender == "ours"
                else within("nmB", "srt-live-transmit", "-q", "-a:no", "-chunk:1316", "-s:100",
                            "-pf:csv", f"-statsout:{stats}", "file://con", uri),
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            if sender != "ours":
                threading.Thread(target=feed, args=(sending, a.mbps, seconds), daemon=True).start()
            assert sending.stdout is not None
            said = sending.stdout.read()
            sending.wait(seconds + 30)
            with contextlib.suppress(subprocess.TimeoutExpired):
                receiving.wait(8)
            receiving.kill()
            receiving.wait()
        missing, due = lost(out.read_bytes(), sent, int(WARM_UP * sent / seconds))
        again = json.loads(said)["pktRetrans"] if sender == "ours" and said else retransmitted(stats)
    return Run(case, sender, receiver, missing, due, again, sent)


def runs(a: argparse.Namespace) -> Iterator[Run]:
    """All of them, each pair in turn."""
    for _ in range(a.runs):
        for case in a.case:
            for sender, receiver in a.pair:
                run = play(sender, receiver, case, a)
                a.seed += a.lanes
                while run.lost == run.due:
                    # What is lost in a row may be all handshakes of three seconds: nothing was measured.
                    run = play(sender, receiver, case, a)
                    a.seed += a.lanes
                yield run


def lane(number: int) -> list[Run]:
    """What one of several finds, in a process and with namespaces of its own."""
    own = [sys.executable, "-m", "bench.srt_loss", *sys.argv[1:], "--lane", str(number)]
    process = subprocess.Popen([*OWN_NAMES, *own], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    found: list[Run] = []
    for line in process.stdout:
        found.append(Run(**json.loads(line)))
        say(cell([found[-1]]) + f" {found[-1].sender} > {found[-1].receiver}, {found[-1].case}")
    process.wait()
    return found


def cell(found: list[Run]) -> str:
    """What was lost for good in % of all that was due, of how many, in the run that lost least and most; and sent again."""
    share = 100 * sum(run.lost for run in found) / sum(run.due for run in found)
    again = 100 * sum(run.again for run in found) / sum(run.sent for run in found)
    shares = [run.share for run in found]
    spread = f" [{min(shares):.2f}-{max(shares):.2f}]" if len(found) > 1 else ""
    return f"{share:.3f} %{spread}, +{again:.1f} %"


def table(found: list[Run], a: argparse.Namespace) -> str:
    lines = [
        "| RTT, latency, loss each way, in bursts of | "
        + " | ".join(f"{sender} to {receiver}" for sender, receiver in a.pair)
        + " |",
        "|---" * (1 + len(a.pair)) + "|",
    ]
    for case in a.case:
        rtt, latency, loss, burst = case
        cells = [
            cell([run for run in found if (tuple(run.case), run.sender, run.receiver) == (case, *pair)])
            for pair in a.pair
        ]
        name = f"{rtt} ms, {latency} ms, {loss} %" + (f", {burst}" if burst else "")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.srt_loss", description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--burst-seconds", type=float, default=60.0)
    parser.add_argument("--mbps", type=float, default=8.0)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--lanes", type=int, default=1)
    parser.add_argument("--lane", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--case", action="append", help="RTT,latency,loss,burst")
    parser.add_argument("--pair", action="append", help="sender,receiver")
    parser.add_argument("--out", type=Path, help="page to put the table into")
    a = parser.parse_args()
    if os.geteuid() or shutil.which("srt-live-transmit") is None or not TUNNETEM.exists():
        raise SystemExit("needs root, srt-live-transmit (apt install srt-tools) and tunnetem.py (TUNNETEM)")
    a.case = [tuple(map(int, text.split(","))) for text in a.case] if a.case else CASES
    a.pair = [tuple(text.split(",")) for text in a.pair] if a.pair else PAIRS
    if a.lane is not None:
        a.seed += a.lane
        for run in runs(a):
            print(json.dumps(asdict(run)), flush=True)
        return
    with ThreadPoolExecutor(a.lanes) as pool:
        found = [run for part in pool.map(lane, range(a.lanes)) for run in part]
    facts = machine("bench.srt_loss")
    text = f"{report.where(facts)}\n\n{table(found, a)}"
    result = {"machine": facts, "rows": [asdict(run) for run in found]}
    report.finish(result, text, raw=RESULTS / "srt_loss.json", mark="srtloss", page=a.out)


if __name__ == "__main__":
    main()
