"""Serves under the event loop that is named: ``python -m bench.serve uvloop|asyncio|trio TABLE.KEY=VALUE ...``.

The command line takes uvloop where it is installed; who embeds the server has whatever their program runs under.
"""

from __future__ import annotations

import gc
import os
import sys

import anyio

from penstock import config as configuration
from penstock.plugins import PluginSet
from penstock.run import raise_file_limit
from penstock.server import Server


async def serve(overrides: list[str]) -> None:
    plugins = PluginSet.discover()
    config = configuration.load(None, os.environ, overrides, plugins.configs)
    async with Server(config, plugins=plugins) as server:
        gc.freeze()
        await server.run_until_stopped()


if __name__ == "__main__":
    loop = sys.argv[1]
    raise_file_limit()
    if loop == "trio":
        anyio.run(serve, sys.argv[2:], backend="trio")
    else:
        anyio.run(serve, sys.argv[2:], backend_options={"use_uvloop": loop == "uvloop"})
