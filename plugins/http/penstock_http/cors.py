"""Who may read what is served from a page of another origin (the Fetch standard's CORS protocol)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

PREFLIGHT_SECONDS = 7200
"""How long a browser may keep a preflight's answer: the most that Chromium honours."""

EXPOSED = "Accept-Patch, Accept-Post, Content-Length, Content-Range, ETag, Date, Location, Link, Retry-After"
"""Response headers that scripts of other origins may see, besides the few that they always may."""

RawHeaders = list[tuple[bytes, bytes]]


class Cors:
    """The policy: `origins` may read, ``*`` is everybody. Credentials of the browser are never allowed."""

    def __init__(self, origins: Iterable[str]) -> None:
        self._origins = frozenset(origin.lower() for origin in origins)
        self._anybody = "*" in self._origins
        self._fixed: RawHeaders = [
            (b"access-control-allow-origin", b"*"),
            (b"access-control-expose-headers", EXPOSED.encode()),
        ]

    def allows(self, origin: str, host: str) -> bool:
        """Whether a page of `origin` may talk to us, who are called `host` (with the port) by its browser."""
        if self._anybody or origin.lower() in self._origins:
            return True
        return bool(host) and urlsplit(origin).netloc.lower() == host.lower()

    def headers(self, origin: str) -> RawHeaders:
        """What every response to a request from `origin` (empty: not said) carries."""
        if self._anybody:
            return self._fixed
        if not self._origins:
            return []
        vary = [(b"vary", b"Origin")]
        if origin.lower() not in self._origins:
            return vary
        return [
            (b"access-control-allow-origin", origin.encode("latin-1")),
            (b"access-control-expose-headers", EXPOSED.encode()),
            *vary,
        ]

    def preflight(self, headers: Mapping[str, str], methods: Iterable[str]) -> list[tuple[str, str]]:
        """What the answer to a preflight says besides `headers`, empty where the request is none."""
        if "origin" not in headers or "access-control-request-method" not in headers:
            return []
        allowed = [("access-control-allow-methods", ", ".join(methods))]
        if wanted := headers.get("access-control-request-headers"):
            allowed.append(("access-control-allow-headers", wanted))
        return [*allowed, ("access-control-max-age", str(PREFLIGHT_SECONDS))]
