"""What is lost for good over a bad link: libsrt with itself, ours with libsrt both ways, ours with itself, in one run.

``sudo python -m bench.srt_loss [--seconds 20] [--case 40,120,10,0]``; needs srt-live-transmit (``apt install srt-tools``) and
``shared/tools/tunnetem.py``, whose place ``PENSTOCK_TUNNETEM`` may say. A case is RTT and latency in ms, loss in % of
either way, and the mean of packets that are lost in a row (0: each by itself).
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from bench.bad_link import HOST, ROOT, TUNNETEM, bad_link, within
from bench.srt_peer import PAYLOAD, numbered

CASES = [(40, 120, 1, 0), (40, 120, 5, 0), (40, 120, 10, 0), (100, 400, 10, 0), (100, 400, 20, 0),
         (40, 120, 5, 5), (100, 400, 10, 10)]  # fmt: skip
PAIRS = [("libsrt", "libsrt"), ("ours", "libsrt"), ("libsrt", "ours"), ("ours", "ours")]
PORT = 9710


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
    process.stdin.close()


def lost(data: bytes, sent: int) -> tuple[int, int]:
    """How many numbers are missing from the first that is there, and of how many."""
    numbers = {int.from_bytes(data[at + 1 : at + 9], "big") for at in range(0, len(data), PAYLOAD)}
    if not numbers:
        return sent, sent
    due = sent - min(numbers)
    return due - len(numbers), due


def retransmitted(file: Path) -> int:
    """Of the statistics that srt-live-transmit leaves."""
    rows = list(csv.DictReader(file.read_text().splitlines())) if file.exists() else []
    return sum(int(row["pktRetrans"]) for row in rows if (row.get("pktRetrans") or "").isdigit())


def play(sender: str, receiver: str, case: tuple[int, ...], a: argparse.Namespace) -> str:
    rtt, latency, loss, burst = case
    sent = int(a.seconds * a.mbps * 1e6 / 8 / PAYLOAD)
    with tempfile.TemporaryDirectory() as name, bad_link(rtt=rtt, loss=loss, burst=burst, seed=a.seed):
        out, stats = Path(name) / "out", Path(name) / "stats.csv"
        uri = f"srt://{HOST}:{PORT}?latency={latency}"
        common = ["--latency", str(latency), "--mbps", str(a.mbps), "--seconds", str(a.seconds)]
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
                threading.Thread(target=feed, args=(sending, a.mbps, a.seconds), daemon=True).start()
            assert sending.stdout is not None
            said = sending.stdout.read()
            sending.wait(a.seconds + 30)
            with contextlib.suppress(subprocess.TimeoutExpired):
                receiving.wait(8)
            receiving.kill()
            receiving.wait()
        missing, due = lost(out.read_bytes(), sent)
        again = json.loads(said)["pktRetrans"] if sender == "ours" and said else retransmitted(stats)
    return f"{100 * missing / due:.3f} % ({missing}/{due}), +{100 * again / sent:.1f} %"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--mbps", type=float, default=8.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--case", action="append", help="RTT,latency,loss,burst")
    parser.add_argument("--pair", action="append", help="sender,receiver")
    a = parser.parse_args()
    if shutil.which("srt-live-transmit") is None or not TUNNETEM.exists():
        raise SystemExit(
            "needs srt-live-transmit (apt install srt-tools) and tunnetem.py (PENSTOCK_TUNNETEM)"
        )
    cases = [tuple(map(int, text.split(","))) for text in a.case] if a.case else CASES
    pairs = [tuple(text.split(",")) for text in a.pair] if a.pair else PAIRS
    print("sender > receiver: lost for good (packets), sent again in % of what was sent once")
    for case in cases:
        print("RTT {} ms, latency {} ms, loss {} %, burst {}:".format(*case))
        for sender, receiver in pairs:
            print(f"  {sender:>6} > {receiver:6}  {play(sender, receiver, case, a)}", flush=True)


if __name__ == "__main__":
    main()
