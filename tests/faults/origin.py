"""An HTTP server of bad sources: each path is a fault."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Fault = bytes | Callable[[BaseHTTPRequestHandler], None]
"""A body, or what answers instead."""


@contextmanager
def origin(faults: Mapping[str, Fault]) -> Generator[int]:
    """Serves `faults` by path; gives the port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            fault = faults.get(self.path)
            try:
                if fault is None:
                    self.send_error(404)
                elif isinstance(fault, bytes):
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(fault)))
                    self.end_headers()
                    self.wfile.write(fault)
                else:
                    fault(self)
            except OSError:
                self.close_connection = True

        def log_message(self, format: str, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    # What sleeps for ever must not be waited for.
    server.daemon_threads = True
    server.block_on_close = False
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def redirect(to: str) -> Fault:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(302)
        handler.send_header("Location", to)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def endless(piece: bytes) -> Fault:
    """A body without end."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        while True:
            handler.wfile.write(piece)

    return answer


def raw(data: bytes) -> Fault:
    """What is no HTTP, and then silence until the other side has had enough."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(data)
        handler.connection.settimeout(20)
        handler.rfile.read(1)
        handler.close_connection = True

    return answer
