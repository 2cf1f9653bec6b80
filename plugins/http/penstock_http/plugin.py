"""The HTTP port as a plugin."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Any

from penstock.hooks import Plugin, Scheme, Service, hookimpl
from penstock.server import Server
from penstock_http.api import AsgiServer, HttpSpecs
from penstock_http.app import app_of
from penstock_http.client import HttpScheme
from penstock_http.config import HttpConfig
from penstock_http.server import HttpService


class HttpPlugin(Plugin):
    """One HTTP port for all plugins, or an ASGI application in somebody else's project; and sources over HTTP."""

    name = "http"
    version = version("penstock")
    config = HttpConfig
    hookspecs = HttpSpecs

    @hookimpl
    def services(self, server: Server, config: HttpConfig) -> Iterable[Service]:
        found: list[Service] = []
        if config.listen:
            found.append(HttpService(server, config, secure=False))
        if config.listen_tls and server.has_tls:
            found.append(HttpService(server, config, secure=True))
        return found

    @hookimpl
    def schemes(self, server: Server) -> Mapping[str, Scheme]:
        scheme = HttpScheme(server)
        return {"http": scheme, "https": scheme}

    @hookimpl
    def asgi(self, server: Server, config: HttpConfig) -> Any:
        return app_of(server, config)

    @hookimpl
    def asgi_servers(self, server: Server) -> Mapping[str, AsgiServer]:
        return {"uvicorn": _uvicorn}


async def _uvicorn(app: Any, listener: Any) -> None:
    # Imported only where it is used: the library is an extra, and takes a fifth of a second.
    from penstock_http.uvicorn_server import serve

    await serve(app, listener)


plugin = HttpPlugin()
