"""The table ``[rtmp]``."""

from __future__ import annotations

from typing import Literal

from attrs import frozen

from penstock.hooks import option
from penstock.settings import backlog_option, is_listen, start_option


@frozen
class RtmpConfig:
    """RTMP and RTMPS."""

    listen: str = option(":1935", "Address and port of RTMP; empty: none.", validator=is_listen)
    listen_tls: str = option(
        ":1936",
        "Address and port of RTMPS, where server.certificate is set; empty: none.",
        validator=is_listen,
    )
    start: Literal["key", "live"] = start_option()
    max_backlog_seconds: float | None = backlog_option()
