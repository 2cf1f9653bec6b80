"""penstock that switches one protocol off and on all the time, as a program: PROTOCOL SERVE-ARGUMENTS..."""

from __future__ import annotations

import sys
from functools import partial

import anyio

from penstock import Server, cli

ON_SECONDS, OFF_SECONDS = 0.6, 0.2
"""Several times within a clip."""


async def switch(server: Server, protocol: str) -> None:
    while True:
        await anyio.sleep(ON_SECONDS)
        await server.disable(protocol)
        await anyio.sleep(OFF_SECONDS)
        await server.enable(protocol)


def main(protocol: str, arguments: list[str]) -> None:
    wait = Server.run_until_stopped

    async def run_until_stopped(self: Server) -> None:
        self.spawn(partial(switch, self, protocol))
        await wait(self)

    Server.run_until_stopped = run_until_stopped  # type: ignore[method-assign]
    raise SystemExit(cli.main(arguments))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
