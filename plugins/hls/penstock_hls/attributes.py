"""Attribute lists (RFC 8216bis 4.2): ``NAME=value`` by commas."""

from __future__ import annotations

import re

from penstock.errors import ProtocolViolation
from penstock_hls.number import parse_duration, parse_integer

MAX_ATTRIBUTES = 64
"""Of one tag; EXT-X-MEDIA has 16."""

_ATTRIBUTE = re.compile(r'\s*([A-Z0-9-]{1,64})=("[^"]*"|[^",]*)\s*(?:,|$)')
_RESOLUTION = re.compile(r"([0-9]{1,9})x([0-9]{1,9})")


class Attributes:
    """The attributes of one tag by name; what is missing or of the wrong type raises `ProtocolViolation`."""

    __slots__ = ("_tag", "_values")

    def __init__(self, tag: str, values: dict[str, str]) -> None:
        self._tag = tag
        self._values = values

    @classmethod
    def parse(cls, tag: str, text: str) -> Attributes:
        """The list of `tag`. Raises `ProtocolViolation` for what is no list, or names an attribute twice."""
        values: dict[str, str] = {}
        at = 0
        while at < len(text):
            match = _ATTRIBUTE.match(text, at)
            if match is None:
                raise ProtocolViolation(
                    f"{tag} has no attribute list at {text[at : at + 40]!r}", "RFC 8216bis 4.2"
                )
            name = match[1]
            if name in values:
                raise ProtocolViolation(f"{tag} has {name} twice", "RFC 8216bis 4.2")
            if len(values) == MAX_ATTRIBUTES:
                raise ProtocolViolation(f"{tag} has more than {MAX_ATTRIBUTES} attributes")
            values[name] = match[2]
            at = match.end()
        return cls(tag, values)

    def text(self, name: str) -> str | None:
        """A quoted string, without its quotes."""
        value = self._values.get(name)
        if value is None:
            return None
        if not value.startswith('"'):
            raise self._wrong(name, "quoted string")
        return value[1:-1]

    def word(self, name: str) -> str | None:
        """An enumerated string, or whatever is not quoted."""
        value = self._values.get(name)
        if value is not None and (value.startswith('"') or not value):
            raise self._wrong(name, "enumerated string")
        return value

    def need(self, name: str) -> str:
        """As `text`, for what has to be there."""
        value = self.text(name)
        if value is None:
            raise self._wrong(name, "quoted string")
        return value

    def need_word(self, name: str) -> str:
        """As `word`, for what has to be there."""
        value = self.word(name)
        if value is None:
            raise self._wrong(name, "enumerated string")
        return value

    def flag(self, name: str) -> bool:
        return self.word(name) == "YES"

    def integer(self, name: str) -> int | None:
        value = self.word(name)
        return None if value is None else parse_integer(value)

    def duration(self, name: str) -> int | None:
        """Seconds as ns."""
        value = self.word(name)
        return None if value is None else parse_duration(value)

    def resolution(self, name: str) -> tuple[int, int] | None:
        value = self.word(name)
        if value is None:
            return None
        match = _RESOLUTION.fullmatch(value)
        if match is None:
            raise self._wrong(name, "resolution")
        return int(match[1]), int(match[2])

    def _wrong(self, name: str, kind: str) -> ProtocolViolation:
        return ProtocolViolation(f"{self._tag} has no {kind} as its {name}", "RFC 8216bis 4.2")


def quoted(text: str) -> str:
    """A quoted string. Raises `ValueError` for what none can hold (4.2): the caller has to encode that."""
    if any(c in '"\r\n' for c in text):
        raise ValueError(f"cannot be quoted in a playlist: {text!r}")
    return f'"{text}"'


def tag(name: str, **attributes: str | None) -> str:
    """A tag's line, with underscores for the hyphens of names and without the attributes that are None."""
    listed = ",".join(
        f"{key.replace('_', '-')}={value}" for key, value in attributes.items() if value is not None
    )
    return f"#{name}:{listed}\n"
