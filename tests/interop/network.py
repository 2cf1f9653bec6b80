"""A network of the test's own: nothing but loopback, over which multicast goes too."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Generator
from contextlib import contextmanager

import pytest

CLONE_NEWNET = 0x40000000
"""From Linux's sched.h; Python's own `os.unshare` came with 3.12."""


@contextmanager
def own_network() -> Generator[None]:
    """Children that this thread starts inside are in a new network namespace; skips where that is not allowed."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/thread-self/ns/net", "rb") as before:
        if libc.unshare(CLONE_NEWNET):
            pytest.skip(f"no network namespace: {os.strerror(ctypes.get_errno())} (run as root)")
        try:
            subprocess.run(["ip", "link", "set", "lo", "up", "multicast", "on"], check=True, timeout=10)
            # Clients that are told no interface join where the route to the group leads.
            subprocess.run(["ip", "route", "add", "224.0.0.0/4", "dev", "lo"], check=True, timeout=10)
            yield
        finally:
            if libc.setns(before.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "cannot return to the network namespace")
