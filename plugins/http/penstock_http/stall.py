"""Peers that take nothing of what waits for them."""

from __future__ import annotations

import asyncio
import time


class Stall:
    """Whether a peer takes what waits for it: looked at now and then, and so at no cost for each write."""

    __slots__ = ("_left", "_since")

    def __init__(self) -> None:
        self._since: float | None = None
        self._left = 0

    def begin(self) -> None:
        """More waits than is good."""
        self._since = time.monotonic()
        self._left = 0

    def end(self) -> None:
        """Little waits, or nothing."""
        self._since = None

    def over(self, transport: asyncio.Transport, now: float, limit: float) -> bool:
        """Whether nothing of what waits was taken for `limit` seconds."""
        if self._since is None and not transport.is_closing():
            return False
        left = transport.get_write_buffer_size()
        if self._since is None or left != self._left:
            self._since, self._left = now, left
            return False
        return now - self._since > limit
