"""Real programs as child processes: started with their output kept, stopped by their own process id."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

from attrs import define


@define
class Child:
    """A running client; what it says goes to the file `log`."""

    name: str
    argv: list[str]
    log: Path
    process: subprocess.Popen[bytes]

    @classmethod
    def start(cls, name: str, argv: list[str], log: Path, user: str | None = None) -> Child:
        """Start `argv`, as another `user` where one is given (which needs root)."""
        with log.open("wb") as out:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=user,
                env={**os.environ, "HOME": "/tmp"} if user else None,
            )
        return cls(name, argv, log, process)

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def wait(self, seconds: float) -> bool:
        """Whether it ended by itself within `seconds`."""
        try:
            self.process.wait(max(seconds, 0.01))
        except subprocess.TimeoutExpired:
            return False
        return True

    def stop(self, how: signal.Signals = signal.SIGINT, seconds: float = 5.0) -> None:
        """Ask it to end with the signal that a user's Ctrl+C sends, and kill it when it does not within
        `seconds`.
        """
        if self.running:
            self.process.send_signal(how)
            if not self.wait(seconds):
                self.process.kill()
                self.process.wait()

    def words(self, limit: int = 1500) -> str:
        """The end of what it said."""
        return self.log.read_text(errors="replace")[-limit:]


def wait_all(children: list[Child], seconds: float) -> None:
    """Wait until all have ended, at most `seconds` for all together."""
    deadline = time.monotonic() + seconds
    for child in children:
        child.wait(deadline - time.monotonic())


def stop_all(children: list[Child], seconds: float = 5.0) -> None:
    """Stop all at once, so that it takes as long as the slowest and not as long as their sum."""
    for child in children:
        if child.running:
            child.process.send_signal(signal.SIGINT)
    # FFmpeg leaves a blocked read only at the second Ctrl+C; others would give up their file's end at it.
    twice = [child for child in children if "ffmpeg" in child.name]
    wait_all(twice, 0.3)
    for child in twice:
        if child.running:
            child.process.send_signal(signal.SIGINT)
    wait_all(children, seconds)
    for child in children:
        if child.running:
            child.process.kill()
            child.process.wait()
