"""The table ``[http]``."""

from __future__ import annotations

import re
from ipaddress import ip_network
from typing import Any, Literal

from attrs import Attribute, frozen

from penstock.hooks import option
from penstock.settings import is_listen, within


def _are_origins(_instance: Any, _attribute: Attribute[Any], value: list[str]) -> None:
    for origin in value:
        if origin != "*" and not re.fullmatch(r"https?://[^\s/?#@]+", origin):
            raise ValueError(f'must be "*" or origins such as "https://player.example", not {origin!r}')


def _are_networks(_instance: Any, _attribute: Attribute[Any], value: list[str]) -> None:
    for network in value:
        try:
            ip_network(network, strict=False)
        except ValueError:
            raise ValueError(f'must be addresses or networks such as "10.0.0.0/8", not {network!r}') from None


@frozen
class HttpConfig:
    """The HTTP port, on which other plugins hang their routes."""

    listen: str = option(":8080", "Address and port of HTTP; empty: none.", validator=is_listen)
    listen_tls: str = option(
        ":8181",
        "Address and port of HTTPS, where server.certificate is set; empty: none.",
        validator=is_listen,
    )
    http2: bool = option(True, "Offer HTTP/2 on HTTPS, where `penstock[http2]` is installed. Experimental.")
    cors: list[str] = option(  # noqa: RUF009
        ["*"],
        'Origins whose pages may read what is served, and open WebSockets; "*" is every one, [] none but our own. '
        "Cookies are never asked for.",
        validator=_are_origins,
    )
    trusted_proxies: list[str] = option(  # noqa: RUF009
        [],
        'Addresses and networks of proxies in front, such as "10.0.0.0/8": the peer is whom they say they ask for.',
        validator=_are_networks,
    )
    proxy_header: Literal["x-forwarded-for", "forwarded"] = option(
        "x-forwarded-for",
        "What trusted proxies say it by: X-Forwarded-For and X-Forwarded-Proto, or Forwarded (RFC 7239).",
    )
    keep_alive: float = option(
        30.0, "Seconds that an idle connection is kept for another request.", validator=within(1)
    )
    asgi_server: str = option(
        "uvicorn", "What speaks HTTP on the listeners: an ASGI server that some plugin offers."
    )
