"""RTSP as a plugin."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.metadata import version

from penstock.hooks import Plugin, Scheme, Service, hookimpl
from penstock.server import Server
from penstock_rtsp.client import RtspScheme
from penstock_rtsp.config import RtspConfig
from penstock_rtsp.server import RtspService


class RtspPlugin(Plugin):
    """RTSP 1.0: publish, play, pull and push over UDP, TCP, multicast and HTTP, plain and over TLS."""

    name = "rtsp"
    version = version("penstock")
    config = RtspConfig

    @hookimpl
    def services(self, server: Server, config: RtspConfig) -> Iterable[Service]:
        return [RtspService(server, config)]

    @hookimpl
    def schemes(self, server: Server, config: RtspConfig) -> Mapping[str, Scheme]:
        return {"rtsp": RtspScheme(server, config), "rtsps": RtspScheme(server, config)}


plugin = RtspPlugin()
