"""What is asked, parsed once for all who ask the same: heads, queries, credentials."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from urllib.parse import parse_qsl, unquote

from penstock import Credentials, ProtocolViolation

MAX_FIELDS = 100
"""Fields of a query that are looked at."""

_NOTHING: Mapping[str, str] = MappingProxyType({})

_TARGET = re.compile(rb"(/(?!/)[A-Za-z0-9\-._~!$&'()*+,;=:@/%]*)(?:\?([A-Za-z0-9\-._~!$&'()*+,;=:@/%?]*))?")
"""RFC 9112 3.2.1 origin-form, of what RFC 3986 allows."""


def joined(headers: Iterable[tuple[bytes, bytes]]) -> Mapping[str, str]:
    """Headers by name; fields that came more than once are joined by a comma."""
    found: dict[str, str] = {}
    for name, value in headers:
        key, text = name.decode("latin-1"), value.decode("latin-1")
        found[key] = f"{found[key]}, {text}" if key in found else text
    return MappingProxyType(found)


def parse_query(text: bytes) -> Mapping[str, str]:
    """The first of each name. Raises `ProtocolViolation`."""
    if not text:
        return _NOTHING
    try:
        pairs = parse_qsl(text.decode("ascii"), keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError:
        raise ProtocolViolation(f"the query is not ASCII, or has more than {MAX_FIELDS} fields") from None
    found: dict[str, str] = {}
    for name, value in pairs:
        found.setdefault(name, value)
    return MappingProxyType(found)


def credentials_of(headers: Mapping[str, str], query: Mapping[str, str]) -> Credentials:
    """Of Basic or Bearer authorization, and the query. Raises `ProtocolViolation`."""
    scheme, _, rest = headers.get("authorization", "").partition(" ")
    match scheme.lower():
        case "basic":
            try:
                user, _, password = b64decode(rest.strip(), validate=True).decode().partition(":")
            except ValueError:
                raise ProtocolViolation(
                    "the Basic credentials are not base64 of UTF-8", "RFC 7617 2"
                ) from None
            return Credentials(user, password, query)
        case "bearer":
            return Credentials("", rest.strip(), query)
        case _:
            return Credentials(query=query)


def parse_target(target: bytes) -> tuple[str, Mapping[str, str]] | None:
    """Path, percent-decoded once, and query of a request; None where that takes a closer look."""
    match = _TARGET.fullmatch(target)
    if match is None:
        return None
    path = unquote(match[1].decode("ascii"))
    if "\ufffd" in path:
        return None
    try:
        return path, parse_query(match[2] or b"")
    except ProtocolViolation:
        return None
