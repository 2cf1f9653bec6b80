"""Processes, ports and the C programs, which are compiled on first use."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from bench.paths import BENCH, BUILD

SERVER_CORE, LOAD_CORE = 0, 1
PROGRAMS = {
    "players": ["players.c", "play_rtmp.c", "play_http.c", "play_rtsp.c"],
    "publisher": ["publisher.c"],
    "floor": ["floor.c"],
    "ping": ["ping.c"],
    "hls": ["hls.c"],
}


class Unavailable(Exception):
    """A contestant or tool cannot run here; the text says why, for the table."""


def program(name: str) -> str:
    """The path of a C program, compiled when it is older than its sources."""
    folder = BENCH / "c"
    target = BUILD / name
    newest = max(p.stat().st_mtime for p in folder.iterdir())
    if not target.exists() or target.stat().st_mtime < newest:
        compiler = shutil.which("gcc") or shutil.which("cc")
        if compiler is None:
            raise SystemExit("bench needs a C compiler (gcc) on PATH")
        BUILD.mkdir(parents=True, exist_ok=True)
        sources = [str(folder / s) for s in PROGRAMS[name]]
        subprocess.run([compiler, "-O2", "-o", str(target), *sources], check=True)
    return str(target)


def node_server(version: str) -> Path:
    """The folder that has this version of node-media-server, fetched with npm on first use."""
    folder = BUILD / f"node{version.split('.')[0]}"
    if shutil.which("node") is None:
        raise Unavailable("node is not installed")
    if (folder / "node_modules" / "node-media-server").exists():
        return folder
    npm = shutil.which("npm")
    if npm is None:
        raise Unavailable("npm is not installed")
    folder.mkdir(parents=True, exist_ok=True)
    command = [npm, "install", "--no-fund", "--no-audit", "--prefix", str(folder)]
    done = subprocess.run([*command, f"node-media-server@{version}"], capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise Unavailable(f"npm could not fetch node-media-server {version}: {last}")
    return folder


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def accepts(port: int) -> bool:
    with socket.socket() as s:
        s.settimeout(0.2)
        return s.connect_ex(("127.0.0.1", port)) == 0


@dataclass
class Process:
    """A child pinned to one core, whose output goes to a file that tells why it died."""

    command: list[str]
    core: int
    log: Path
    environment: dict[str, str] = field(default_factory=dict)

    def __enter__(self) -> Process:
        with self.log.open("wb") as out:
            self.child = subprocess.Popen(
                ["taskset", "-c", str(self.core), *self.command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.environment},
                cwd=self.log.parent,
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
            try:
                self.child.wait(5)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()

    def last_words(self) -> str:
        lines = [line for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1].strip()[:200] if lines else "no message"

    def wait_for_port(self, port: int, seconds: float = 15) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.child.poll() is not None:
                raise Unavailable(f"ended at start: {self.last_words()}")
            if accepts(port):
                return
            time.sleep(0.05)
        raise Unavailable(f"did not listen within {seconds:.0f} s: {self.last_words()}")

    def wait_for_text(self, text: str, seconds: float = 15) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if text in self.log.read_text(errors="replace"):
                return
            if self.child.poll() is not None:
                break
            time.sleep(0.05)
        raise Unavailable(f"{Path(self.command[0]).name}: {self.last_words()}")

    def pids(self) -> list[int]:
        """This process and its children, which for nginx do the work."""
        found = [self.child.pid]
        for pid in found:
            try:
                text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
            except OSError:
                continue
            found += [int(child) for child in text.split()]
        return found

    def rss_kib(self) -> float:
        total = 0.0
        for pid in self.pids():
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            total += pages * os.sysconf("SC_PAGESIZE") / 1024
        return total
