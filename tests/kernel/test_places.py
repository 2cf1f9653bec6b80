"""Places for connections: so many in all, and of one address."""

from __future__ import annotations

from penstock.places import Places
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
