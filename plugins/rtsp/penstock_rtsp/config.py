"""The table ``[rtsp]``."""

from __future__ import annotations

from typing import Literal

from attrs import frozen

from penstock.hooks import option
from penstock.settings import is_listen


@frozen
class RtspConfig:
    """RTSP and RTSPS."""

    listen: str = option(":8554", "Address and port of RTSP; empty: none.", validator=is_listen)
    listen_tls: str = option(
        ":8322",
        "Address and port of RTSPS, where server.certificate is set; empty: none.",
        validator=is_listen,
    )
    rtp: str = option(
        ":8002", "Address and UDP port of RTP, for all peers; empty: no UDP.", validator=is_listen
    )
    rtcp: str = option(":8003", "Address and UDP port of RTCP, for all peers.", validator=is_listen)
    multicast: str = option(
        "239.255.42.0/24", "Range of multicast groups, one for each stream; empty: no multicast."
    )
    multicast_port: int = option(8004, "UDP port of the first track's RTP in a multicast group; even.")
    multicast_ttl: int = option(16, "How many routers multicast may pass.")
    session_timeout: int = option(
        60, "Seconds after which a session over UDP ends that shows no sign of life."
    )
    auth: Literal["both", "digest", "basic"] = option(
        "both",
        "What clients are asked for; of both they take Digest. Basic lets a plugin that has only hashes of passwords "
        "check one, and shows it to who listens in, unless over RTSPS.",
    )
    realm: str = option("penstock", "What clients are told that user and password are for.")
