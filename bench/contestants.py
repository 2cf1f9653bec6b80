"""Who is measured, and how each is started; a setting differs from the peer's default only where noted."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import clip
from bench.paths import BENCH, ROOT
from bench.tools import LOAD_CORE, SERVER_CORE, Process, Unavailable, accepts, free_port, node_server, program

PROTOCOLS = ("rtmp", "http-flv", "rtsp-tcp", "rtsp-udp")
WINDOWS = ("picture", "0", "30", "100", "350")
NGINX_MODULE = "/usr/lib/nginx/modules/ngx_rtmp_module.so"
SYSTEM_PYTHON = "/usr/bin/python3"


@dataclass(frozen=True)
class Contestant:
    """One row: a server with one setting. `loop` and `window` are for those that have them.

    `python` is what ours runs in: what it is called, and the interpreter.
    """

    kind: str
    protocol: str
    window: str = ""
    loop: str = ""
    python: tuple[str, str] = ("", sys.executable)

    @property
    def name(self) -> str:
        titles = {"nginx": "nginx-rtmp", "nms2": "node-media-server 2.7.4", "nms4": "node-media-server 4.4.3"}
        titles |= {"gst": "gst-rtsp-server", "floor": "floor (C)", "ours": "penstock"}
        parts = [titles[self.kind]]
        if self.window:
            names = {"0": "per frame", "picture": "picture"}
            parts.append(names.get(self.window, f"{self.window} ms"))
        if self.loop:
            parts.append(self.loop)
        if self.python[0]:
            parts.append(self.python[0])
        return ", ".join(parts)


@dataclass
class Running:
    """A server that plays: what the players need to know of it."""

    process: Process
    url: str
    protocol: str
    rtsp_port: int | None = None


OFFERS = {
    "ours": PROTOCOLS,
    # Of HTTP-FLV the floor is RTMP's: as many bytes, and as many writes.
    "floor": ("rtmp", "rtsp-tcp", "rtsp-udp"),
    "nginx": ("rtmp",),
    "nms2": ("rtmp",),
    "nms4": ("rtmp", "http-flv"),
    "gst": ("rtsp-tcp", "rtsp-udp"),
}


def expand(
    kinds: list[str],
    protocol: str,
    windows: list[str],
    loops: list[str],
    pythons: Sequence[tuple[str, str]] = (("", sys.executable),),
) -> list[Contestant]:
    """Every row of one protocol. Datagrams are never merged, so UDP has two windows of ours and one floor."""
    rows: list[Contestant] = []
    for kind in kinds:
        if kind not in OFFERS:
            raise SystemExit(f"unknown contestant {kind}; there are {', '.join(OFFERS)}")
        if protocol not in OFFERS[kind]:
            continue
        if kind == "ours":
            wanted = [w for w in windows if w in ("picture", "0")] if protocol == "rtsp-udp" else windows
            rows += [
                Contestant(kind, protocol, w, loop, p) for w in wanted for loop in loops for p in pythons
            ]
        elif kind == "floor":
            wanted = ["0"] if protocol == "rtsp-udp" else windows
            rows += [Contestant(kind, protocol, w) for w in wanted]
        else:
            rows.append(Contestant(kind, protocol))
    return rows


def nginx_config(folder: Path, port: int) -> str:
    return f"""
load_module {NGINX_MODULE};
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log error;
events {{ worker_connections 8192; }}
rtmp {{ server {{ listen 127.0.0.1:{port}; access_log off; application live {{ live on; }} }} }}
"""


def ours_command(c: Contestant, rtmp: int, rtsp: int, http: int) -> list[str]:
    settings = [
        f"{name}.listen=127.0.0.1:{port}" for name, port in (("rtmp", rtmp), ("rtsp", rtsp), ("http", http))
    ]
    # No fixed port, which another server may have.
    settings += ["rtsp.rtp=127.0.0.1:0", "rtsp.rtcp=127.0.0.1:0", "srt.enabled=false", "webrtc.enabled=false"]
    _, python = c.python
    if c.window != "picture":
        settings.append(f"server.write_window={c.window}")
    if c.loop:
        return [python, str(BENCH / "serve.py"), c.loop, *settings]
    command = [python, "-m", "penstock", "serve"]
    for setting in settings:
        command += ["--set", setting]
    return command


@contextmanager
def publish(url: str, folder: Path, tags: Path | None = None) -> Iterator[None]:
    tags = tags or clip.prepare() / "clip.tags"
    with Process([program("publisher"), str(tags), url], LOAD_CORE, folder / "publisher.log") as p:
        p.wait_for_text("publishing")
        yield


@contextmanager
def running(c: Contestant, folder: Path) -> Iterator[Running]:
    """Start the contestant on its core and the publisher on the other; raises Unavailable with the reason."""
    with ExitStack() as stack:

        def serve(command: list[str], port: int, environment: dict[str, str] | None = None) -> Process:
            p = stack.enter_context(Process(command, SERVER_CORE, folder / "server.log", environment or {}))
            p.wait_for_port(port)
            return p

        if c.kind == "floor":
            yield _floor(c, stack, folder)
            return
        port, second, http = free_port(), free_port(), free_port()
        rtsp_port = None
        if c.kind == "nginx":
            if not Path(NGINX_MODULE).exists() or shutil.which("nginx") is None:
                raise Unavailable("nginx with libnginx-mod-rtmp is not installed")
            config = folder / "nginx.conf"
            config.write_text(nginx_config(folder, port))
            process = serve(["nginx", "-p", str(folder), "-c", str(config)], port)
        elif c.kind in ("nms2", "nms4"):
            packages = node_server("2.7.4" if c.kind == "nms2" else "4.4.3")
            script = [
                str(BENCH / "rivals" / f"{c.kind}.js"),
                str(packages),
                str(port),
                str(folder),
                str(http),
            ]
            process = serve(["node", "-r", str(BENCH / "rivals" / "loopback.js"), *script], port)
        elif c.kind == "gst":
            if not Path(SYSTEM_PYTHON).exists():
                raise Unavailable(f"{SYSTEM_PYTHON} is missing")
            script = [SYSTEM_PYTHON, str(BENCH / "rivals" / "gst_server.py"), str(port), str(second)]
            process = serve(script, port)
            stack.enter_context(publish(f"flv://127.0.0.1:{second}", folder))
            yield Running(process, f"rtsp://127.0.0.1:{port}/live/stream", c.protocol, port)
            return
        else:
            if importlib.util.find_spec("penstock") is None:
                raise Unavailable(f"penstock is not importable by {sys.executable}")
            process = serve(ours_command(c, port, second, http), port)
            if c.protocol.startswith("rtsp"):
                process.wait_for_port(second)
            rtsp_port = second if accepts(second) else None
        stack.enter_context(publish(f"rtmp://127.0.0.1:{port}/live/stream", folder))
        if c.protocol == "rtmp":
            yield Running(process, f"rtmp://127.0.0.1:{port}/live/stream", c.protocol, rtsp_port)
        elif c.protocol == "http-flv":
            process.wait_for_port(http)
            yield Running(process, f"http://127.0.0.1:{http}/live/stream.flv", c.protocol, rtsp_port)
        else:
            yield Running(process, f"rtsp://127.0.0.1:{second}/live/stream", c.protocol, rtsp_port)


def _floor(c: Contestant, stack: ExitStack, folder: Path) -> Running:
    name = {"rtmp": "rtmp", "rtsp-tcp": "rtsp", "rtsp-udp": "udp"}[c.protocol]
    port = free_port()
    how = "udp" if c.protocol == "rtsp-udp" else c.window
    command = [program("floor"), str(clip.prepare() / f"{name}.trace"), str(port), how]
    process = stack.enter_context(Process(command, SERVER_CORE, folder / "server.log"))
    process.wait_for_text("listening")
    return Running(process, f"raw://127.0.0.1:{port}", f"raw-{name}")


def source_version() -> str:
    """What of ours was measured."""
    git = shutil.which("git")
    if git is None:
        return "unknown"
    command = [git, "-C", str(ROOT), "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip() or "unknown"
