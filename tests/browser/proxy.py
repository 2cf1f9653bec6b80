"""A network between a browser and the media port that can be cut off, or made narrow."""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager

QUEUE = 40_000
"""Bytes that wait where the network is narrow."""


class Proxy:
    """Passes datagrams on, both ways, while `up`; each peer has a socket of its own towards the server.

    Towards peers it carries `width` bits a second, with a queue in front; 0 is without a bound.
    """

    def __init__(self, server: tuple[str, int]) -> None:
        self.up = True
        self.width = 0.0
        self.dropped = 0
        self._free = 0.0
        self._waiting: deque[tuple[float, bytes, tuple[str, int]]] = deque()
        self._server = server
        self._stop = False
        self._peers: dict[tuple[str, int], socket.socket] = {}
        self._near = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._near.bind(("127.0.0.1", 0))
        self.port: int = self._near.getsockname()[1]

    def run(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._near, selectors.EVENT_READ, None)
            while not self._stop:
                self._release()
                wait = self._waiting[0][0] - time.monotonic() if self._waiting else 0.1
                for key, _ in selector.select(max(0.0, min(0.1, wait))):
                    if key.data is None:
                        data, peer = self._near.recvfrom(65_536)
                        far = self._peers.get(peer)
                        if far is None:
                            far = self._peers[peer] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                            far.connect(self._server)
                            selector.register(far, selectors.EVENT_READ, peer)
                        self._pass(data, far)
                    else:
                        self._pass(self._peers[key.data].recv(65_536), self._near, key.data)
        for sock in (self._near, *self._peers.values()):
            sock.close()

    def _pass(self, data: bytes, sock: socket.socket, *to: tuple[str, int]) -> None:
        now = time.monotonic()
        if not self.up:
            self.dropped += 1
        elif not to:
            sock.send(data)
        elif not self.width and not self._waiting:
            sock.sendto(data, to[0])
        elif (self._free - now) * self.width / 8 > QUEUE:
            self.dropped += 1
        else:
            took = len(data) * 8 / self.width if self.width else 0.0
            self._free = max(self._free, now) + took
            self._waiting.append((self._free, data, to[0]))

    def _release(self) -> None:
        """Let out what has waited for long enough."""
        now, waiting = time.monotonic(), self._waiting
        while waiting and waiting[0][0] <= now:
            _, data, to = waiting.popleft()
            self._near.sendto(data, to)

    def stop(self) -> None:
        self._stop = True


@contextmanager
def proxy(port: int) -> Generator[Proxy]:
    """One in front of the media port of a server on this machine."""
    made = Proxy(("127.0.0.1", port))
    thread = threading.Thread(target=made.run)
    thread.start()
    try:
        yield made
    finally:
        made.stop()
        thread.join()
