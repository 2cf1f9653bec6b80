"""Content codings (RFC 9110 8.4): text goes as gzip to who asks for that."""

from __future__ import annotations

import gzip
from functools import lru_cache

LEVEL = 4
"""Playlists are lines that are alike: higher ones take twice the time for a few per cent."""


def gzipped(text: bytes) -> bytes:
    return gzip.compress(text, LEVEL, mtime=0)


@lru_cache(256)
def takes_gzip(accepted: str) -> bool:
    """Whether an Accept-Encoding field asks for gzip by its name or ``*`` (RFC 9110 12.5.3)."""
    weights: dict[str, bool] = {}
    for item in accepted.lower().split(","):
        name, *parameters = (part.strip() for part in item.split(";"))
        weights[name] = not any(value.startswith("q=") and not value[2:].strip("0.") for value in parameters)
    return weights.get("gzip", weights.get("x-gzip", weights.get("*", False)))
