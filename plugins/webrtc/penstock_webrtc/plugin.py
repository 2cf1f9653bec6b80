"""WebRTC as a plugin."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import version

from penstock.hooks import Plugin, Service, hookimpl
from penstock.server import Server
from penstock_http.api import Route
from penstock_webrtc.config import WebrtcConfig
from penstock_webrtc.server import WebrtcService
from penstock_webrtc.views import Views


class WebrtcPlugin(Plugin):
    """WHEP: the browser plays what anybody publishes, with a delay of well below a second."""

    name = "webrtc"
    version = version("penstock")
    config = WebrtcConfig

    @hookimpl
    def services(self, server: Server, config: WebrtcConfig) -> Iterable[Service]:
        return [WebrtcService(server, config)]

    @hookimpl(optionalhook=True)  # without the HTTP port nobody can ask
    def http_routes(self, server: Server, config: WebrtcConfig) -> Iterable[Route]:
        views = Views(server, config)
        found = [
            Route(pattern, views.whep, ("POST",))
            for pattern in (
                "/{path}/whep",
                "/webrtc/play/{path}",  # Monibuca
                "/rtc/v1/whep",  # SRS: ?app=live&stream=stream
                "/rtc/v1/whep/",
                "/index/api/whep",  # ZLMediaKit
                "/whep/v1",  # smart_rtmpd: ?app=live&name=stream
            )
        ]
        found += [
            Route("/{path}/whep/{session}", views.change, ("PATCH",)),
            Route("/{path}/whep/{session}", views.end, ("DELETE",)),
        ]
        return found


plugin = WebrtcPlugin()
