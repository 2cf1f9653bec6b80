"""RTMP as a plugin."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.metadata import version

from penstock.hooks import Plugin, Scheme, Service, hookimpl
from penstock.registry import Registry
from penstock.server import Server
from penstock_formats.flv.script import register_script
from penstock_rtmp.client import RtmpScheme
from penstock_rtmp.config import RtmpConfig
from penstock_rtmp.server import RtmpService


class RtmpPlugin(Plugin):
    """RTMP 1.0 and Enhanced RTMP v2: publish, play, pull and push, plain and over TLS."""

    name = "rtmp"
    version = version("penstock")
    config = RtmpConfig

    @hookimpl
    def register(self, registry: Registry) -> None:
        register_script(registry)

    @hookimpl
    def services(self, server: Server, config: RtmpConfig) -> Iterable[Service]:
        found: list[Service] = []
        if config.listen:
            found.append(RtmpService(server, config, secure=False))
        if config.listen_tls and server.has_tls:
            found.append(RtmpService(server, config, secure=True))
        return found

    @hookimpl
    def schemes(self, server: Server, config: RtmpConfig) -> Mapping[str, Scheme]:
        return {"rtmp": RtmpScheme(server, config), "rtmps": RtmpScheme(server, config)}


plugin = RtmpPlugin()
