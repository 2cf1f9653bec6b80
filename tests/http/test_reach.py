"""Where a source may lead to: URLs, and the addresses behind their names."""

from __future__ import annotations

import pytest

from penstock import Closed
from penstock_http.location import MAX_URL, locate
from penstock_http.reach import Reach, is_public

PUBLIC = ["93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34", "64:ff9b::5db8:d822"]
OURS = [
    "127.0.0.1", "10.1.2.3", "192.168.0.1", "172.16.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
    "255.255.255.255", "::1", "::", "fe80::1%eth0", "fd00::1", "ff02::1", "::ffff:127.0.0.1", "64:ff9b::a9fe:a9fe",
    "2002:7f00:1::1",
]  # fmt: skip


def test_addresses_of_everybody_and_ours() -> None:
    assert [a for a in PUBLIC if not is_public(a)] == []
    assert [a for a in OURS if is_public(a)] == []


@pytest.mark.parametrize("address", OURS)
def test_a_public_source_does_not_lead_to_our_networks(address: str) -> None:
    reach = Reach()
    assert reach.allowed("cdn.example", ["93.184.216.34"]) == ["93.184.216.34"]
    with pytest.raises(Closed, match="only public addresses"):
        # Whether by another name, or by its own, which means something else by now.
        reach.allowed("cdn.example", [address])
    assert reach.allowed("other.example", [address, "2606:2800:220:1::1"]) == ["2606:2800:220:1::1"]


def test_a_source_on_a_private_network_leads_to_its_own_host_only() -> None:
    reach = Reach()
    assert reach.allowed("camera", ["192.168.0.7", "192.168.0.7"]) == ["192.168.0.7"]
    assert reach.allowed("camera.lan", ["192.168.0.7"]) == ["192.168.0.7"]
    for address in ("192.168.0.8", "127.0.0.1", "93.184.216.34"):
        with pytest.raises(Closed, match="only that host"):
            reach.allowed("other", [address])


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd", "ftp://host/a", "gopher://host", "data:text/plain,a", "concat:http://h/a", "//", "http:",
        "http://", "http://[::1", "http://host:99999/", "http://ho\u2100st/", "a" * (MAX_URL + 1),
    ],
)  # fmt: skip
def test_what_is_no_http_url_is_refused(url: str) -> None:
    with pytest.raises(Closed, match="the source leads to"):
        locate(url)


def test_urls_as_they_go_over_the_wire() -> None:
    base = "https://user:p%40ss@Host.example:443/live/a.m3u8?x=1#there"
    found = locate(base)
    assert (found.origin, found.target) == (("https", "host.example", 443), "/live/a.m3u8?x=1")
    assert found.authorization == "Basic dXNlcjpwQHNz"
    assert found.url == "https://host.example/live/a.m3u8?x=1"
    relative = {
        "b.ts": "/live/b.ts",
        "/b.ts?c=d&e=%2F": "/b.ts?c=d&e=%2F",
        "../ü b.ts": "/%C3%BC%20b.ts",
        "?y": "/live/a.m3u8?y",
        "//other.example": "/",
    }
    assert {uri: locate(uri, found.url).target for uri in relative} == relative
    assert locate("http://[::1]:8080/a").authority == "[::1]:8080"
    assert locate("http://b\u00fccher.example/").host == "xn--bcher-kva.example"
    assert locate("./a\r\nX: y.ts", found.url).target == "/live/aX:%20y.ts"
