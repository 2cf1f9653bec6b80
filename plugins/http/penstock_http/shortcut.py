"""Plain GETs that a route answers at once: what is asked for by many is found without a request of its own for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

from penstock import Credentials, PenstockError, PluginSet
from penstock_http.api import Answer, AtOnce, Hold, Standing
from penstock_http.asked import credentials_of, parse_target
from penstock_http.cors import RawHeaders
from penstock_http.forwarded import Proxies
from penstock_http.ranges import validators
from penstock_http.request import encoded
from penstock_http.routes import Table

KNOWN = 2048
"""Targets, and heads of responses, that are remembered."""


class PlainGets:
    """Those that the routes of `table` may answer; `common` has what all responses to an origin have, and `origin`, where
    there are proxies, who asks behind one. It holds until `plugins` are others.
    """

    def __init__(
        self, table: Table, common: Callable[[str], RawHeaders], proxies: Proxies, plugins: PluginSet
    ) -> None:
        self._table = table
        self._common = common
        self._target = lru_cache(KNOWN)(self._look_up)
        self.head = lru_cache(KNOWN)(self._head)
        """As `_head`: the responses to thousands of viewers are the same."""
        self.origin = proxies.origin if proxies else None
        self.plugins = plugins
        self.changes = plugins.changes

    def find(self, target: bytes, headers: Mapping[str, str]) -> PlainGet | None:
        """As `Shortcuts.shortcut` says."""
        found = self._target(target)
        return None if found is None else PlainGet(self, *found, headers)

    def _look_up(self, target: bytes) -> tuple[AtOnce, str, Mapping[str, str], Mapping[str, str]] | None:
        parsed = parse_target(target)
        if parsed is None:
            return None
        path, query = parsed
        try:
            found = self._table.find(path)
        except PenstockError:
            return None
        if found is None:
            return None
        routes, values = found
        at_once = next((route.at_once for route in routes if "GET" in route.methods), None)
        return None if at_once is None else (at_once, path, values, query)

    def _head(
        self, origin: str, content_type: str, headers: tuple[tuple[str, str], ...], etag: str, length: int
    ) -> bytes:
        more = validators(etag) if etag else []
        own = (*headers, *more, ("content-type", content_type), ("content-length", str(length)))
        lines = [b"%s: %s\r\n" % line for line in (*self._common(origin), *encoded(own))]
        return b"".join((*lines, b"\r\n"))


class PlainGet:
    """One of them: a `penstock_http.api.Shortcut`."""

    __slots__ = (
        "_all",
        "_at_once",
        "_head",
        "_origin",
        "_standing",
        "headers",
        "query",
        "url_path",
        "values",
    )

    def __init__(
        self,
        all: PlainGets,
        at_once: AtOnce,
        url_path: str,
        values: Mapping[str, str],
        query: Mapping[str, str],
        headers: Mapping[str, str],
    ) -> None:
        self._all = all
        self._at_once = at_once
        self._origin = headers.get("origin", "")
        self._standing: Standing | None = None
        self._head = b""
        """Of that."""
        self.url_path = url_path
        self.values = values
        self.query = query
        self.headers = headers

    def ask(self, address: str) -> Answer | Hold | None:
        """As its route answers. What is wrong the handler finds wrong as well, and that is told there."""
        all = self._all
        if all.changes != all.plugins.changes:
            return None
        try:
            if all.origin is not None:
                address, _ = all.origin(address, self.headers)
            standing = self._standing
            if standing is not None and standing.again(address):
                return standing.answer
            found = self._at_once(PlainAsked(self, address))
        except Exception:  # noqa: BLE001
            return None
        if isinstance(found, Standing):
            self._standing, self._head = found, self._head_of(found.answer)
            return found.answer
        self._standing = None
        return found

    def head(self, answer: Answer) -> bytes:
        standing = self._standing
        return self._head if standing is not None and standing.answer is answer else self._head_of(answer)

    def _head_of(self, answer: Answer) -> bytes:
        return self._all.head(
            self._origin, answer.content_type, answer.headers, answer.etag, len(answer.body)
        )

    def let_go(self) -> None:
        self._standing = None


class PlainAsked:
    """And who asks for it: a `penstock_http.api.Asked`."""

    __slots__ = ("address", "headers", "query", "url_path", "values")

    def __init__(self, get: PlainGet, address: str) -> None:
        self.url_path = get.url_path
        self.values = get.values
        self.query = get.query
        self.headers = get.headers
        self.address = address

    @property
    def credentials(self) -> Credentials:
        return credentials_of(self.headers, self.query)
