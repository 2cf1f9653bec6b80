"""A link that carries only so much: a TCP proxy which reads from the server no faster than it is told."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from types import TracebackType

from .peer import own_address

PIECE = 4096
BUFFER = 16 << 10
"""What waits inside the link: little, so that the server's own buffers are what fills."""


class SlowLink:
    """Carries one connection to `target`, from there at most `rate` bytes a second; `address` is what the server sees."""

    def __init__(self, target: int, rate: float) -> None:
        self._rate = rate
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(10)
        self.port: int = self._listener.getsockname()[1]
        self._far = socket.socket()
        self._far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        self._far.bind((own_address(), 0))
        self._far.connect(("127.0.0.1", target))
        host, number = self._far.getsockname()
        self.address = f"{host}:{number}"
        self._near: socket.socket | None = None
        self._threads = [threading.Thread(target=self._down)]

    def __enter__(self) -> SlowLink:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for sock in (self._far, self._near):
            if sock is not None:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for sock in (self._far, self._near, self._listener):
            if sock is not None:
                sock.close()

    def _down(self) -> None:
        try:
            near, _ = self._listener.accept()
        except OSError:
            return
        self._near = near
        up = threading.Thread(target=self._up, args=(near,))
        self._threads.append(up)
        up.start()
        due = time.monotonic()
        with contextlib.suppress(OSError):
            while data := self._far.recv(PIECE):
                near.sendall(data)
                due = max(due, time.monotonic() - 0.1) + len(data) / self._rate
                time.sleep(max(0.0, due - time.monotonic()))
            near.shutdown(socket.SHUT_WR)

    def _up(self, near: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := near.recv(PIECE):
                self._far.sendall(data)
            self._far.shutdown(socket.SHUT_WR)
