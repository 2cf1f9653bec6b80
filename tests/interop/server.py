"""The servers under test: penstock as a child process, and nginx-rtmp, against which the harness itself is
proven.
"""

from __future__ import annotations

import json
import signal
import socket
import sys
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import define

from .binaries import NGINX_RTMP, path_of
from .crossing import Endpoints
from .process import Child

START_LIMIT = 15.0
STOP_LIMIT = 10.0
"""Seconds: the drain after SIGTERM is promised to end within 10."""

ANY_PORTS = (
    "rtmp.listen=127.0.0.1:0",
    "rtmp.listen_tls=127.0.0.1:0",
    "rtsp.listen=127.0.0.1:0",
    "rtsp.listen_tls=127.0.0.1:0",
    "rtsp.rtp=127.0.0.1:0",
    "rtsp.rtcp=127.0.0.1:0",
    "srt.listen=127.0.0.1:0",
    "http.listen=127.0.0.1:0",
    "webrtc.listen=127.0.0.1:0",
    "webrtc.listen_tcp=127.0.0.1:0",
    "webrtc.listen_tls=127.0.0.1:0",
    "http.listen_tls=127.0.0.1:0",
)
"""Ports that the system chooses, which the server reports as it does to any user."""

SETTINGS = (*ANY_PORTS, "transcode.enabled=false")
"""Frames are compared as they were published."""


TYPES = "types { application/vnd.apple.mpegurl m3u8; video/mp2t ts; video/mp4 mp4 m4s; }"
"""What docs/hls.md has nginx say of the files of a directory."""


@define
class Penstock:
    """A running penstock; `endpoints` are where its log says it listens, `secure` the same over TLS."""

    child: Child
    endpoints: Endpoints
    secure: Endpoints

    def log(self) -> list[dict[str, object]]:
        """The JSON lines logged so far; lines that are not JSON are left out."""
        return list(_json_lines(self.child.log))

    @contextmanager
    def explained(self) -> Generator[None]:
        """Add the end of the server's log to whatever fails inside."""
        try:
            yield
        except BaseException as error:
            error.add_note(f"server log:\n{self.child.words(4000)}")
            raise


@contextmanager
def penstock(
    work: Path, *settings: str, program: tuple[str, ...] = ("-m", "penstock", "serve"), config: str = ""
) -> Generator[Penstock]:
    """``penstock serve`` with `config` (the text of a TOML file), `SETTINGS` and `settings` (``key=value``), each more
    binding than the one before; `program` is what Python runs instead.
    """
    work.mkdir(parents=True, exist_ok=True)
    file = work / "penstock.toml"
    file.write_text(config)
    argv = [sys.executable, *program, "--config", str(file)]
    for setting in (*SETTINGS, *settings):
        argv += ["--set", setting]
    child = Child.start("penstock", argv, work / "penstock.log")
    try:
        yield _wait_until_it_listens(child)
    finally:
        child.stop(signal.SIGTERM, STOP_LIMIT)


@contextmanager
def nginx_rtmp(work: Path) -> Generator[Endpoints]:
    """Debian's nginx with its RTMP module, and with the files of ``www`` below `work` over HTTP, on free ports."""
    port, http = free_port(), free_port()
    (work / "www").mkdir(parents=True)
    config = work / "nginx.conf"
    config.write_text(
        f"load_module {NGINX_RTMP};\n"
        f"daemon off; worker_processes 1; pid {work}/nginx.pid; error_log {work}/nginx-error.log info;\n"
        # Started as root, nginx would drop to a user that may not exist here.
        "user root;\n"
        "events { worker_connections 128; }\n"
        f"rtmp {{ server {{ listen 127.0.0.1:{port}; chunk_size 4096;\n"
        "  application live { live on; wait_video on; wait_key on; sync 10ms; } } }\n"
        f"http {{ access_log off; {TYPES} server {{ listen 127.0.0.1:{http}; root {work}/www; }} }}\n"
    )
    argv = [path_of("nginx-rtmp"), "-c", str(config), "-p", str(work), "-e", f"{work}/nginx-error.log"]
    child = Child.start("nginx", argv, work / "nginx.log")
    try:
        _wait_for_port(port, child)
        yield Endpoints(rtmp=f"rtmp://127.0.0.1:{port}", http=f"http://127.0.0.1:{http}")
    finally:
        child.stop(signal.SIGTERM)


def _wait_until_it_listens(child: Child) -> Penstock:
    """The server once it has shown its table: what listens then is all that will."""
    deadline = time.monotonic() + START_LIMIT
    while time.monotonic() < deadline and child.running:
        if "\nprotocol " in child.log.read_text(errors="replace"):
            found = {
                str(line.get("what")): f"{line.get('what')}://{line.get('address')}:{line.get('port')}"
                for line in _json_lines(child.log)
                if line.get("event") == "listening"
            }
            return Penstock(
                child,
                Endpoints(found.get("rtmp"), found.get("rtsp"), found.get("http"), found.get("srt")),
                Endpoints(found.get("rtmps"), found.get("rtsps"), found.get("https")),
            )
        time.sleep(0.05)
    child.stop(signal.SIGTERM)
    raise RuntimeError(f"penstock did not listen within {START_LIMIT} s:\n{child.words(4000)}")


def _json_lines(path: Path) -> Iterator[dict[str, object]]:
    for line in path.read_text(errors="replace").splitlines():
        if line.startswith("{"):
            try:
                yield json.loads(line)
            except json.JSONDecodeError:
                continue


def free_port() -> int:
    """A TCP port that was free just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _wait_for_port(port: int, child: Child) -> None:
    deadline = time.monotonic() + START_LIMIT
    while time.monotonic() < deadline and child.running:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"{child.name} does not listen on {port}:\n{child.words()}")
