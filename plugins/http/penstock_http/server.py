"""The HTTP and HTTPS listeners, which some ASGI server serves."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterable, Mapping
from importlib.util import find_spec
from typing import Any

from penstock import UserError
from penstock.hooks import Endpoint
from penstock.net import load_tls, open_listener
from penstock.server import Server
from penstock.settings import parse_listen
from penstock.structure import nearest
from penstock_http.api import AsgiServer, Listener
from penstock_http.app import app_of
from penstock_http.config import HttpConfig

LIBRARIES = ("uvicorn", "httptools", "websockets")


class HttpService:
    """One listener."""

    def __init__(self, server: Server, config: HttpConfig, *, secure: bool) -> None:
        self.name = "https" if secure else "http"
        self._server = server
        self._config = config
        self._secure = secure

    async def run(self, started: Callable[[Iterable[Endpoint]], None]) -> None:
        serve = self._serve()
        tls = self._tls() if self._secure else None
        host, port = parse_listen(self._config.listen_tls if self._secure else self._config.listen)
        key = "http.listen_tls" if self._secure else "http.listen"
        sockets = open_listener(host, port, what=self.name.upper(), key=key)
        try:
            port = sockets[0].getsockname()[1]
            shown = "" if port == (443 if self._secure else 80) else f":{port}"
            app = app_of(self._server, self._config)
            app.refresh()
            base = f"{self.name}://{{host}}{shown}"
            publish, play = ([base + path for path in app.shown(to)] for to in ("publish", "play"))
            started(
                [
                    Endpoint(
                        self.name, host or "", port, publish=tuple(publish), play=tuple(play) or (f"{base}/",)
                    )
                ]
            )
            await serve(app, Listener(self._server, sockets, tls, self._config, app))
        finally:
            for sock in sockets:
                sock.close()

    def _tls(self) -> ssl.SSLContext:
        # One of its own: what is chosen by ALPN is HTTP's alone.
        limits = self._server.config.server
        return load_tls(limits.certificate, limits.key)

    def _serve(self) -> AsgiServer:
        name = self._config.asgi_server
        found = _servers(self._server)
        if name not in found:
            raise UserError(f"http.asgi_server: no plugin offers {name!r}{nearest(name, found)}")
        if name == "uvicorn":
            try:
                asyncio.get_running_loop()
            except RuntimeError:
                raise UserError(
                    "HTTP needs asyncio: run the server under asyncio or uvloop, not trio"
                ) from None
            missing = [library for library in LIBRARIES if find_spec(library) is None]
            if missing:
                raise UserError(f"HTTP needs {' and '.join(missing)}: pip install 'penstock[http]'")
        return found[name]


def _servers(server: Server) -> dict[str, AsgiServer]:
    found: dict[str, AsgiServer] = {}
    for record in server.plugins:
        if record.since:
            config = server.config.plugin(record.name).config
            found.update(
                server.plugins.call(record.name, "asgi_servers", _checked, server=server, config=config) or {}
            )
    return found


def _checked(answer: Any) -> dict[str, AsgiServer]:
    if not isinstance(answer, Mapping) or not all(map(callable, answer.values())):  # pyright: ignore[reportUnknownArgumentType,reportUnknownMemberType]
        raise TypeError("asgi_servers answers functions by name")
    return dict(answer)  # pyright: ignore[reportUnknownArgumentType,reportUnknownVariableType]
