"""Long responses over HTTP and WebSocket, and publishing by POST and PUT, as a plugin."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from importlib.metadata import version
from typing import Literal

from penstock.hooks import Plugin, hookimpl
from penstock.registry import Registry
from penstock_formats.flv.script import register_script
from penstock_http.api import HttpSource, Route
from penstock_progressive.client import pull
from penstock_progressive.container import CONTAINERS
from penstock_progressive.player import play
from penstock_progressive.recorder import record

ENDINGS = ("", ".live")
"""What is between a stream's path and the container's name: nothing, or what ZLMediaKit has there."""


class ProgressivePlugin(Plugin):
    """FLV, MPEG-TS and fragmented MP4: ``/live/stream.flv``, ``.ts`` and ``.mp4`` on the HTTP port."""

    name = "progressive"
    version = version("penstock")

    @hookimpl
    def register(self, registry: Registry) -> None:
        register_script(registry)

    @hookimpl(optionalhook=True)  # without the HTTP port there is nothing to hang routes on
    def http_routes(self) -> Iterable[Route]:
        found: list[Route] = []
        for container in CONTAINERS:
            for ending in ENDINGS:
                pattern = f"/{{path}}{ending}.{container.name}"
                # Of the others docs/progressive.md tells: the table is to be short.
                shown: Literal["", "play"] = "play" if pattern == "/{path}.flv" else ""
                found.append(Route(pattern, partial(play, container), websocket=True, shown=shown))
                found.append(Route(pattern, partial(record, container), methods=("POST", "PUT")))
        return found

    @hookimpl(optionalhook=True)
    def http_sources(self) -> Iterable[HttpSource]:
        return [HttpSource((c.content_type,), (f".{c.name}",), partial(pull, c)) for c in CONTAINERS]


plugin = ProgressivePlugin()
