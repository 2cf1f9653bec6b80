"""The pages as a plugin of the HTTP port."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import version

from penstock import Plugin, Server, hookimpl
from penstock_http.api import Route
from penstock_page.assets import Assets
from penstock_page.config import PageConfig
from penstock_page.views import Views


class PagePlugin(Plugin):
    """A player page at each stream's own URL, and a front page that lists what is live."""

    name = "page"
    version = version("penstock")
    config = PageConfig

    @hookimpl
    def http_routes(self, server: Server, config: PageConfig) -> Iterable[Route]:
        views = Views(server, config, Assets.load())
        return [
            Route("/", views.front),
            Route("/{path}", views.player, shown="play"),
            # "index" may not begin a stream's path, so these stand in nobody's way.
            Route("/index/streams", views.streams),
            Route("/index/streams/{path}", views.stream),
            Route("/index/assets/{version}/{name}", views.asset),
        ]


plugin = PagePlugin()
