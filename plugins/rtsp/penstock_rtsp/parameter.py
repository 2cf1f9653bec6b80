"""Header values made of parts and parameters, with quoted strings between."""

from __future__ import annotations

import re

from penstock.errors import ProtocolViolation

_CLAUSE = "RFC 2326 15.1"
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_COMMA = re.compile(_QUOTED + r'|[,"]')
_SEMICOLON = re.compile(_QUOTED + r'|[;"]')
_ESCAPED = re.compile(r"\\(.)")


def split_list(text: str) -> list[str]:
    """The parts between commas, without blanks; raises `ProtocolViolation` on a quote left open."""
    return _split(text, _COMMA)


def split_parameters(text: str) -> list[str]:
    """The parts between semicolons."""
    return _split(text, _SEMICOLON)


def _split(text: str, pattern: re.Pattern[str]) -> list[str]:
    parts: list[str] = []
    start = 0
    for match in pattern.finditer(text):
        found = match.group()
        if found == '"':
            raise ProtocolViolation("quote left open in RTSP header", _CLAUSE)
        if len(found) == 1:
            parts.append(text[start : match.start()].strip())
            start = match.end()
    parts.append(text[start:].strip())
    return parts


def unquote(text: str) -> str:
    """The text of a token or quoted string."""
    text = text.strip()
    if len(text) >= 2 and text[0] == text[-1] == '"':
        return _ESCAPED.sub(r"\1", text[1:-1])
    return text


def quote(text: str) -> str:
    """`text` as a quoted string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
