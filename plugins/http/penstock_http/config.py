"""The table ``[http]``."""

from __future__ import annotations

import re
from typing import Any

from attrs import Attribute, frozen

from penstock.hooks import option
from penstock.settings import is_listen, within


def _are_origins(_instance: Any, _attribute: Attribute[Any], value: list[str]) -> None:
    for origin in value:
        if origin != "*" and not re.fullmatch(r"https?://[^\s/?#@]+", origin):
            raise ValueError(f'must be "*" or origins such as "https://player.example", not {origin!r}')


@frozen
class HttpConfig:
    """The HTTP port, on which other plugins hang their routes."""

    listen: str = option(":8080", "Address and port of HTTP; empty: none.", validator=is_listen)
    listen_tls: str = option(
        ":8181",
        "Address and port of HTTPS, where server.certificate is set; empty: none.",
        validator=is_listen,
    )
    cors: list[str] = option(  # noqa: RUF009
        ["*"],
        'Origins whose pages may read what is served, and open WebSockets; "*" is every one, [] none but our own. '
        "Cookies are never asked for.",
        validator=_are_origins,
    )
    keep_alive: float = option(
        30.0, "Seconds that an idle connection is kept for another request.", validator=within(1)
    )
    asgi_server: str = option(
        "uvicorn", "What speaks HTTP on the listeners: an ASGI server that some plugin offers."
    )
