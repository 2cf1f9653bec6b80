"""DASH as a plugin of the HTTP port."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import version

from penstock.hooks import Plugin, hookimpl
from penstock.server import Server
from penstock_dash.config import DashConfig
from penstock_dash.server import DashRoutes
from penstock_http.api import Route


class DashPlugin(Plugin):
    """DASH of fragmented MP4, with low latency: ``/live/stream.mpd`` on the HTTP port."""

    name = "dash"
    version = version("penstock")
    config = DashConfig

    @hookimpl(optionalhook=True)  # without the HTTP port there is nothing to hang routes on
    def http_routes(self, server: Server, config: DashConfig) -> Iterable[Route]:
        return DashRoutes(server, config).routes()

    @hookimpl
    def serves_segments(self, server: Server) -> bool:
        # Without the HTTP port nobody asks for them.
        return server.plugins.implements("asgi")


plugin = DashPlugin()
"""What the entry point names."""
