"""A connection's socket in other hands: a duplicate that a feed's sink writes to, while the event loop's side reads."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Self

import anyio

from penstock import ByteSink, Closed
from penstock.server import Server

TURNS = 10
"""How often the event loop is yielded to before what is not out yet is waited for in earnest."""


class Handover:
    """The duplicate and its sink."""

    def __init__(self, transport: asyncio.Transport, server: Server) -> None:
        # Of uvloop's pseudo socket only the number is to be had; the duplicate is as non-blocking as the original.
        self._sock = socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))
        self.sink = ByteSink(self._sock, server.spawn, server.config.server.stall_timeout)

    @classmethod
    async def of(cls, transport: asyncio.Transport, server: Server) -> Self:
        """Once nothing that `transport` was given waits. Raises `Closed` where it is closed meanwhile."""
        turns = 0
        while transport.get_write_buffer_size() and not transport.is_closing():
            await anyio.sleep(0 if turns < TURNS else 0.01)
            turns += 1
        if transport.is_closing():
            raise Closed("the peer left")
        return cls(transport, server)

    def close(self, reason: str) -> None:
        """Close the duplicate, without which the peer would not hear of the connection's end."""
        self.sink.close(reason)
        if self._sock.fileno() >= 0:
            anyio.notify_closing(self._sock)
        self._sock.close()
