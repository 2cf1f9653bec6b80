"""The table ``[rtsp]``."""

from __future__ import annotations

import ipaddress
from typing import Any, Literal

from attrs import Attribute, frozen

from penstock.hooks import option
from penstock.settings import backlog_option, is_listen, parse_listen, start_option, within


def _is_rtcp(_instance: Any, _attribute: Attribute[Any], value: str) -> None:
    if not value:
        raise ValueError("must not be empty; for no UDP, leave rtsp.rtp empty")
    parse_listen(value)


def _is_rtp_port(_instance: Any, _attribute: Attribute[Any], value: int) -> None:
    # RFC 3550 11: RTP on an even port, RTCP on the next.
    if not 2 <= value <= 65534 or value % 2:
        raise ValueError(f"must be an even number, 2 to 65534, not {value}")


def _is_realm(_instance: Any, _attribute: Attribute[Any], value: str) -> None:
    # RFC 7616 3.3: a quoted string; what had to be escaped in it many clients hash as it is written.
    if not value.isprintable() or '"' in value or "\\" in value:
        raise ValueError(f"must be text without quotes, backslashes and control characters, not {value!r}")


def multicast_range(text: str) -> ipaddress.IPv4Network:
    """The range of multicast groups that is written so. Raises `ValueError`."""
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        raise ValueError(f"must be an address range such as 239.255.42.0/24, not {text!r}") from None
    if not isinstance(network, ipaddress.IPv4Network) or not network.is_multicast:
        raise ValueError(f"must be within 224.0.0.0/4, not {text!r}")
    return network


def _is_multicast(_instance: Any, _attribute: Attribute[Any], value: str) -> None:
    if value:
        multicast_range(value)


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
    rtcp: str = option(":8003", "Address and UDP port of RTCP, for all peers.", validator=_is_rtcp)
    start: Literal["key", "live"] = start_option()
    max_backlog_seconds: float | None = backlog_option()
    multicast: str = option(
        "239.255.42.0/24",
        "Range of multicast groups, one for each stream; empty: no multicast.",
        validator=_is_multicast,
    )
    multicast_port: int = option(
        8004, "UDP port of the first track's RTP in a multicast group; even.", validator=_is_rtp_port
    )
    multicast_ttl: int = option(16, "How many routers multicast may pass.", validator=within(1, 255))
    session_timeout: int = option(
        60, "Seconds after which a session over UDP ends that shows no sign of life.", validator=within(1)
    )
    auth: Literal["both", "digest", "basic"] = option(
        "both",
        "What clients are asked for; of both they take Digest. Basic lets a plugin that has only hashes of passwords "
        "check one, and shows it to who listens in, unless over RTSPS.",
    )
    realm: str = option(
        "penstock", "What clients are told that user and password are for.", validator=_is_realm
    )
