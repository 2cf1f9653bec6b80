"""The server of `bench.webrtc`, which counts what it takes: ``python -m bench.webrtc_serve FILE [--parts] TABLE.KEY=VALUE ...``.

It is the command `penstock`, with clock readings around the making of encrypted packets and around their sending, and with
``--parts`` also around other parts. What such a reading takes by itself is measured at the start. SIGUSR1 lets it write its
counters into FILE.
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import signal
import sys
import time
import types
from collections import Counter
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from penstock import cli
from penstock.datagram import StampLane
from penstock.feed import Feed
from penstock_formats.flv.ingest import Ingest
from penstock_rtmp.connection import ServerConnection
from penstock_rtmp.session import RtmpSession
from penstock_webrtc.route import UdpRoute
from penstock_webrtc.sealing import Source
from penstock_webrtc.session import Peer
from penstock_webrtc.shared import Shared
from penstock_webrtc.udp import Port

FLOOR: tuple[tuple[type[Any], str, str], ...] = (
    (Source, "frames", "encryption"),
    (Source, "seal", "encryption"),
    (UdpRoute, "send", "sending"),
)
PARTS: tuple[tuple[type[Any], str, str], ...] = (
    (StampLane, "flush", "frames to viewers"),
    (Port, "run", "reading the port"),
    (Peer, "media", "reports of viewers"),
    (Peer, "again", "checks of ICE"),
    (Port, "_check", "checks of ICE"),
    (Shared, "watch", "looking after viewers"),
    (RtmpSession, "run", "the publisher's task"),
    (ServerConnection, "receive_data", "parsing RTMP"),
    (ServerConnection, "next_event", "parsing RTMP"),
    (Ingest, "media", "taking frames in"),
    (Feed, "push", "packetising"),
)
"""What is counted: each without those that run within it."""
TRIES, CALLS = 20, 2_000
"""Of what does nothing, by which the cost of counting is known."""


class Counters:
    """Nanoseconds and calls of each part, and how many counted calls began within it."""

    def __init__(self) -> None:
        self.spent: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self.within: Counter[str] = Counter()
        self.own, self.outer = 0.0, 0.0
        """Nanoseconds that a counted call takes by itself: what is put down to it, and to what it runs within."""
        self._running = [""]
        self._since = 0

    def begin(self, name: str) -> None:
        now, outer = time.perf_counter_ns(), self._running[-1]
        self.spent[outer] += now - self._since
        self.within[outer] += 1
        self.calls[name] += 1
        self._running.append(name)
        self._since = time.perf_counter_ns()

    def end(self) -> None:
        now = time.perf_counter_ns()
        self.spent[self._running.pop()] += now - self._since
        self._since = now

    def calibrate(self) -> None:
        """The least of some tries, as others may run."""

        def nothing(*_arguments: object) -> None:
            pass

        wrapped, owns, outers = counted(self, "nothing", nothing), list[float](), list[float]()
        for _ in range(TRIES):
            self.spent.clear()
            self.begin("outer")
            for _ in range(CALLS):
                wrapped(1, 2)
            self.end()
            owns.append(self.spent["nothing"] / CALLS)
            outers.append(self.spent["outer"] / CALLS)
        self.own, self.outer = min(owns), min(outers)
        for counter in (self.spent, self.calls, self.within):
            counter.clear()

    def tell(self, target: Path) -> None:
        whole = target.with_suffix(".part")
        found = {name: (self.spent[name], self.calls[name], self.within[name]) for name in self.calls}
        whole.write_text(json.dumps({"parts": found, "own": self.own, "outer": self.outer}))
        os.replace(whole, target)


def counted(counters: Counters, name: str, work: Callable[..., Any]) -> Callable[..., Any]:
    """As `work`, with its time under `name`; of a coroutine that of each of its steps."""

    def counting(*arguments: Any, **named: Any) -> Any:
        counters.begin(name)
        try:
            return work(*arguments, **named)
        finally:
            counters.end()

    @types.coroutine
    def stepping(*arguments: Any, **named: Any) -> Generator[Any, Any, Any]:
        running = work(*arguments, **named)
        step, given = running.send, None
        while True:
            counters.begin(name)
            try:
                waited_for = step(given)
            except StopIteration as end:
                return end.value
            finally:
                counters.end()
            try:
                step, given = running.send, (yield waited_for)
            except BaseException as error:  # noqa: BLE001 - whatever it is, it is the coroutine's
                step, given = running.throw, error

    async def counting_steps(*arguments: Any, **named: Any) -> Any:
        return await stepping(*arguments, **named)

    return counting_steps if inspect.iscoroutinefunction(work) else counting


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.webrtc_serve", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("file", type=Path, help="where the counters are written at SIGUSR1")
    parser.add_argument("--parts", action="store_true", help="count more than encryption and sending")
    parser.add_argument("settings", nargs="*", metavar="TABLE.KEY=VALUE")
    options = parser.parse_intermixed_args()
    counters = Counters()
    counters.calibrate()
    for owner, name, part in (*FLOOR, *PARTS) if options.parts else FLOOR:
        setattr(owner, name, counted(counters, part, getattr(owner, name)))

    def tell(_number: int, _frame: types.FrameType | None) -> None:
        counters.tell(options.file)

    signal.signal(signal.SIGUSR1, tell)
    return cli.main(["serve", *(word for setting in options.settings for word in ("--set", setting))])


if __name__ == "__main__":
    sys.exit(main())
