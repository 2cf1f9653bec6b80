"""Which route a path belongs to: what is fixed of a pattern is compared, what is not is cut out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from types import MappingProxyType
from urllib.parse import quote

from attrs import define, field

from penstock import StreamPath, UserError
from penstock_http.api import Route

KNOWN = 1024
"""Paths whose route is remembered."""

_VARIABLE = re.compile(r"\{([a-z_]+)\}")

_NONE: Mapping[str, str] = MappingProxyType({})


@define(eq=False)
class Pattern:
    """A route's pattern, ready to be compared, and the routes that have it."""

    text: str
    routes: list[Route] = field(factory=list[Route])
    names: tuple[str, ...] = field(init=False)
    prefix: str = field(init=False)
    suffix: str = field(init=False)
    fixed: int = field(init=False)
    """How many of its characters are fixed: the more, the earlier it is compared."""
    _regex: re.Pattern[str] | None = field(init=False)

    def __attrs_post_init__(self) -> None:
        parts = _VARIABLE.split(self.text)
        literals, self.names = parts[::2], tuple(parts[1::2])
        if not self.text.startswith("/") or any(c in "{}" for literal in literals for c in literal):
            raise UserError(
                f"{self.text!r} is no pattern of a route: write '/{{path}}.m3u8' or '/api/{{name}}'"
            )
        if len(set(self.names)) != len(self.names):
            raise UserError(f"the pattern {self.text!r} has a name twice")
        self.prefix, self.suffix = literals[0], literals[-1] if self.names else ""
        self.fixed = sum(map(len, literals))
        if self.names in ((), ("path",)):
            self._regex = None
            return
        groups = ["(.+)" if name == "path" else "([^/]+)" for name in self.names]
        joined = "".join(re.escape(a) + b for a, b in zip(literals, [*groups, ""], strict=True))
        self._regex = re.compile(joined, re.DOTALL)

    def match(self, path: str) -> tuple[str, ...] | None:
        """What `path` has in place of the names, None where it is another's."""
        if not self.names:
            return () if path == self.text else None
        if not (path.startswith(self.prefix) and path.endswith(self.suffix)):
            return None
        if self._regex is None:
            found = path[len(self.prefix) : len(path) - len(self.suffix)]
            return (found,) if found else None
        match = self._regex.fullmatch(path)
        return match.groups() if match is not None else None


class Table:
    """All routes; the first that fits is the one with most fixed characters."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.find = lru_cache(KNOWN)(self._find)
        """As `_find`: viewers of a stream all ask for the same few paths."""
        patterns: dict[str, Pattern] = {}
        for route in routes:
            patterns.setdefault(route.pattern, Pattern(route.pattern)).routes.append(route)
        self._patterns = sorted(patterns.values(), key=lambda p: (-p.fixed, p.text))

    def _find(self, path: str) -> tuple[list[Route], Mapping[str, str]] | None:
        """The routes of the pattern that `path`, decoded, belongs to, and what it has in place of the names.

        ``path`` is a `StreamPath`: raises `ProtocolViolation` where it is no such thing.
        """
        for pattern in self._patterns:
            found = pattern.match(path)
            if found is None:
                continue
            if not found:
                return pattern.routes, _NONE
            values = dict(zip(pattern.names, found, strict=True))
            if "path" in values:
                # It is decoded, and `parse` decodes once more: what is quoted comes out as it is.
                values["path"] = StreamPath.parse(quote(values["path"]))
            return pattern.routes, MappingProxyType(values)
        return None
