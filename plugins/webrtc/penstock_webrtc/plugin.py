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

OTHER_PATTERNS = (
    "/webrtc/{1}/{{path}}",  # Monibuca
    "/rtc/v1/{0}",  # SRS: ?app=live&stream=stream
    "/rtc/v1/{0}/",
    "/index/api/{0}",  # ZLMediaKit
    "/{0}/v1",  # smart_rtmpd: ?app=live&name=stream
)
"""Where offers go: our own first, then those that other servers' users have."""


class WebrtcPlugin(Plugin):
    """WHIP and WHEP: browsers publish and play with a delay of well below a second, others publish."""

    name = "webrtc"
    version = version("penstock")
    config = WebrtcConfig

    @hookimpl
    def services(self, server: Server, config: WebrtcConfig) -> Iterable[Service]:
        return [WebrtcService(server, config)]

    @hookimpl(optionalhook=True)  # without the HTTP port nobody can ask
    def http_routes(self, server: Server, config: WebrtcConfig) -> Iterable[Route]:
        views = Views(server, config)
        return [
            Route("/{path}/whip", views.whip, ("POST",), options=views.options, shown="publish"),
            Route("/{path}/whep", views.whep, ("POST",), options=views.options, shown="play"),
            *(
                Route(pattern.format("whip", "push"), views.whip, ("POST",), options=views.options)
                for pattern in OTHER_PATTERNS
            ),
            *(
                Route(pattern.format("whep", "play"), views.whep, ("POST",), options=views.options)
                for pattern in OTHER_PATTERNS
            ),
            Route("/{path}", views.whip_by_direction, ("POST",)),
            *(Route(f"/{{path}}/{what}/{{session}}", views.change, ("PATCH",)) for what in ("whip", "whep")),
            *(Route(f"/{{path}}/{what}/{{session}}", views.end, ("DELETE",)) for what in ("whip", "whep")),
        ]


plugin = WebrtcPlugin()
