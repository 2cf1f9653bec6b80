"""Stream paths under the contract of every parser."""

from __future__ import annotations

from penstock.path import StreamPath
from tests.contracts.case import ParserCase


def _parse(data: bytes) -> StreamPath:
    """Text as protocols hand it over: undecodable bytes as lone surrogates; after ``!`` as other surrogates."""
    text = data.decode("utf-8", "surrogateescape")
    return StreamPath.parse(text.translate(ELSEWHERE) if text.startswith("!") else text)


ELSEWHERE = {0xDC00 + byte: 0xD800 + byte for byte in range(128, 256)}

CASES = [
    ParserCase(
        "stream path",
        _parse,
        [
            b"live/stream",
            b"/live/a%20b/?token=x",
            "caf\u00e9/e\u0301".encode(),
            b"%e2%82%ac",
            b"!\xff",
            b"%ff",
            b"a\0b",
            b"a//b",
            b"../a",
            b"api/v1",
            b"a/whip",
            b"x" * 255,
            b"x" * 256,
            b"",
        ],
        ["penstock.path"],
        encode=lambda path: path.replace("%", "%25").replace("?", "%3F").encode(),
    ),
]
