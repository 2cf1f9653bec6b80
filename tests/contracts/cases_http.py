"""Header fields of requests that the HTTP port reads itself; the rest is its ASGI server's."""

from __future__ import annotations

from typing import Any

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


CASES = [
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
