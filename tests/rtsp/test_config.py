"""What the table [rtsp] refuses: each would else be found by the first client."""

from __future__ import annotations

import pytest

from penstock.config import Config
from penstock.errors import UserError
from penstock_rtsp.config import RtspConfig


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("rtcp", "", "rtsp.rtcp must not be empty; for no UDP, leave rtsp.rtp empty"),
        ("rtcp", "8003", "rtsp.rtcp is refused: '8003' has no port"),
        ("rtp", "[::1", "rtsp.rtp is refused: '[::1' has no closing bracket"),
        ("multicast_ttl", 9999, "rtsp.multicast_ttl must be 1 to 255, not 9999"),
        ("multicast_ttl", 0, "rtsp.multicast_ttl must be 1 to 255"),
        ("multicast_port", 8005, "rtsp.multicast_port must be an even number, 2 to 65534, not 8005"),
        ("multicast_port", 65536, "rtsp.multicast_port must be an even number"),
        ("multicast_port", 0, "rtsp.multicast_port must be an even number"),
        (
            "multicast",
            "239.255.42.1/24",
            "rtsp.multicast must be an address range such as 239.255.42.0/24, not",
        ),
        ("multicast", "all", "rtsp.multicast must be an address range"),
        ("multicast", "10.0.0.0/8", "rtsp.multicast must be within 224.0.0.0/4, not '10.0.0.0/8'"),
        ("multicast", "ff02::/120", "rtsp.multicast must be within 224.0.0.0/4"),
        ("session_timeout", 0, "rtsp.session_timeout must be at least 1, not 0"),
        ("realm", 'a"b', "rtsp.realm must be text without quotes"),
        ("realm", "a\\b", "rtsp.realm must be text without quotes"),
        ("realm", "a\r\nb", "rtsp.realm must be text without quotes"),
    ],
)
def test_what_is_refused(key: str, value: object, says: str) -> None:
    with pytest.raises(UserError) as raised:
        Config.from_mapping({"rtsp": {key: value}}, {"rtsp": RtspConfig})
    assert str(raised.value).startswith(says)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("rtp", ""),
        ("multicast", ""),
        ("multicast", "239.1.2.3"),
        ("multicast_ttl", 255),
        ("multicast_port", 65534),
        ("session_timeout", 1),
        ("realm", "a b"),
    ],
)
def test_what_is_taken(key: str, value: object) -> None:
    config = Config.from_mapping({"rtsp": {key: value}}, {"rtsp": RtspConfig})
    assert getattr(config.plugin("rtsp").config, key) == value
