"""The table ``[rtmp]``."""

from __future__ import annotations

from attrs import frozen

from penstock.hooks import option
from penstock.settings import is_listen


@frozen
class RtmpConfig:
    """RTMP and RTMPS."""

    listen: str = option(":1935", "Address and port of RTMP; empty: none.", validator=is_listen)
    listen_tls: str = option(
        ":1936",
        "Address and port of RTMPS, where server.certificate is set; empty: none.",
        validator=is_listen,
    )
