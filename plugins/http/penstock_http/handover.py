"""A connection's socket in other hands: a duplicate that a feed's sink writes to, while the event loop's side reads."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from typing import Self

import anyio

from penstock import ByteSink, Closed
from penstock.server import Server

TURNS = 10
"""How often the event loop is yielded to before what is not out yet is waited for in earnest."""


class PeerSink(ByteSink):
    """Tells the connection where the peer takes no more."""

    __slots__ = ("lost",)

    def __init__(self, sock: socket.socket, server: Server, lost: Callable[[str], None]) -> None:
        super().__init__(sock, server.spawn, server.config.server.stall_timeout)
        self.lost: Callable[[str], None] | None = lost

    def close(self, reason: str) -> None:
        lost, self.lost = self.lost, None
        super().close(reason)
        if lost is not None:
            lost(reason)


class Handover:
    """The duplicate and its sink."""

    def __init__(self, transport: asyncio.Transport, server: Server, lost: Callable[[str], None]) -> None:
        # Of uvloop's pseudo socket only the number is to be had; the duplicate is as non-blocking as the original.
        self._sock = socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))
        self.sink = PeerSink(self._sock, server, lost)

    @classmethod
    async def of(cls, transport: asyncio.Transport, server: Server, lost: Callable[[str], None]) -> Self:
        """Once nothing that `transport` was given waits; `lost` is told where the sink finds that the peer takes no more.

        Raises `Closed` where the connection is closed meanwhile.
        """
        turns = 0
        while transport.get_write_buffer_size() and not transport.is_closing():
            await anyio.sleep(0 if turns < TURNS else 0.01)
            turns += 1
        if transport.is_closing():
            raise Closed("the peer left")
        return cls(transport, server, lost)

    def close(self, reason: str) -> None:
        """Close the duplicate, without which the peer would not hear of the connection's end."""
        self.sink.lost = None
        self.sink.close(reason)
        if self._sock.fileno() >= 0:
            anyio.notify_closing(self._sock)
        self._sock.close()
