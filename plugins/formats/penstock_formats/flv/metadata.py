"""Stream metadata as a publisher gives it, made harmless."""

from __future__ import annotations

import math
from typing import Any

from penstock_formats.amf import Date

MAX_ITEMS = 128
MAX_TEXT = 256
MAX_DEPTH = 3
"""A key frame index has three levels; everything else has two."""

NEVER_NEGATIVE = frozenset(
    {
        "width",
        "height",
        "duration",
        "framerate",
        "filesize",
        "videodatarate",
        "audiodatarate",
        "audiosamplerate",
    }
)

Json = None | bool | int | float | str | list[Any] | dict[str, Any]


def sanitise_text(text: str) -> str:
    """At most 256 characters of valid Unicode."""
    return text[:MAX_TEXT].encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def sanitise_metadata(values: dict[str, Any]) -> dict[str, Json]:
    """`values` as JSON can carry them: finite numbers, valid text, bounded in number, length and depth."""
    return _members(values, 1)


def _members(values: dict[str, Any], depth: int) -> dict[str, Json]:
    clean: dict[str, Json] = {}
    for key, value in values.items():
        if len(clean) >= MAX_ITEMS:
            break
        if _fits(value, depth) and not (
            key in NEVER_NEGATIVE and isinstance(value, int | float) and value < 0
        ):
            clean[sanitise_text(key)] = _value(value, depth)
    return clean


def _fits(value: Any, depth: int) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict | list):
        return depth < MAX_DEPTH
    return value is None or isinstance(value, bool | int | str | Date)


def _value(value: Any, depth: int) -> Json:
    match value:
        case str():
            return sanitise_text(value)
        case Date():
            return value.milliseconds if math.isfinite(value.milliseconds) else None
        case float() if value.is_integer() and abs(value) < 2**53:
            return int(value)
        case dict():
            return _members(value, depth + 1)  # pyright: ignore[reportUnknownArgumentType]
        case list():
            some: list[Any] = value[:MAX_ITEMS]  # pyright: ignore[reportUnknownVariableType]
            return [_value(v, depth + 1) for v in some if _fits(v, depth + 1)]
        case bool() | int() | float():
            return value
        case _:
            return None
