"""HLS as a plugin of the HTTP port."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import version

from penstock.hooks import Plugin, Service, hookimpl
from penstock.server import Server
from penstock_hls.client import SOURCE
from penstock_hls.config import HlsConfig
from penstock_hls.server import HlsRoutes
from penstock_hls.writer import DirectoryService
from penstock_http.api import HttpSource, Route


class HlsPlugin(Plugin):
    """HLS of MPEG-TS and fragmented MP4, Low-Latency HLS, and files on disk; HLS of others as a source."""

    name = "hls"
    version = version("penstock")
    config = HlsConfig

    @hookimpl
    def http_routes(self, server: Server, config: HlsConfig) -> Iterable[Route]:
        return HlsRoutes(server, config).routes()

    @hookimpl
    def http_sources(self) -> Iterable[HttpSource]:
        return [SOURCE]

    @hookimpl
    def services(self, server: Server, config: HlsConfig) -> Iterable[Service]:
        return [DirectoryService(server, config)] if config.directory or config.always else []

    @hookimpl
    def serves_segments(self, server: Server) -> bool:
        # Without the HTTP port nobody asks for them.
        return server.plugins.implements("asgi")


plugin = HlsPlugin()
"""What the entry point names."""
