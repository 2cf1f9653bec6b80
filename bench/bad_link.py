"""Two network namespaces, nmA (10.99.0.1) and nmB (10.99.0.2), and a bad link between them: tunnetem.py makes it, as root."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

ROOT = Path(__file__).parents[1]
TUNNETEM = Path(os.environ.get("TUNNETEM", ROOT.parent / "shared" / "tools" / "tunnetem.py"))
HOST = "10.99.0.1"
"""The address of who is in nmA."""


@contextlib.contextmanager
def bad_link(
    *,
    rtt: float,
    loss: float,
    jitter: float = 0.0,
    burst: int = 0,
    seed: int = 1,
    rate: float = 0.0,
    queue: int = 1000,
) -> Generator[None]:
    """RTT and jitter in ms (which puts packets out of order), loss in % of either way, alone or in bursts of that mean.

    `rate` in Mbit/s is what it carries either way, with a queue of so many packets in front; 0 is without a bound.
    """
    command = [sys.executable, str(TUNNETEM), "--delay", str(rtt / 2), "--loss", str(loss / 100)]
    command += ["--jitter", str(jitter), "--burst", str(burst), "--seed", str(seed)]
    command += ["--rate", str(rate), "--queue", str(queue)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


def within(namespace: str, *command: str) -> list[str]:
    """`command`, in one of the namespaces."""
    return ["ip", "netns", "exec", namespace, *command]
