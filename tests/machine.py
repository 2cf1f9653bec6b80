"""Who has the machine: tests run beside each other, but what is watched in real time, with nothing that can wait for it, may
have it alone for some seconds.

Locks of files, so that they are gone with a process that dies. Where tests run in one process there is nobody else.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest


class Machine:
    """The machine for the tests of this process. Each test shares it; `alone` waits until the others' tests are over."""

    def __init__(self, folder: Path) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        self._use = os.open(folder / "use", flags, 0o600)
        self._door = os.open(folder / "door", flags, 0o600)

    def enter(self) -> None:
        """A test begins: not while somebody is alone, nor while somebody waits for that."""
        fcntl.flock(self._door, fcntl.LOCK_EX)
        fcntl.flock(self._use, fcntl.LOCK_SH)
        fcntl.flock(self._door, fcntl.LOCK_UN)

    def leave(self) -> None:
        fcntl.flock(self._use, fcntl.LOCK_UN)

    @contextmanager
    def alone(self) -> Generator[None]:
        # Two who want it would wait for each other if they kept their share.
        self.leave()
        fcntl.flock(self._door, fcntl.LOCK_EX)
        try:
            fcntl.flock(self._use, fcntl.LOCK_EX)
            yield
        finally:
            fcntl.flock(self._use, fcntl.LOCK_SH)
            fcntl.flock(self._door, fcntl.LOCK_UN)


class Sharing:
    """A plugin of pytest's worker processes."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self) -> Generator[None, object, object]:
        self._machine.enter()
        try:
            return (yield)
        finally:
            self._machine.leave()


_shared: list[Machine] = []


def share(config: pytest.Config, run: str) -> None:
    """This process is one of several that run tests; `run` is the same for all of them."""
    folder = Path(tempfile.gettempdir(), f"penstock-machine-{run}")
    folder.mkdir(exist_ok=True)
    machine = Machine(folder)
    _shared.append(machine)
    config.pluginmanager.register(Sharing(machine))


@contextmanager
def alone() -> Generator[None]:
    """Nothing else of this run of the tests takes the processor meanwhile; within a test or its fixtures."""
    if not _shared:
        yield
        return
    with _shared[0].alone():
        yield
