"""What a firewall leaves of RTSP: a proxy for its TCP connections, behind which UDP finds nobody."""

from __future__ import annotations

import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

IN, OUT = "127.0.0.2", "127.0.0.3"
"""The server sends datagrams to `OUT` and the client to `IN`, where nobody has a UDP socket."""


@contextmanager
def tcp_only(url: str) -> Generator[str]:
    """A proxy for any number of connections to the server of `url`; yields its own address."""
    server = urlsplit(url)
    address = server.hostname or "", server.port or 0
    listener = socket.create_server((IN, 0))
    sockets: list[socket.socket] = [listener]

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
                upstream = socket.create_connection(address, source_address=(OUT, 0))
            except OSError:
                return
            sockets.extend((client, upstream))
            for pair in ((client, upstream), (upstream, client)):
                threading.Thread(target=_copy, args=pair, daemon=True).start()

    worker = threading.Thread(target=serve, daemon=True)
    worker.start()
    try:
        yield f"{IN}:{listener.getsockname()[1]}"
    finally:
        # A socket that is only closed goes on accepting in the thread that waits for it.
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        worker.join(5)
        for one in sockets:
            one.close()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
