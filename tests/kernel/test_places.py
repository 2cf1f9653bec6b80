"""Places for connections: so many in all, and of one address."""

from __future__ import annotations

import pytest

from penstock.places import Places, site_of
from penstock.settings import ServerConfig


def test_places_are_taken_and_given_back_once() -> None:
    places = Places()
    limits = ServerConfig(max_connections=3, max_connections_per_address=2)
    here = [places.take("192.0.2.1") for _ in range(2)]
    assert places.refusal("192.0.2.1", limits) == "server.max_connections_per_address (2) reached"
    assert places.refusal("192.0.2.2", limits) == ""
    there = places.take("192.0.2.2")
    assert places.refusal("192.0.2.3", limits) == "server.max_connections (3) reached"
    for release in (here[0], here[0], there, there):
        release()
    # One of three is left, however often the others were given back.
    assert places.refusal("192.0.2.1", limits) == ""
    places.take("192.0.2.1")
    assert places.refusal("192.0.2.1", limits) == "server.max_connections_per_address (2) reached"
    unlimited = ServerConfig(max_connections=3, max_connections_per_address=0)
    assert places.refusal("192.0.2.1", unlimited) == ""


@pytest.mark.parametrize(
    ("host", "site"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("64:ff9b::192.0.2.1", "192.0.2.1"),
        ("64:ff9b::c000:202", "192.0.2.2"),
        ("64:ff9b:0:0:1::c000:202", "64:ff9b::/64"),
        ("2001:db8:1:2::5", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::5", "2001:db8:1:3::/64"),
        ("::1", "::/64"),
        # All of a link have the same network.
        ("fe80::1", "fe80::1"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("", ""),
        ("unix:/run/peer", "unix:/run/peer"),
    ],
)
def test_an_address_is_counted_as_its_site(host: str, site: str) -> None:
    assert site_of(host) == site


def test_a_network_of_ipv6_has_as_many_places_as_an_address() -> None:
    places, limits = Places(), ServerConfig(max_connections=9, max_connections_per_address=2)
    release = places.take("2001:db8::1")
    assert places.refusal("2001:db8::1:1", limits) == ""
    places.take("2001:db8::1:1")
    assert places.refusal("2001:db8::99", limits) == "server.max_connections_per_address (2) reached"
    assert places.refusal("2001:db8:0:1::99", limits) == ""
    release()
    assert places.refusal("2001:db8::99", limits) == ""
