"""A network between a browser and the media port that can be cut off."""

from __future__ import annotations

import selectors
import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager


class Proxy:
    """Passes datagrams on, both ways, while `up`; each peer has a socket of its own towards the server."""

    def __init__(self, server: tuple[str, int]) -> None:
        self.up = True
        self.dropped = 0
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
                for key, _ in selector.select(0.1):
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
        if not self.up:
            self.dropped += 1
        elif to:
            sock.sendto(data, *to)
        else:
            sock.send(data)

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
