"""Many SRT readers in one process, for `bench.srt`: ``python -m bench.srt_readers PORT NUMBER STREAMID [PASSPHRASE]``.

Each has a socket of its own. For each line on standard input it says in JSON what all of them have received so far.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from random import SystemRandom

import anyio
import anyio.to_thread
from attrs import define

from penstock.poller import Poller
from penstock.session import Session
from penstock_srt.caller import Caller, Connected, Rejected
from penstock_srt.settings import Settings
from penstock_srt.udp import Port


@define
class Counts:
    """What has come to all readers."""

    connected: int = 0
    packets: int = 0
    bytes: int = 0
    dropped: int = 0
    refused: int = 0


async def read(port: int, stream_id: str, passphrase: str, poller: Poller, counts: Counts) -> None:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2 << 20)
    caller = Caller(
        Settings(connect_timeout=10_000),
        ("127.0.0.1", port),
        stream_id.encode(),
        passphrase,
        SystemRandom(),
        time.monotonic_ns(),
    )

    def received(payloads: list[bytes], dropped: int) -> None:
        counts.packets += len(payloads)
        counts.bytes += sum(map(len, payloads))
        counts.dropped += dropped

    def told(event: Connected | Rejected) -> None:
        if isinstance(event, Rejected):
            counts.refused += 1
            return
        counts.connected += 1
        here.add(event.connection, Session("reader", "srt", "")).receive = received

    here: Port[Connected | Rejected] = Port(sock, caller, told)
    here.negotiate(time.monotonic_ns())
    await here.run(poller)


async def main(port: int, number: int, stream_id: str, passphrase: str = "") -> None:
    counts = Counts()
    with Poller() as poller:
        async with anyio.create_task_group() as tasks:
            for _ in range(number):
                tasks.start_soon(read, port, stream_id, passphrase, poller, counts)
                # The deriving of keys takes the server a millisecond each.
                await anyio.sleep(0.005)
            while await anyio.to_thread.run_sync(sys.stdin.readline):
                said = {name: getattr(counts, name) for name in Counts.__slots__ if name != "__weakref__"}
                print(json.dumps(said), flush=True)
            tasks.cancel_scope.cancel()


if __name__ == "__main__":
    anyio.run(main, int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:], backend_options={"use_uvloop": True})
