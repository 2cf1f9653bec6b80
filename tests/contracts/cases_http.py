"""Header fields of requests that the HTTP port reads itself; the rest is its ASGI server's."""

from __future__ import annotations

from typing import Any

from penstock_http.asked import credentials_of, joined, parse_query, parse_target
from penstock_http.forwarded import Proxies
from penstock_http.ranges import parse_range, partial
from tests.contracts.case import ParserCase

BODY = bytes(range(200))
ETAG = '"a1"'


def _conditional(data: bytes) -> Any:
    """The answer to a request whose Range is the first line, and If-Range and If-None-Match the two that follow."""
    fields = data.decode("latin-1").split("\n")
    names = ("range", "if-range", "if-none-match")
    given = {name: value for name, value in zip(names, fields, strict=False) if value}
    status, body, headers = partial(given, BODY, ETAG)
    assert status in (200, 206, 304, 416)
    assert bytes(body) in (b"", BODY) or status == 206
    return status, bytes(body), headers


def _range(data: bytes) -> Any:
    found = parse_range(data.decode("latin-1"), 200)
    assert found is None or not found or 0 <= found[0] <= found[-1] < 200
    return found


def _target(data: bytes) -> Any:
    found = parse_target(data)
    assert found is None or found[0].startswith("/")
    return found


def _credentials(data: bytes) -> Any:
    """Those of a request whose Authorization is the first line, and whose query is the second."""
    authorization, _, query = data.partition(b"\n")
    headers = joined([(b"authorization", authorization), (b"accept", b"a"), (b"accept", b"b")])
    assert headers["accept"] == "a, b"
    found = credentials_of(headers, parse_query(query))
    return found.user, found.password, dict(found.query)


def _forwarded(data: bytes) -> Any:
    """Who is asking, by either header, where one network of proxies is trusted."""
    text = data.decode("latin-1")
    found = [
        Proxies(["127.0.0.0/8", "10.0.0.0/8"], header).origin(
            "127.0.0.1:9", {header: text, "x-forwarded-proto": text}
        )
        for header in ("forwarded", "x-forwarded-for")
    ]
    assert all(":" in peer for peer, _ in found)
    return found


CASES = [
    ParserCase(
        "request target",
        _target,
        [
            b"/live/stream.m3u8?session=a1&variant=ts",
            b"/live/%e4%bd%a0",
            b"/%ff",
            b"//host/a",
            b"/a?" + b"x&" * 101,
            b"*",
        ],
        ["penstock_http.asked"],
    ),
    ParserCase(
        "HTTP credentials",
        _credentials,
        [
            b"Basic dTpw\na=1&a=2",
            b"Basic =",
            b"Basic /w==",
            b"Bearer t0ken\n",
            b"Digest x\nb=\xff",
            b"\n" + b"x&" * 101,
        ],
        ["penstock_http.asked"],
    ),
    ParserCase(
        "forwarded",
        _forwarded,
        [
            b"for=192.0.2.60;proto=https;by=203.0.113.43",
            b'for="[2001:db8:cafe::17]:4711", for=10.1.1.1',
            b'For="a\\"b";Proto=http, for=unknown;proto=wss',
            b"192.0.2.1:80, 10.0.0.2, [::ffff:10.0.0.3]:1",
            b"for=10.0.0.1," * 40,
            b"for 1, for=192.0.2.7",
            b"for=999.1.1.1",
        ],
        ["penstock_http.forwarded"],
    ),
    ParserCase(
        "Range",
        _range,
        [
            b"bytes=0-9",
            b"bytes=10-",
            b"bytes=-7",
            b"bytes=-0",
            b"bytes=500-",
            b"bytes=9-3",
            b"bytes=-",
            b"bytes=1-2,4-5",
        ],
        ["penstock_http.ranges"],
    ),
    ParserCase(
        "conditional request",
        _conditional,
        [
            b"bytes=0-9",
            b"bytes=500-",
            b'bytes=0-9\n"a1"',
            b'bytes=0-9\n"other"',
            b'\n\n"a1"',
            b'\n\nW/"a1", "b"',
            b"\n\n*",
            b'bytes=0-9\n\n"b"',
            b"lines=1-2",
        ],
        ["penstock_http.ranges"],
    ),
]
