"""What a WHEP viewer with a narrow link loses of large key frames, with and without pacing.

``sudo TUNNETEM=.../tunnetem.py python -m bench.webrtc_pacing`` prints a line for each. The server is in one network
namespace, the viewer in the other: it asks for what it lacks, as browsers do.
"""

from __future__ import annotations

import argparse
import http.client
import json
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import anyio

from bench.bad_link import HOST, ROOT, TUNNETEM, bad_link, within
from penstock import NS, Publisher
from penstock_formats.rtcp import Nack, ReceiverReport
from tests.webrtc.client import Client, rig
from tests.webrtc.test_whep import KEY, PICTURE

WIDTH_MBPS = 3.0
QUEUE = 40
"""Packets in front of it."""
RTT_MS = 30
KEY_BYTES, INTER_BYTES = 100_000, 5_000
KEY_EVERY = 50
"""Pictures at 25 a second: 1.4 Mbit/s."""
ASK_SECONDS = 0.02
PATH = "live/pacing"


async def publish(publisher: Publisher, track: int) -> None:
    """Pictures until cancelled."""
    number, began = 0, anyio.current_time()
    while True:
        key = number % KEY_EVERY == 0
        data = KEY + bytes(KEY_BYTES) if key else b"\x11" + bytes(INTER_BYTES)
        publisher.write(track, (data,), pts=number * NS // 25, key=key)
        await publisher.flush()
        number += 1
        await anyio.sleep_until(began + number / 25)


async def serve(pacing: bool, seconds: float) -> str:
    """In nmA: what the viewer in nmB says."""
    async with rig(http={"listen": f"{HOST}:0"}, webrtc={"listen": f"{HOST}:0", "pacing": pacing}) as running:
        publisher, (track,) = await running.publish(PATH, PICTURE)
        port = running.http.base_url.port
        argv = within("nmB", sys.executable, "-m", "bench.webrtc_pacing", "--watch", str(port), str(seconds))
        told = b""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(publish, publisher, track.id)
            await anyio.sleep(1)
            told = (await anyio.run_process(argv, cwd=ROOT, stderr=None)).stdout
            tasks.cancel_scope.cancel()
    return told.decode().strip()


class Viewer(Client):
    """One at the other end of the link."""

    def __attrs_post_init__(self) -> None:
        self.sock.bind(("", 0))
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.sock.setblocking(False)


def join(port: int) -> Viewer:
    """Offer, check and shake hands."""
    client = Viewer(("VP8/90000",))
    server = http.client.HTTPConnection(HOST, port, timeout=10)
    server.request("POST", f"/{PATH}/whep", client.offer(), {"content-type": "application/sdp"})
    client.take(server.getresponse().read())
    client.send(client.check())
    while client.srtp is None:
        if not client.receive():
            if client.checks and client.dtls is None:
                client.shake_hands()
            time.sleep(0.001)
    return client


def watch(port: int, seconds: float) -> dict[str, int]:
    """In nmB: packets of the pictures that came, those that did not at first, and those that never did."""
    client = join(port)
    seen: set[int] = set()
    mended: set[int] = set()
    taken, first, highest, ask_at, check_at = 0, 0, 0, 0.0, 0.0
    end = time.monotonic() + seconds
    while (now := time.monotonic()) < end:
        if not client.receive():
            time.sleep(0.001)
        for packet in client.packets[taken:]:
            if packet.payload_type == 96:
                first = first or packet.sequence
                seen.add(packet.sequence)
                highest = max(highest, packet.sequence)
            else:
                mended.add(int.from_bytes(packet.payload[:2], "big"))
        taken = len(client.packets)
        if now >= ask_at and seen:
            ask_at = now + ASK_SECONDS
            missing = [n for n in range(first, highest) if n not in seen and n not in mended]
            if missing:
                client.send_rtcp(ReceiverReport(1), Nack.of(1, client.packets[0].ssrc, missing[-200:]))
        if now >= check_at:
            check_at = now + 2
            client.send(client.check())
    lost = set(range(first, highest)) - seen
    return {"packets": highest - first, "lost": len(lost), "never": len(lost - mended)}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.webrtc_pacing", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--serve", choices=["yes", "no"], help=argparse.SUPPRESS)
    parser.add_argument("--watch", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.watch:
        print(json.dumps(watch(int(options.watch[0]), float(options.watch[1]))))
        return
    if options.serve:
        print(anyio.run(partial(serve, options.serve == "yes", options.seconds)))
        return
    if not Path(TUNNETEM).exists():
        raise SystemExit("needs tunnetem.py (TUNNETEM)")
    for pacing in ("no", "yes"):
        with bad_link(rtt=RTT_MS, loss=0, rate=WIDTH_MBPS, queue=QUEUE):
            argv = [sys.executable, "-m", "bench.webrtc_pacing", "--serve", pacing]
            argv += ["--seconds", str(options.seconds)]
            done = subprocess.run(
                within("nmA", *argv), cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
            )
        told = json.loads(done.stdout.splitlines()[-1])
        share = 100 * told["lost"] / max(1, told["packets"])
        print(
            f"pacing {pacing}: {told['lost']} of {told['packets']} lost at first ({share:.1f} %), {told['never']} for good"
        )


if __name__ == "__main__":
    main()
