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
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from attrs import define

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


@define(eq=False)
class Part:
    """Nanoseconds and calls of one part, and how many counted calls began within it."""

    spent: int = 0
    calls: int = 0
    within: int = 0


class Counters:
    """What is counted: as little as can be is done for each call, as caches are cold, and what that takes is hardly known."""

    def __init__(self) -> None:
        self.parts: dict[str, Part] = {}
        self.own, self.outer = 0.0, 0.0
        """Nanoseconds that a counted call takes by itself: what is put down to it, and to what it runs within."""
        self.running = Part()
        """The innermost of those that run."""
        self.since = 0
        """Up to when all is put down."""

    def part(self, name: str) -> Part:
        return self.parts.setdefault(name, Part())

    def calibrate(self, around: Around) -> None:
        """The least of some tries, as others may run."""

        def nothing(*_arguments: object) -> None:
            pass

        wrapped, part, clock = around(self, "nothing", nothing), self.part("nothing"), time.perf_counter_ns
        owns, outers = list[float](), list[float]()
        for _ in range(TRIES):
            before, began = part.spent, clock()
            for _ in range(CALLS):
                wrapped(1, 2)
            took, own = clock() - began, part.spent - before
            owns.append(own / CALLS)
            outers.append((took - own) / CALLS)
        self.own, self.outer = min(owns), min(outers)
        self.parts.clear()

    def tell(self, target: Path) -> None:
        whole = target.with_suffix(".part")
        found = {name: (part.spent, part.calls, part.within) for name, part in self.parts.items()}
        whole.write_text(json.dumps({"parts": found, "own": self.own, "outer": self.outer}))
        os.replace(whole, target)


Around = Callable[[Counters, str, Callable[..., Any]], Callable[..., Any]]
"""What stands around a part of that name."""


def timed(counters: Counters, name: str, work: Callable[..., Any]) -> Callable[..., Any]:
    """As `work`, with its time under `name`: where nothing that is counted runs within it."""
    part, clock = counters.part(name), time.perf_counter_ns

    def timing(*arguments: Any) -> Any:
        began = clock()
        try:
            return work(*arguments)
        finally:
            part.spent += clock() - began
            part.calls += 1

    return timing


def counted(counters: Counters, name: str, work: Callable[..., Any]) -> Callable[..., Any]:
    """The same where others may; of a coroutine the time of each of its steps."""
    part, clock = counters.part(name), time.perf_counter_ns

    def counting(*arguments: Any) -> Any:
        outer = counters.running
        now = clock()
        outer.spent += now - counters.since
        counters.running, counters.since = part, clock()
        try:
            return work(*arguments)
        finally:
            now = clock()
            part.spent += now - counters.since
            part.calls += 1
            outer.within += 1
            counters.running, counters.since = outer, now

    @types.coroutine
    def stepping(*arguments: Any) -> Generator[Any, Any, Any]:
        running = work(*arguments)
        step, given = running.send, None
        while True:
            try:
                waited_for = counted(counters, name, step)(given)
            except StopIteration as end:
                return end.value
            try:
                step, given = running.send, (yield waited_for)
            except BaseException as error:  # noqa: BLE001 - whatever it is, it is the coroutine's
                step, given = running.throw, error

    async def counting_steps(*arguments: Any) -> Any:
        return await stepping(*arguments)

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
    around = counted if options.parts else timed
    counters.calibrate(around)
    for owner, name, part in (*FLOOR, *PARTS) if options.parts else FLOOR:
        setattr(owner, name, around(counters, part, getattr(owner, name)))

    def tell(_number: int, _frame: types.FrameType | None) -> None:
        counters.tell(options.file)

    signal.signal(signal.SIGUSR1, tell)
    return cli.main(["serve", *(word for setting in options.settings for word in ("--set", setting))])


if __name__ == "__main__":
    sys.exit(main())
