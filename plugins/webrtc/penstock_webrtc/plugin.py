"""WebRTC as a plugin."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import version
from typing import Literal

from penstock.hooks import Plugin, Service, hookimpl
from penstock.server import Server
from penstock_http.api import Handler, Route
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
            *_endpoint(views, views.whip, "whip", "push", "publish"),
            *_endpoint(views, views.whep, "whep", "play", "play"),
            Route("/{path}", views.whip_by_direction, ("POST",)),
            *(
                Route(f"/{{path}}/{what}/{{session}}", view, (method,))
                for what in ("whip", "whep")
                for method, view in (("GET", views.session), ("PATCH", views.change), ("DELETE", views.end))
            ),
        ]


def _endpoint(
    views: Views, begin: Handler, what: str, verb: str, shown: Literal["publish", "play"]
) -> Iterable[Route]:
    """Where offers are made, in all spellings."""
    own = f"/{{path}}/{what}"
    for pattern in (own, *(other.format(what, verb) for other in OTHER_PATTERNS)):
        yield Route(pattern, begin, ("POST",), options=views.options, shown=shown if pattern == own else "")
        yield Route(pattern, views.endpoint, ("GET",))


plugin = WebrtcPlugin()
