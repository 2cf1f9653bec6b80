"""The server of `bench.webrtc`, which counts what it takes: ``python -m bench.webrtc_serve FILE TABLE.KEY=VALUE ...``.

Two clock readings for each frame and viewer, around the making of its encrypted packets and around their sending, are all
that is added; they are counted with the rest. SIGUSR1 lets it write its counters into FILE.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio

from bench.serve import serve
from penstock_webrtc.route import UdpRoute
from penstock_webrtc.srtp import Srtp

counters = {"encryption": 0, "sending": 0}
"""Nanoseconds."""


def count() -> None:
    clock, seal, send = time.perf_counter_ns, Srtp.seal, UdpRoute.send

    def sealed(self: Srtp, *arguments: Any) -> list[bytes]:
        began = clock()
        found = seal(self, *arguments)
        counters["encryption"] += clock() - began
        return found

    def sent(self: UdpRoute, datagrams: Sequence[bytes]) -> None:
        began = clock()
        send(self, datagrams)
        counters["sending"] += clock() - began

    setattr(Srtp, "seal", sealed)  # noqa: B010
    setattr(UdpRoute, "send", sent)  # noqa: B010


def tell(target: Path) -> None:
    whole = target.with_suffix(".part")
    whole.write_text(json.dumps(counters))
    os.replace(whole, target)


if __name__ == "__main__":
    count()
    signal.signal(signal.SIGUSR1, lambda *_: tell(Path(sys.argv[1])))
    anyio.run(serve, sys.argv[2:], backend_options={"use_uvloop": True})
