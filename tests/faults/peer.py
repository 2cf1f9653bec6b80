"""One hostile peer: a blocking TCP socket with an address of its own, so that its log lines can be told apart."""

from __future__ import annotations

import itertools
import os
import socket
import struct
import time
from types import TracebackType

_numbers = itertools.count(os.getpid() * 977)


def own_address() -> str:
    """A loopback address that no other peer of this run has: log lines are limited by address."""
    number = next(_numbers) % (250 * 250 * 100)
    return f"127.{100 + number // 62_500}.{number // 250 % 250 + 1}.{number % 250 + 1}"


class Peer:
    """A connection to one of the server's ports."""

    def __init__(
        self, port: int, *, source: str | None = None, timeout: float = 10.0, receive_buffer: int = 0
    ) -> None:
        self.sock = socket.socket()
        try:
            if receive_buffer:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            self.sock.settimeout(timeout)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.sock.bind((source or own_address(), 0))
            self.sock.connect(("127.0.0.1", port))
        except BaseException:
            self.sock.close()
            raise
        host, number = self.sock.getsockname()
        self.address = f"{host}:{number}"
        """As the server's log has it."""
        self.received = b""
        """All that the server sent."""

    def __enter__(self) -> Peer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.sock.close()

    def send(self, data: bytes) -> bool:
        """Send all of `data`; False where the server has closed."""
        try:
            self.sock.sendall(data)
        except (ConnectionError, TimeoutError):
            return False
        return True

    def read(self, size: int = 65536) -> bytes:
        """What is there; empty at the end. Raises `TimeoutError`."""
        try:
            data = self.sock.recv(size)
        except ConnectionError:
            return b""
        self.received += data
        return data

    def exactly(self, size: int) -> bytes:
        """The next `size` bytes. Raises `ConnectionError` at the end."""
        data = b""
        while len(data) < size:
            piece = self.read(size - len(data))
            if not piece:
                raise ConnectionError(f"closed after {len(data)} of {size} bytes")
            data += piece
        return data

    def until(self, wanted: bytes, seconds: float = 5.0) -> bytes:
        """Read until `wanted` is among all that came. Raises `AssertionError` where it does not come."""
        deadline = time.monotonic() + seconds
        while wanted not in self.received:
            self.sock.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                piece = self.read()
            except TimeoutError:
                piece = b""
            assert piece, f"no {wanted!r} in {self.received[-300:]!r}"
        return self.received

    def closed_within(self, seconds: float) -> float:
        """Read until the server closes; returns after how many seconds. Fails where it does not."""
        start = time.monotonic()
        while True:
            left = start + seconds - time.monotonic()
            if left <= 0:
                raise AssertionError(f"still open after {seconds:g} s; last came {self.received[-200:]!r}")
            self.sock.settimeout(left)
            try:
                if not self.read():
                    return time.monotonic() - start
            except TimeoutError:
                continue

    def stays_open(self, seconds: float) -> None:
        """Read for so long; fails where the server closes."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.sock.settimeout(left)
            try:
                assert self.read(), "the server closed"
            except TimeoutError:
                return

    def end(self) -> None:
        """Half-close, as a peer does that has no more to say."""
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def reset(self) -> None:
        """Close with RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()
