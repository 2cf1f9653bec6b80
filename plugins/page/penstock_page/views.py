"""What the pages answer: HTML for people, JSON for their scripts, and the scripts."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Mapping
from html import escape
from string import Template
from typing import Any
from urllib.parse import quote, urlencode

from penstock import Denied, NotFound, Server, Session, StreamPath
from penstock_http.api import Request
from penstock_page import text
from penstock_page.addresses import addresses, media
from penstock_page.assets import Assets, template
from penstock_page.config import PageConfig
from penstock_page.summary import Json, Summaries

MAX_LISTED = 500
"""Streams on the front page: each is asked for permission, at each visitor's poll."""

YEAR = "public, max-age=31536000, immutable"
OWN_WORDS = frozenset({"embed", "mode"})
"""What of a page's query is the page's own; the rest, such as a token, goes with every URL of the media."""

_FILE = re.compile(r"\.[A-Za-z0-9]{2,5}$")
"""How names of files end; streams may be called so, too."""


class Views:
    """The handlers of one server's pages."""

    def __init__(self, server: Server, config: PageConfig, assets: Assets) -> None:
        self._server = server
        self._config = config
        self._assets = assets
        self._summaries = Summaries(server)
        self._pages = {
            name: Template(template(f"{name}.html")) for name in ("front", "player", "card", "message")
        }
        self._headers = (
            (
                "content-security-policy",
                # MSE plays from blob: URLs, and hls.js makes its worker of one.
                "default-src 'self'; media-src 'self' blob:; worker-src 'self' blob:; object-src 'none'; "
                f"base-uri 'none'; form-action 'none'; frame-ancestors {config.frame_ancestors}",
            ),
            # A token in the URL is nobody else's.
            ("referrer-policy", "same-origin"),
            ("cache-control", "no-store"),
            ("vary", "sec-fetch-dest"),
        )

    # -- HTML ---------------------------------------------------------------

    async def front(self, request: Request) -> None:
        """The list of live streams."""
        listed = await self._readable(request)
        query = _carried(request)
        cards = "".join(self._card(request, stream, query) for stream in listed)
        await self._html(
            request,
            200,
            "front",
            raw={"cards": cards, "empty_card": self._card(request, None, "")},
            count=str(len(listed)),
            state=json.dumps(
                {
                    "streams": f"{request.root}/index/streams{query}",
                    "listed": self._config.list_streams,
                    "addresses": addresses(self._server, "live/stream", request.root, ""),
                }
            ),
            classes="listed" if self._config.list_streams else "unlisted",
        )

    async def player(self, request: Request) -> None:
        """The player of one stream, whether it is live already or not."""
        if not _wants_html(request):
            raise NotFound(
                "browsers have a page here; players ask for .m3u8, .mpd, .flv, .ts or .mp4 behind the path"
            )
        try:
            path = await self._authorized(request, asks=True)
        except Denied as e:
            if e.anonymous or ("authorization" in request.headers and not e.explained):
                raise
            await self._html(request, 403, "message", heading="You may not watch this stream", reason=str(e))
            return
        stream = self._summaries.all().get(path)
        if stream is None and _FILE.search(path):
            # favicon.ico, robots.txt, stream.m3u9: a page that waits for it would say that it may come.
            reason = f"There is no file {path}, and no stream of that name is live."
            await self._html(request, 404, "message", heading="There is nothing here", reason=reason)
            return
        query = _carried(request)
        classes = [
            "embed"
            if "embed" in request.query or request.headers.get("sec-fetch-dest") == "iframe"
            else "page",
            "portrait" if stream is not None and _is_portrait(stream) else "landscape",
        ]
        state = {
            "path": path,
            "info": f"{request.root}/index/streams/{_quoted(path)}{query}",
            "media": media(self._server, path, request.root, query),
            "addresses": addresses(self._server, path, request.root, query),
            "mode": request.query.get("mode", ""),
            "stream": stream,
            "now": _now(),
        }
        await self._html(
            request, 200, "player", path=path, state=json.dumps(state), classes=" ".join(classes)
        )

    async def _html(
        self, request: Request, status: int, page: str, *, raw: Mapping[str, str] | None = None, **values: str
    ) -> None:
        # Everything that is filled in is escaped, but for `raw`, which was made of escaped parts.
        filled = {
            name: escape(value)
            for name, value in values.items()
            | {
                "assets": f"{request.root}/index/assets/{self._assets.version}",
                "home": f"{request.root}/{_carried(request)}",
            }.items()
        }
        body = self._pages[page].substitute(filled | dict(raw or {}))
        await request.respond(
            status, body.encode(), content_type="text/html; charset=utf-8", headers=self._headers
        )

    def _card(self, request: Request, stream: Json | None, query: str) -> str:
        path = str(stream["path"]) if stream else ""
        known: dict[str, Any] = stream or {"tracks": (), "bit_rate": 0, "uptime": 0.0, "readers": 0}
        values = {
            "href": f"{request.root}/{_quoted(path)}{query}",
            "path": path,
            "tracks": text.tracks(known["tracks"]),
            "bit_rate": text.bit_rate(known["bit_rate"]),
            "uptime": text.duration(known["uptime"]),
            "readers": str(known["readers"]),
        }
        return self._pages["card"].substitute({name: escape(value) for name, value in values.items()})

    # -- JSON ---------------------------------------------------------------

    async def streams(self, request: Request) -> None:
        """The live streams that the asker may read."""
        await self._json(request, {"streams": await self._readable(request)})

    async def stream(self, request: Request) -> None:
        """One stream: `live` says whether it is there."""
        try:
            path = await self._authorized(request)
        except Denied as e:
            if e.anonymous:
                raise
            # Not 401: the browser would ask for a name and a password in the middle of the picture.
            await self._json(request, {"live": False, "stream": None, "reason": str(e)}, 403)
            return
        stream = self._summaries.all().get(path)
        await self._json(request, {"live": stream is not None, "stream": stream})

    async def _json(self, request: Request, value: Json, status: int = 200) -> None:
        await request.respond(
            status,
            json.dumps(value | {"now": _now()}, ensure_ascii=False).encode(),
            content_type="application/json",
            headers=(("cache-control", "no-store"),),
        )

    async def _authorized(self, request: Request, *, asks: bool = False) -> StreamPath:
        return await self._server.streams.authorize(
            _asker(request), "read", request.values["path"], request.credentials, asks=asks
        )

    async def _readable(self, request: Request) -> list[Json]:
        if not self._config.list_streams:
            return []
        listed: list[Json] = []
        asker = _asker(request)
        for path, stream in self._summaries.all().items():
            try:
                # Not through `streams.authorize`, which logs a refusal: nobody asked for these.
                await self._server.plugins.ask_authorize(asker, "read", path, request.credentials)
            except Denied:
                continue
            listed.append(stream)
            if len(listed) == MAX_LISTED:
                break
        return listed

    # -- files --------------------------------------------------------------

    async def asset(self, request: Request) -> None:
        """A script, a style or a picture. Under its own version it never changes."""
        asset = self._assets.named.get(request.values["name"])
        if asset is None:
            raise NotFound("there is no such file")
        packed = asset.packed if _takes_gzip(request.headers.get("accept-encoding", "")) else None
        headers = [
            ("vary", "accept-encoding"),
            # A page of an earlier version of the server may still be open somewhere.
            ("cache-control", YEAR if request.values["version"] == self._assets.version else "no-cache"),
        ]
        if packed is None:
            await request.respond(
                200, asset.body, content_type=asset.content_type, headers=headers, etag=f'"{asset.tag}"'
            )
            return
        headers.append(("content-encoding", "gzip"))
        await request.respond(
            200, packed, content_type=asset.content_type, headers=headers, etag=f'"{asset.tag}-gzip"'
        )


def _asker(request: Request) -> Session:
    """Who asks, for `authorize`. It is not opened as a session: a page's polls would fill the log and the list of those."""
    return Session("page", "page", request.address)


def _now() -> int:
    """Wall time in ms, by which a browser finds how far its own clock is off."""
    return time.time_ns() // 1_000_000


def _quoted(path: str) -> str:
    return quote(path, safe="/")


def _carried(request: Request) -> str:
    fields = [(name, value) for name, value in request.query.items() if name not in OWN_WORDS]
    return f"?{urlencode(fields)}" if fields else ""


def _wants_html(request: Request) -> bool:
    # Browsers name it for a page. Who takes anything is a player that was given an address without its suffix, or one of a
    # protocol that is not enabled, and better told so than given a page to parse.
    return "text/html" in request.headers.get("accept", "")


def _is_portrait(stream: Json) -> bool:
    tracks: Iterable[dict[str, Any]] = stream["tracks"]  # type: ignore[assignment]
    return any(t.get("height", 0) > t.get("width", 0) for t in tracks)


def _takes_gzip(accept: str) -> bool:
    """Whether ``Accept-Encoding`` names gzip without refusing it (RFC 9110 12.5.3)."""
    for part in accept.split(","):
        coding, _, weight = part.partition(";")
        if coding.strip().lower() in ("gzip", "x-gzip", "*"):
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
