"""Conditional and range requests of finite bodies (RFC 9110 13 and 14)."""

from __future__ import annotations

import re
from collections.abc import Mapping

_RANGE = re.compile(r"\s*bytes\s*=\s*(\d*)\s*-\s*(\d*)\s*", re.ASCII | re.IGNORECASE)
MAX_DIGITS = 19
"""Digits of a position that are looked at: more than any body has bytes."""


def parse_range(value: str, size: int) -> range | None:
    """The bytes that a Range header asks for of `size`: empty where there are none such, None where all are to be sent.

    Several ranges, other units, and what is no range are answered by all (RFC 9110 14.2 leaves that to the server).
    """
    match = _RANGE.fullmatch(value)
    if match is None:
        return None
    first, last = (_position(digits) if digits else None for digits in match.groups())
    if first is None:
        if last is None:
            return None
        # 14.1.2: the last so many bytes; -0 asks for nothing.
        return range(max(0, size - last), size) if last else range(0)
    if last is not None and last < first:
        return None  # 14.1.1: invalid, and so ignored
    return range(first, size if last is None else min(last + 1, size)) if first < size else range(0)


def _position(digits: str) -> int:
    return int(digits) if len(digits) <= MAX_DIGITS else 10**MAX_DIGITS


def _matches(value: str, etag: str) -> bool:
    """Whether a list of entity tags has `etag`, compared weakly (RFC 9110 8.8.3.2)."""
    plain = etag.removeprefix("W/")
    return value.strip() == "*" or any(tag.strip().removeprefix("W/") == plain for tag in value.split(","))


def validators(etag: str) -> list[tuple[str, str]]:
    """Headers of a whole answer that may be asked for in part, and asked about."""
    return [("etag", etag), ("accept-ranges", "bytes")]


def partial(
    headers: Mapping[str, str], body: bytes, etag: str, method: str = "GET"
) -> tuple[int, bytes | memoryview, list[tuple[str, str]]]:
    """Status, body and headers of a GET or HEAD whose whole answer is `body` with the quoted `etag`."""
    own = validators(etag)
    if (known := headers.get("if-none-match")) is not None and _matches(known, etag):
        return 304, b"", own
    # 14.2: a range is of GET alone.
    wanted = headers.get("range") if method == "GET" else None
    condition = headers.get("if-range")
    # 13.1.5: strong comparison; a date never is what we sent, as we send none.
    if wanted is None or (condition is not None and (condition.strip() != etag or etag.startswith("W/"))):
        return 200, body, own
    part = parse_range(wanted, len(body))
    if part is None:
        return 200, body, own
    if not part:
        return 416, b"", [*own, ("content-range", f"bytes */{len(body)}")]
    shown = f"bytes {part.start}-{part.stop - 1}/{len(body)}"
    return 206, memoryview(body)[part.start : part.stop], [*own, ("content-range", shown)]
