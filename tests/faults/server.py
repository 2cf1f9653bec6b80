"""The server under test, as a process whose memory, descriptors and log are looked at from outside."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from attrs import define, field

from tests.interop.process import Child
from tests.interop.server import ANY_PORTS

START_LIMIT = 20.0
STOP_LIMIT = 15.0
MIB = 1 << 20
MANY_LINES = 50
PENSTOCK = ("-m", "penstock")
PROBED = (str(Path(__file__).with_name("probed_program.py")),)
"""The same with a probe in its loop, which `FaultServer.probe` asks."""

SETTINGS = (
    *ANY_PORTS,
    "rtsp.session_timeout=2",
    "server.handshake_timeout=1",
    "server.stall_timeout=1.5",
    "server.publisher_timeout=2",
    "server.reconnect_grace=1",
    "server.wait_for_stream=0.5",
    "server.log_format=json",
)
"""Ports that the system chooses, and times short enough for tests."""


@define
class FaultServer:
    """A running penstock. `ports` are by what listens there: rtmp, rtsp, rtp, rtcp, http, webrtc, rtmps, rtsps, https."""

    child: Child
    ports: dict[str, int]
    _lines: list[bytes] = field(factory=list[bytes])
    _read: int = 0

    @property
    def pid(self) -> int:
        return self.child.process.pid

    @property
    def rtmp(self) -> int:
        return self.ports["rtmp"]

    @property
    def rtsp(self) -> int:
        return self.ports["rtsp"]

    def log(self) -> list[dict[str, Any]]:
        """Its log lines so far, without what it shows at its start."""
        return [json.loads(line) for line in self.raw_log() if line.startswith(b"{")]

    def raw_log(self) -> list[bytes]:
        """The same as bytes; the list grows from call to call."""
        with self.child.log.open("rb") as log:
            log.seek(self._read)
            *whole, _ = log.read().split(b"\n")
        self._lines += whole
        self._read += sum(len(line) + 1 for line in whole)
        return self._lines

    def let_log_rest(self) -> None:
        """Wait for the log to take lines again, where it has had many: of all peers it takes a hundred a second."""
        lines = [line for line in self.raw_log() if line.startswith(b"{")][-MANY_LINES:]
        if len(lines) == MANY_LINES:
            first = datetime.fromisoformat(json.loads(lines[0])["timestamp"]).timestamp()
            if time.time() - first < 1.0:
                time.sleep(1.0)

    @property
    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    @property
    def rss(self) -> int:
        """Bytes of resident memory now."""
        return self._status("VmRSS")

    @property
    def peak(self) -> int:
        """The most bytes of resident memory since `forget_peak`."""
        return self._status("VmHWM")

    def forget_peak(self) -> None:
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    @property
    def cpu(self) -> float:
        """Seconds of processor time so far."""
        times = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK")

    def probe(self) -> tuple[float, float]:
        """Of `PROBED`: seconds of processor time that its loop took at most at a stretch, and all that it took,
        since the last probe."""
        before = sum(line["event"] == "probe" for line in self.log())
        self.child.process.send_signal(signal.SIGUSR1)
        deadline = time.monotonic() + START_LIMIT
        while len(found := [line for line in self.log() if line["event"] == "probe"]) == before:
            assert time.monotonic() < deadline, "the loop does not answer"
            time.sleep(0.02)
        return found[-1]["longest"], found[-1]["total"]

    def _status(self, key: str) -> int:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(key + ":"):
                return int(line.split()[1]) * 1024
        raise RuntimeError(f"the server is gone: {self.child.words(4000)}")


@contextmanager
def fault_server(
    work: Path, *settings: str, config: str = "", program: tuple[str, ...] = PENSTOCK
) -> Generator[FaultServer]:
    """``penstock serve`` with `SETTINGS`, those of `config` (the text of a TOML file) and `settings`, each more
    binding than the one before; or another `program` that takes the same options."""
    file = work / "penstock.toml"
    file.write_text(config)
    argv = [sys.executable, *program, "serve", "--config", str(file)]
    for setting in (*SETTINGS, *settings):
        argv += ["--set", setting]
    child = Child.start("penstock", argv, work / "penstock.log")
    try:
        wanted = {"rtmp", "rtsp", "rtp", "rtcp", "srt", "http", "webrtc"}
        if any(setting.startswith("server.certificate") for setting in settings):
            wanted |= {"rtmps", "rtsps", "https"}
        yield FaultServer(child, _ports(child, wanted))
    except BaseException as error:
        error.add_note(f"server log:\n{child.words(3000)}")
        raise
    finally:
        child.stop(signal.SIGTERM, STOP_LIMIT)


def _ports(child: Child, wanted: set[str]) -> dict[str, int]:
    deadline = time.monotonic() + START_LIMIT
    while time.monotonic() < deadline and child.running:
        found: dict[str, int] = {}
        for line in child.log.read_text(errors="replace").splitlines():
            if line.startswith("{") and line.endswith("}"):
                values = json.loads(line)
                if values.get("event") == "listening":
                    found[values["what"]] = values["port"]
        if wanted <= found.keys():
            return found
        time.sleep(0.05)
    raise RuntimeError(f"penstock did not listen within {START_LIMIT} s:\n{child.words(4000)}")
