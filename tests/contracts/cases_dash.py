"""DASH under the contract of every parser: the names of files."""

from __future__ import annotations

from penstock_dash.resource import Resource
from tests.contracts.case import ParserCase


def _resource(data: bytes) -> Resource:
    return Resource.parse(data.decode("utf-8", "replace"))


CASES = [
    ParserCase(
        "names of DASH files",
        _resource,
        [
            b"v1-1a219d881e0-457200.m4s",
            b"a12-1a219d881e0-0.m4s",
            b"v1-1a219d881e0-0c2e8078.mp4",
            b"v1-1a219d881e0-457200.mp4",
            b"v1-1a219d881e0-01.m4s",
            b"main-0-9999999999999999999.m4s",
        ],
        ["penstock_dash.resource"],
        encode=lambda resource: str(resource).encode(),
    ),
]
