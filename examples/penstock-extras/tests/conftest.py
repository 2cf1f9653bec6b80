"""A server in a process of its own, as its users have it, and a peer that speaks the text protocol."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attrs import define, field

LOCAL = "127.0.0.1:0"
SECONDS = 30.0


@define
class Server:
    process: subprocess.Popen[bytes]
    log: Path
    ports: dict[str, int] = field(factory=dict[str, int])

    def lines(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def wait_until_it_listens(self, *what: str) -> None:
        deadline = time.monotonic() + SECONDS
        while not set(what) <= self.ports.keys():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)
            found = [line for line in self.lines() if line["event"] == "listening"]
            self.ports = {str(line["what"]): int(str(line["port"])) for line in found}

    def rtsp(self, path: str, login: str = "") -> str:
        return f"rtsp://{login}127.0.0.1:{self.ports['rtsp']}/{path}"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start a server with ``table.key=value`` settings; RTSP without UDP where `udp` is false."""
    servers: list[Server] = []

    def run(*settings: str, udp: bool = True) -> Server:
        ports = [
            "text.listen",
            "rtmp.listen",
            "rtsp.listen",
            "rtsp.rtp",
            "rtsp.rtcp",
            "srt.listen",
            "http.listen",
            "webrtc.listen",
        ]
        given = [f"{key}={LOCAL}" for key in ports] + ([] if udp else ["rtsp.rtp="])
        argv = [sys.executable, "-m", "penstock"]
        for setting in [*given, *settings]:
            argv += ["--set", setting]
        log = tmp_path / f"server{len(servers)}.log"
        with log.open("wb") as stderr:
            process = subprocess.Popen(argv, stderr=stderr, stdout=subprocess.DEVNULL, cwd=tmp_path)
        servers.append(Server(process, log))
        servers[-1].wait_until_it_listens("text", "rtsp")
        return servers[-1]

    yield run
    for server in servers:
        server.process.send_signal(signal.SIGTERM)
    for server in servers:
        try:
            assert server.process.wait(SECONDS) == 0
        finally:
            server.process.kill()


class Peer:
    """One connection of the text protocol; `line` waits for the next line, "" is the server's end."""

    def __init__(self, server: Server, first: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", server.ports["text"]), SECONDS)
        self._file = self.socket.makefile("r", encoding="ascii", newline="\n")
        self.send(first)

    def send(self, *lines: str) -> None:
        self.socket.sendall("".join(f"{line}\n" for line in lines).encode())

    def line(self) -> str:
        return self._file.readline().rstrip("\n")

    def quiet(self) -> bool:
        return not select.select([self.socket], [], [], 0.2)[0]

    def close(self) -> None:
        self._file.close()
        self.socket.close()


@pytest.fixture
def dial() -> Iterator[Callable[[Server, str], Peer]]:
    peers: list[Peer] = []

    def connect(server: Server, first: str) -> Peer:
        peers.append(Peer(server, first))
        return peers[-1]

    yield connect
    for peer in peers:
        peer.close()


@pytest.fixture
def ffmpeg() -> str:
    """FFmpeg, without which a test skips, or fails where PENSTOCK_REQUIRE_ALL is 1."""
    import shutil

    found = shutil.which("ffmpeg")
    if found is None and os.environ.get("PENSTOCK_REQUIRE_ALL") == "1":
        pytest.fail("ffmpeg is not installed")
    return found or pytest.skip("ffmpeg is not installed")
