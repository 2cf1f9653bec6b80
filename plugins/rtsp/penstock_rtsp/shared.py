"""What all sessions of the plugin share."""

from __future__ import annotations

import time
from random import Random, SystemRandom
from typing import Protocol

import anyio
from attrs import define, field

from penstock.server import Server
from penstock.session import KICKS
from penstock_rtsp.config import RtspConfig
from penstock_rtsp.credentials import Authenticator
from penstock_rtsp.multicast import Multicast
from penstock_rtsp.udp import Ports

LOOK_SECONDS = 1.0
"""How often sessions are looked after."""


class Living(Protocol):
    """A session that ends where its peer shows no sign of life."""

    def check_life(self, now: float) -> None:
        """Look at the time, in monotonic seconds."""


@define(eq=False)
class Shared:
    """The server, the config, who may do what, and the UDP ports of all peers."""

    server: Server
    config: RtspConfig
    authenticator: Authenticator
    ports: Ports | None = None
    multicast: Multicast | None = None
    random: Random = field(factory=SystemRandom)
    sessions: set[Living] = field(factory=lambda: set[Living]())

    async def watch(self) -> None:
        """Look after all sessions' signs of life, until cancelled: one task, as players are many."""
        while True:
            await anyio.sleep(LOOK_SECONDS)
            # On its own, or the last session that was looked after would not be given back until there is another.
            await self._look_after()

    async def _look_after(self) -> None:
        now = time.monotonic()
        for number, session in enumerate(tuple(self.sessions), 1):
            if session in self.sessions:  # it may have ended while others had their turn
                session.check_life(now)
            if number % KICKS == 0:
                await anyio.lowlevel.checkpoint()
