"""SRT as a plugin."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.metadata import version

from penstock.hooks import Plugin, Scheme, Service, hookimpl
from penstock.server import Server
from penstock_srt.client import SrtScheme
from penstock_srt.config import SrtConfig
from penstock_srt.server import SrtService


class SrtPlugin(Plugin):
    """SRT: publish, play, pull and push MPEG-TS over UDP, with retransmission and encryption."""

    name = "srt"
    version = version("penstock")
    config = SrtConfig

    @hookimpl
    def services(self, server: Server, config: SrtConfig) -> Iterable[Service]:
        return [SrtService(server, config)]

    @hookimpl
    def schemes(self, server: Server, config: SrtConfig) -> Mapping[str, Scheme]:
        return {"srt": SrtScheme(server, config)}


plugin = SrtPlugin()
