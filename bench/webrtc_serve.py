"""The server of `bench.webrtc`, which counts what it takes: ``python -m bench.webrtc_serve FILE TABLE.KEY=VALUE ...``.

Four clock readings for each frame and viewer, around the making of its encrypted packets and around their sending, are all
that is added; what they take by themselves is measured at the start, and told as well. SIGUSR1 lets it write its counters
into FILE.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio

from bench.serve import serve
from penstock_webrtc.route import UdpRoute
from penstock_webrtc.sealing import Sealer

counters = {"encryption": 0, "sending": 0, "counting": 0}
"""Nanoseconds. What counting takes is partly within the others: here is only what is not."""
TRIES, CALLS = 20, 2_000
"""Of what does nothing, by which the cost of counting is known."""


def counted(name: str, work: Callable[..., Any], cost: int) -> Callable[..., Any]:
    """As `work`, with the time that it takes under `name`; `cost` is what counting takes besides."""
    clock = time.perf_counter_ns

    def counting(*arguments: Any) -> Any:
        began = clock()
        found = work(*arguments)
        counters[name] += clock() - began
        counters["counting"] += cost
        return found

    return counting


def counting_cost() -> int:
    """Nanoseconds of a call that is counted, without those that it counts: the least of some tries, as others may run."""

    def nothing(*_arguments: object) -> None:
        pass

    wrapped, tries = counted("sending", nothing, 0), list[int]()
    for _ in range(TRIES):
        counters["sending"], began = 0, time.perf_counter_ns()
        for _ in range(CALLS):
            wrapped(1, 2)
        tries.append(time.perf_counter_ns() - began - counters["sending"])
    counters["sending"] = 0
    return min(tries) // CALLS


def count() -> None:
    cost = counting_cost()
    setattr(Sealer, "seal", counted("encryption", Sealer.seal, cost))  # noqa: B010
    setattr(UdpRoute, "send", counted("sending", UdpRoute.send, cost))  # noqa: B010


def tell(target: Path) -> None:
    whole = target.with_suffix(".part")
    whole.write_text(json.dumps(counters))
    os.replace(whole, target)


if __name__ == "__main__":
    count()
    signal.signal(signal.SIGUSR1, lambda *_: tell(Path(sys.argv[1])))
    anyio.run(serve, sys.argv[2:], backend_options={"use_uvloop": True})
