"""Addresses of what is pulled: http and https URLs, put into the form that goes over the wire."""

from __future__ import annotations

from base64 import b64encode
from urllib.parse import quote, unquote, urljoin, urlsplit

from attrs import frozen

from penstock import Closed

MAX_URL = 8192
"""Bytes; signed URLs of CDNs have some hundreds."""
PORTS = {"http": 80, "https": 443}
_SAFE = "/?:@!$&'()*+,;=-._~%[]"
"""RFC 3986 3.3 and 3.4; what is percent-encoded stays so. Brackets are often left as they are."""


@frozen
class Location:
    """Where to connect to and what to ask for there; `authorization` is the header's value for what the URL has before @."""

    scheme: str
    host: str
    port: int
    target: str
    authorization: str = ""

    @property
    def origin(self) -> tuple[str, str, int]:
        return self.scheme, self.host, self.port

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """Without credentials and fragment."""
        return f"{self.scheme}://{self.authority}{self.target}"


def locate(url: str, base: str = "") -> Location:
    """The location of `url`, which may be relative to `base`. Raises `Closed` for what is no http or https URL."""
    shown = f"{url[:100]!r}"
    if len(url) > MAX_URL:
        raise Closed(f"the source leads to a URL of more than {MAX_URL} characters")
    try:
        parts = urlsplit(urljoin(base, url))
        port = parts.port
        # An IPv6 address is as it is.
        name = parts.hostname or ""
        host = name if ":" in name else name.encode("idna").decode()
    except ValueError:
        raise Closed(f"the source leads to {shown}, which is no URL") from None
    if parts.scheme not in PORTS:
        raise Closed(f"the source leads to {shown}: only http and https URLs are followed")
    if not host:
        raise Closed(f"the source leads to {shown}, which has no host")
    if port is None:
        port = PORTS[parts.scheme]
    target = quote(parts.path or "/", safe=_SAFE.replace("?", "")) + (
        f"?{quote(parts.query, safe=_SAFE)}" if parts.query else ""
    )
    return Location(parts.scheme, host, port, target, _authorization(parts.username, parts.password))


def _authorization(user: str | None, password: str | None) -> str:
    if not user:
        return ""
    words = f"{unquote(user)}:{unquote(password or '')}"
    return f"Basic {b64encode(words.encode()).decode()}"
