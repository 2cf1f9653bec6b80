"""Who is believed when it says whom it asks for, and what is believed of it."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock import UserError
from penstock_http.api import Answer, Asked, Request, Route
from penstock_http.forwarded import MAX_HOPS, Header, Proxies

from .port import ask, port_of, serving

OURS = ["10.0.0.0/8", "127.0.0.1", "2001:db8:1::/48"]
FOR: Header = "x-forwarded-for"


@pytest.mark.parametrize(
    ("peer", "headers", "address", "secure"),
    [
        ("10.1.1.1:5", {}, "10.1.1.1:5", None),
        ("10.1.1.1:5", {FOR: "203.0.113.7"}, "203.0.113.7:0", None),
        ("10.1.1.1:5", {FOR: "203.0.113.7", "x-forwarded-proto": "https"}, "203.0.113.7:0", True),
        ("10.1.1.1:5", {FOR: "203.0.113.7", "x-forwarded-proto": "https, http"}, "203.0.113.7:0", False),
        ("10.1.1.1:5", {FOR: "203.0.113.7:4711"}, "203.0.113.7:4711", None),
        ("10.1.1.1:5", {FOR: "[2001:db8::1]:4711"}, "[2001:db8::1]:4711", None),
        ("10.1.1.1:5", {FOR: "2001:db8::1"}, "[2001:db8::1]:0", None),
        ("10.1.1.1:5", {FOR: "::ffff:203.0.113.7"}, "203.0.113.7:0", None),
        # Before the first that is not trusted anybody may have written.
        ("10.1.1.1:5", {FOR: "1.2.3.4, 203.0.113.7, 10.9.9.9"}, "203.0.113.7:0", None),
        ("[2001:db8:1::2]:5", {FOR: "1.2.3.4, 203.0.113.7, 2001:db8:1::7"}, "203.0.113.7:0", None),
        ("10.1.1.1:5", {FOR: "10.2.2.2, 10.3.3.3"}, "10.2.2.2:0", None),
        ("10.1.1.1:5", {FOR: "203.0.113.7, unknown, 10.2.2.2"}, "10.2.2.2:0", None),
        ("10.1.1.1:5", {FOR: "203.0.113.7, \x1b[31m"}, "10.1.1.1:5", None),
        ("10.1.1.1:5", {FOR: "300.0.113.7"}, "10.1.1.1:5", None),
        ("203.0.113.9:5", {FOR: "10.0.0.1", "x-forwarded-proto": "https"}, "203.0.113.9:5", None),
        # Which header a proxy sets is not guessed: the other is passed on as the peer wrote it.
        ("10.1.1.1:5", {"forwarded": "for=203.0.113.7"}, "10.1.1.1:5", None),
    ],
)
def test_x_forwarded_for(peer: str, headers: dict[str, str], address: str, secure: bool | None) -> None:
    assert Proxies(OURS, FOR).origin(peer, headers) == (address, secure)


@pytest.mark.parametrize(
    ("text", "address", "secure"),
    [
        ("for=203.0.113.7", "203.0.113.7:0", None),
        ('For="[2001:db8::1]:4711";proto=https;by=10.1.1.1', "[2001:db8::1]:4711", True),
        ("for=1.2.3.4;proto=https, for=203.0.113.7;proto=http, for=10.2.2.2;proto=https", "203.0.113.7:0", False),
        ('for="203.0.113.7, 1.2.3.4"', "10.1.1.1:5", None),
        ('for="_hid\\den", for=10.2.2.2', "10.2.2.2:0", None),
        ("for=203.0.113.7, for = broken, for=10.2.2.2", "10.2.2.2:0", None),
        ("for=203.0.113.7, ???", "10.1.1.1:5", None),
        ("", "10.1.1.1:5", None),
    ],
)  # fmt: skip
def test_forwarded(text: str, address: str, secure: bool | None) -> None:
    assert Proxies(OURS, "forwarded").origin("10.1.1.1:5", {"forwarded": text, FOR: "9.9.9.9"}) == (
        address,
        secure,
    )


def test_a_chain_without_an_end_is_not_followed() -> None:
    chain = ", ".join(["203.0.113.7"] + ["10.0.0.1"] * MAX_HOPS)
    assert Proxies(OURS, FOR).origin("10.1.1.1:5", {FOR: chain})[0] == "10.0.0.1:0"


@given(st.text(), st.sampled_from([FOR, "forwarded"]))
def test_any_text_names_an_address_or_none(text: str, header: Header) -> None:
    address, _ = Proxies(OURS, header).origin("10.1.1.1:5", {header: text})
    assert address.isascii()
    assert address.rpartition(":")[2].isdigit()


@pytest.mark.anyio
@pytest.mark.usefixtures("logs")
@pytest.mark.parametrize(("trusted", "seen"), [(["127.0.0.0/8"], "203.0.113.7:0 True"), ([], " False")])
async def test_both_ways_of_a_request_know_the_peer(trusted: list[str], seen: str) -> None:
    asked_at_once: list[str] = []

    async def who(request: Request) -> None:
        await request.respond(200, f"{request.address} {request.secure}".encode())

    def at_once(asked: Asked) -> Answer | None:
        asked_at_once.append(asked.address)
        return Answer(asked.address.encode())

    lines = ("X-Forwarded-For: 203.0.113.7", "X-Forwarded-Proto: https")
    routes = Route("/who", who), Route("/once", who, at_once=at_once)
    async with serving(*routes, trusted_proxies=trusted) as server:
        answer = await ask(server, "GET /who", *lines)
        assert answer.body.decode().endswith(seen)
        async with await anyio.connect_tcp("127.0.0.1", port_of(server)) as stream:
            await stream.send(f"GET /once HTTP/1.1\r\nHost: h\r\n{lines[0]}\r\n\r\n".encode())
            await stream.receive()
    assert (asked_at_once == ["203.0.113.7:0"]) is bool(trusted)


@pytest.mark.anyio
@pytest.mark.parametrize("setting", [["10.0.0.0/33"], ["proxy.example"], [""]])
async def test_what_is_no_network_is_refused(setting: Any) -> None:
    with pytest.raises(UserError, match=r"http\.trusted_proxies"):
        async with serving(trusted_proxies=setting):
            pass
