"""What the HTTP port costs beside a bare application on uvicorn, in one run: ``python -m bench.http``.

Each server answers the same requests on eight connections: 600 bytes as a playlist has them, and 500 KB as a segment has.
What counts is the server's processor time for each, which other load on the machine hardly changes.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

SMALL, LARGE = bytes(600), bytes(500_000)
CONNECTIONS = 8


async def bare(scope: Any, receive: Any, send: Any) -> None:
    """An application that does nothing else."""
    body = LARGE if scope["path"] == "/live/large.ts" else SMALL
    head = [(b"content-type", b"video/mp2t"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": body})


def serve_bare(port: int) -> None:
    import uvicorn

    uvicorn.run(
        bare, port=port, loop="uvloop", http="httptools", lifespan="off", access_log=False, log_config=None
    )


def serve_ours(port: int) -> None:
    from penstock import Plugin, hookimpl
    from penstock.config import Config
    from penstock.plugins import PluginSet
    from penstock.run import run
    from penstock_http.api import Request, Route
    from penstock_http.plugin import plugin

    async def small(request: Request) -> None:
        await request.respond(200, SMALL, content_type="video/mp2t")

    async def large(request: Request) -> None:
        await request.respond(200, LARGE, content_type="video/mp2t", etag='"1"')

    class Bodies(Plugin):
        name = "bodies"

        @hookimpl
        def http_routes(self) -> list[Route]:
            return [Route("/{path}.m3u8", small), Route("/{path}.ts", large)]

    plugins = PluginSet.discover([plugin, Bodies()], installed=False)
    run(Config.from_mapping({"http": {"listen": f"127.0.0.1:{port}"}}, plugins.configs), plugins)


async def load(port: int, path: str, size: int, number: int) -> None:
    """Ask `number` times, the next when the last has come."""
    request = f"GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode()

    async def connection() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(number // CONNECTIONS):
            writer.write(request)
            await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(size)
        writer.close()

    async with asyncio.TaskGroup() as tasks:
        for _ in range(CONNECTIONS):
            tasks.create_task(connection())


def cpu(pid: int) -> float:
    times = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK")


def measure(name: str, small: int, large: int) -> tuple[float, float]:
    """Microseconds of processor time for a small response, and for a megabyte of large ones."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    command = [sys.executable, "-m", "bench.http", "--serve", name, "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            deadline = time.monotonic() + 20
            while socket.socket().connect_ex(("127.0.0.1", port)):
                if time.monotonic() > deadline:
                    raise RuntimeError(f"{name} does not listen")
                time.sleep(0.05)
            costs: list[float] = []
            for path, body, number in (("/live/small.m3u8", SMALL, small), ("/live/large.ts", LARGE, large)):
                asyncio.run(load(port, path, len(body), CONNECTIONS * 10))
                before = cpu(server.pid)
                asyncio.run(load(port, path, len(body), number))
                costs.append((cpu(server.pid) - before) / number * 1e6)
            return costs[0], costs[1] / (len(LARGE) / 1e6)
        finally:
            server.terminate()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", type=int, default=20_000)
    parser.add_argument("--large", type=int, default=2_000)
    parser.add_argument("--serve", choices=["bare", "ours"])
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    if options.serve:
        (serve_bare if options.serve == "bare" else serve_ours)(options.port)
        return
    print("server  CPU us a small response  CPU us a MB")
    for name in ("bare", "ours"):
        small, large = measure(name, options.small, options.large)
        print(f"{name:<6}  {small:>23.1f}  {large:>11.0f}")


if __name__ == "__main__":
    main()
