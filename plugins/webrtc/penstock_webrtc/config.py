"""The table ``[webrtc]``."""

from __future__ import annotations

import re
from typing import Any, Literal

from attrs import Attribute, frozen

from penstock.hooks import option
from penstock.settings import backlog_option, is_listen, start_option

STUN_SERVER = re.compile(r"stun:(?:\[([0-9A-Fa-f:.]+)\]|([^:/?#\[\]\s]+))(?::(\d{1,5}))?")
"""RFC 7064: host and port."""
_SCHEMES = ("stun:", "stuns:", "turn:", "turns:")


def _are_servers(_instance: Any, _attribute: Attribute[Any], value: list[str]) -> None:
    for url in value:
        if not url.startswith(_SCHEMES) or not url.isprintable() or any(c in url for c in ' <>"'):
            raise ValueError(f"must be addresses such as 'stun:stun.example.org:3478', not {url!r}")


def _are_stun_servers(_instance: Any, _attribute: Attribute[Any], value: list[str]) -> None:
    for uri in value:
        if STUN_SERVER.fullmatch(uri) is None:
            raise ValueError(f"must be addresses such as 'stun:stun.example.org:3478', not {uri!r}")


@frozen
class WebrtcConfig:
    """WebRTC: WHIP and WHEP on the HTTP port, media over UDP."""

    listen: str = option(":8000", "Address and UDP port of media, for all peers.", validator=is_listen)
    listen_tcp: str = option(
        ":8888",
        "Address and port for peers that do not reach webrtc.listen: media over TCP (ICE-TCP), and TURN over TCP and UDP; "
        "empty: neither.",
        validator=is_listen,
    )
    listen_tls: str = option(
        ":5349",
        "Address and port of TURN over TLS, where server.certificate is set; empty: none.",
        validator=is_listen,
    )
    turn: bool = option(
        True,
        "Whether webrtc.listen_tcp and webrtc.listen_tls serve TURN; it relays to webrtc.listen, and to nothing else.",
    )
    turn_secret: str = option(
        "",
        "Secret by which credentials for TURN are made (draft-uberti-behave-turn-rest), for who makes them elsewhere; "
        "empty: a new one at each start.",
    )
    addresses: list[str] = option(  # noqa: RUF009
        [],
        "Addresses or names at which peers reach webrtc.listen, such as the public address of a router that forwards "
        "its port; empty: those of this machine.",
    )
    stun_servers: list[str] = option(  # noqa: RUF009
        [],
        "STUN servers, such as stun:stun.example.org:3478, that tell under which public address webrtc.listen is reached; "
        "asked every 20 s.",
        validator=_are_stun_servers,
    )
    ice_servers: list[str] = option(  # noqa: RUF009
        [],
        "STUN and TURN servers that peers are told of (Link header); most peers need none, as this server is reached "
        "directly.",
        validator=_are_servers,
    )
    pacing: bool = option(
        True,
        "Whether large pictures are spread over up to 0.2 s for viewers who join or lose packets; others get them at once.",
    )
    start: Literal["key", "live"] = start_option()
    max_backlog_seconds: float | None = backlog_option()
