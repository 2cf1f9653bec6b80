"""A listener that drops what it receives, for `bench.srt`: what SRT costs without a stream. ``python -m bench.srt_sink PORT``."""

from __future__ import annotations

import sys
import time
from random import SystemRandom

import anyio

from penstock.net import open_udp
from penstock.poller import Poller
from penstock.session import Session
from penstock_srt.listener import Accepted, Event, Listener, Requested
from penstock_srt.settings import Settings
from penstock_srt.udp import Port


def dropped(payloads: list[bytes], missing: int) -> None:
    """Nothing is wanted of them."""


async def main(port: int) -> None:
    def told(event: Event) -> None:
        match event:
            case Requested(request):
                request.accept(time.monotonic_ns())
            case Accepted(connection):
                here.add(connection, Session("publisher", "srt", "")).receive = dropped
            case _:
                raise RuntimeError(f"nobody asked for {event}")

    with open_udp("127.0.0.1", port, what="SRT", key="the port") as sock, Poller() as poller:
        here: Port[Event] = Port(sock, Listener(Settings(), SystemRandom()), told)
        await here.run(poller)


if __name__ == "__main__":
    anyio.run(main, int(sys.argv[1]), backend_options={"use_uvloop": True})
