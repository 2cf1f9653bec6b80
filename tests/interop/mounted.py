"""penstock inside of other people's projects, as a program: serve --config FILE --set ... Its HTTP is below ``/media`` of a
FastAPI project at one port, and of a Django project at another, both on uvicorn.
"""

from __future__ import annotations

import argparse
import json
import signal
from pathlib import Path

import anyio

from penstock import config as configuration
from penstock import log
from penstock.plugins import PluginSet
from penstock.run import start_table
from penstock.server import Server
from tests.http.projects import django, fastapi, uvicorn_serves


async def serve(server: Server, plugins: PluginSet) -> None:
    # FastAPI's lifespan starts the server; the other project is in the same process.
    async with (
        uvicorn_serves(fastapi(server)) as one,
        uvicorn_serves(django(server), lifespan="off") as other,
    ):
        for what, port in (("http", one), ("django", other)):
            line = {"event": "listening", "what": what, "address": "127.0.0.1", "port": port}
            print(json.dumps(line), flush=True)
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            print(start_table(server.endpoints, plugins, "127.0.0.1", server.services.failures), flush=True)
            async for _ in signals:
                return


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["serve"])
    parser.add_argument("--config", type=Path)
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    options = parser.parse_args()
    plugins = PluginSet.discover()
    config = configuration.load(options.config, {}, options.overrides, plugins.configs)
    log.configure(config.server.log_level, config.server.log_format)
    anyio.run(serve, Server(config, plugins=plugins), plugins)


if __name__ == "__main__":
    main()
