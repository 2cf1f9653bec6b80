"""Sources over ``http`` and ``https``: GETs within bounds, and the choice of the plugin that can read what comes."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import anyio

from penstock import Closed, Publisher, Server, Session, Stream
from penstock_http.api import HttpPull, HttpSource, Response
from penstock_http.location import Location, locate
from penstock_http.reach import Reach

if TYPE_CHECKING:
    from penstock_http.fetch import Fetcher

AGENT = "Penstock"
MAX_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class HttpScheme:
    """Both directions of ``http`` and ``https``, of which only one there is."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def pull(self, url: str, publish: Callable[[Session], Publisher], session: Session) -> None:
        async with _client(self._server, session, url) as client, client.get(url) as response:
            source = self._source(response, url)
            await source.pull(HttpPull(self._server, session, publish, response, client))

    async def push(self, url: str, stream: Stream, session: Session) -> None:
        raise Closed("streams are not pushed over HTTP; push them over RTMP or RTSP")

    def _source(self, response: Response, url: str) -> HttpSource:
        """What reads a response: by its content type, else by how its URL ends, or the one in the config."""
        found = list(self._sources())
        kind = response.content_type
        paths = [urlsplit(response.url).path.lower(), urlsplit(url).path.lower()]
        for source in found:
            if kind in source.content_types:
                return source
        for path in paths:
            for source in found:
                if path.endswith(source.suffixes):
                    return source
        known = ", ".join(sorted({s for source in found for s in source.suffixes})) or "none"
        raise Closed(f"no plugin pulls {kind or 'what has no content type'} over HTTP (known: {known})")

    def _sources(self) -> Iterable[HttpSource]:
        server = self._server
        for record in server.plugins:
            if record.since:
                config = server.config.plugin(record.name).config
                yield from (
                    server.plugins.call(record.name, "http_sources", _checked, server=server, config=config)
                    or ()
                )


def _checked(answer: Iterable[Any]) -> list[HttpSource]:
    sources = list(answer)
    for source in sources:
        if not isinstance(source, HttpSource):
            raise TypeError(f"http_sources answers HttpSources, not {type(source).__name__}")
    return sources


@asynccontextmanager
async def _client(server: Server, session: Session, url: str) -> AsyncGenerator[HttpClient]:
    try:
        # Imported only where it is used: the library is an extra.
        from penstock_http.fetch import Fetcher
    except ImportError as e:
        raise Closed(f"pulling over HTTP needs the library {e.name}: pip install 'penstock[http]'") from None
    fetcher = Fetcher(Reach(), server.config.server.handshake_timeout)
    try:
        yield HttpClient(fetcher, session, locate(url))
    finally:
        with anyio.CancelScope(shield=True):
            await fetcher.close()


class HttpClient:
    """See `penstock_http.api.Client`."""

    def __init__(self, fetcher: Fetcher, session: Session, source: Location) -> None:
        self._fetcher = fetcher
        self._session = session
        self._source = source

    @asynccontextmanager
    async def get(
        self,
        url: str,
        base: str = "",
        *,
        seconds: float | None = None,
        byte_range: tuple[int, int] | None = None,
    ) -> AsyncGenerator[HttpResponse]:
        location = locate(url, base)
        budget = Budget(seconds)
        for _ in range(MAX_REDIRECTS + 1):
            async with self._fetcher.open(location, self._headers(location, byte_range), budget) as found:
                status, headers, receive = found
                if status in _REDIRECTS and headers.get("location"):
                    location = locate(headers["location"], location.url)
                    continue
                self._check(location, status, headers, byte_range)
                yield HttpResponse(location, headers, receive, self._session)
                return
        raise Closed(f"{self._source.authority} redirects more than {MAX_REDIRECTS} times")

    def _headers(self, location: Location, byte_range: tuple[int, int] | None) -> list[tuple[str, str]]:
        headers = [
            ("Host", location.authority),
            ("User-Agent", AGENT),
            ("Accept", "*/*"),
            # What is compressed may be much more than it looks.
            ("Accept-Encoding", "identity"),
        ]
        authorization = location.authorization
        if location.origin == self._source.origin:
            authorization = authorization or self._source.authorization
        if authorization:
            headers.append(("Authorization", authorization))
        if byte_range is not None:
            offset, length = byte_range
            headers.append(("Range", f"bytes={offset}-{offset + length - 1}"))
        return headers

    def _check(
        self,
        location: Location,
        status: int,
        headers: dict[str, str],
        byte_range: tuple[int, int] | None,
    ) -> None:
        where = location.url[:200]
        if status not in (200, 206):
            raise Closed(f"{where} answered {status}")
        if byte_range is not None and not headers.get("content-range", "").startswith(
            f"bytes {byte_range[0]}-"
        ):
            raise Closed(f"{where} does not serve the byte range that was asked for")
        if headers.get("content-encoding", "identity") != "identity":
            raise Closed(f"{where} comes compressed, which was not asked for")


class Budget:
    """Seconds that may be waited for a peer, in all."""

    def __init__(self, seconds: float | None) -> None:
        self.left = seconds

    def spend(self, since: float) -> None:
        """Raises `Closed` where it is used up."""
        if self.left is not None:
            self.left -= time.monotonic() - since
            if self.left <= 0:
                raise Closed("the server takes too long to send what was asked for")


class HttpResponse:
    """See `penstock_http.api.Response`."""

    def __init__(
        self, location: Location, headers: dict[str, str], receive: Callable[[], Any], session: Session
    ) -> None:
        self.url = location.url
        self.content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        self._receive = receive
        self._session = session

    async def receive(self) -> bytes:
        data: bytes = await self._receive()
        self._session.bytes_in += len(data)
        return data

    async def read(self, most: int) -> bytes:
        body = bytearray()
        while data := await self.receive():
            body += data
            if len(body) > most:
                raise Closed(f"{self.url[:200]} has more than {most} bytes")
        return bytes(body)
