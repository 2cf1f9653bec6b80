"""``penstock serve`` with a probe in its loop: --config FILE, and --set as often as needed.

On SIGUSR1 it logs ``probe`` with two numbers since the last: `longest`, the most processor time in seconds that the
loop's thread took at a stretch, without letting a timer have its turn, and `total`, all that it took. Processor time,
because what other programs do on the machine must not count.
"""

from __future__ import annotations

import argparse
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import anyio
import structlog

from penstock import config as configuration
from penstock import log
from penstock.hooks import Endpoint, Plugin, hookimpl
from penstock.plugins import PluginSet
from penstock.run import run

STEP_SECONDS = 0.001


class Probe(Plugin):
    """A plugin that does nothing but look how long it waits for its turn."""

    name = "probe"

    @hookimpl
    def services(self) -> list[ProbeService]:
        return [ProbeService()]


class ProbeService:
    name = "probe"

    def __init__(self) -> None:
        self._longest = 0.0
        self._since = time.thread_time()

    async def run(self, started: Callable[[Iterable[Endpoint]], None]) -> None:
        started([])
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._report)
            while True:
                before = time.thread_time()
                await anyio.sleep(STEP_SECONDS)
                self._longest = max(self._longest, time.thread_time() - before)

    async def _report(self) -> None:
        with anyio.open_signal_receiver(signal.SIGUSR1) as signals:
            async for _ in signals:
                now = time.thread_time()
                structlog.get_logger("penstock").info("probe", longest=self._longest, total=now - self._since)
                self._longest, self._since = 0.0, now


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["serve"])
    parser.add_argument("--config", type=Path)
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    options = parser.parse_args()
    plugins = PluginSet.discover(extra=[Probe()])
    config = configuration.load(options.config, {}, options.overrides, plugins.configs)
    log.configure(config.server.log_level, config.server.log_format)
    return run(config, plugins)


if __name__ == "__main__":
    raise SystemExit(main())
