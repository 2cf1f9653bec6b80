"""The routes: playlists, segments and parts, served from the kernel's stores."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import quote

import anyio

from penstock import Denied, NotFound, ProtocolViolation, Rendition, SegmentStore, Server, Stream, StreamPath
from penstock.segment import SegmentFormat
from penstock_formats.isobmff.segments import CmafFormat
from penstock_formats.mpegts.segments import TsFormat
from penstock_hls.config import HlsConfig
from penstock_hls.directives import NAMES, Directives
from penstock_hls.resource import SUFFIXES, VARIANTS, Resource, Variant
from penstock_hls.written import SEGMENTS, last_part, media_playlist, multivariant_playlist
from penstock_http.api import Handler, Request, Route, Viewer, Viewers, carried, is_private

PLAYLIST_TYPE = "application/vnd.apple.mpegurl"
PATIENCE = 3
"""Target durations that a blocked request waits at most (RFC 8216bis 6.2.5.2)."""
OTHERS_SECONDS = 1.0
"""How long a multivariant playlist waits for renditions beside the first: sound that is late, or never comes."""
KEEP = "max-age=3600, immutable"
"""Of segments: their names never mean anything else. Apple asks for six target durations at least."""

OWN_FIELDS = frozenset({"variant", *NAMES})
"""Fields of a query that playlists do not carry on."""

FORMATS: dict[Variant, SegmentFormat] = {"ts": TsFormat(), "fmp4": CmafFormat(), "ll": CmafFormat()}


class HlsRoutes:
    """All of HLS that one server serves."""

    def __init__(self, server: Server, config: HlsConfig) -> None:
        self._server = server
        self._config = config
        self.viewers = Viewers(server, "hls", config.viewer_timeout, config.max_viewers)

    def routes(self) -> Iterable[Route]:
        handlers: list[tuple[str, Handler]] = [
            ("/{path}.m3u8", self._beside),
            ("/{path}/index.m3u8", self._within),
            # ZLMediaKit's names.
            ("/{path}/hls.m3u8", self._ts),
            ("/{path}/hls.fmp4.m3u8", self._fmp4),
            # Each with its suffix: more is fixed of them than of other plugins' /{path}.ts and /{path}.mp4.
            *((f"/{{path}}/hls/{{name}}{suffix}", self._file) for suffix in SUFFIXES),
        ]
        return [Route(pattern, handler) for pattern, handler in handlers]

    # -- multivariant playlists ------------------------------------------------

    async def _beside(self, request: Request) -> None:
        """``/live/stream.m3u8``, from where the files are in ``stream/hls/``."""
        await self._multivariant(
            request, self._config.variant, f"{quote(_path(request).split('/')[-1], safe='')}/hls/"
        )

    async def _within(self, request: Request) -> None:
        await self._multivariant(request, self._config.variant, "hls/")

    async def _ts(self, request: Request) -> None:
        await self._multivariant(request, "ts", "hls/")

    async def _fmp4(self, request: Request) -> None:
        await self._multivariant(request, "fmp4", "hls/")

    async def _multivariant(self, request: Request, variant: Variant, folder: str) -> None:
        asked = request.query.get("variant")
        if asked is not None:
            variant = _variant(asked)
        path = _path(request)
        viewer = await self.viewers.admit(request, path, anew=True)
        stream = await self._stream(viewer, path)
        store = stream.segments(FORMATS[variant])
        if not store.renditions and asked is None and variant == "ts":
            variant = "fmp4"
            store = stream.segments(FORMATS[variant])
        await self._ready(store, variant)
        playlist = multivariant_playlist(
            store, variant, folder, carried(request.query, viewer.token, OWN_FIELDS)
        )
        await self._answer(request, viewer, playlist.write().encode(), PLAYLIST_TYPE, "no-store")

    async def _stream(self, viewer: Viewer, path: StreamPath) -> Stream:
        """The stream that is there, or has been until a moment ago, or comes while we wait. Raises `NotFound`."""
        streams = self._server.streams
        stream = streams.get(path)
        if stream is not None and (stream.is_ready or stream.stores):
            return stream
        past = streams.past(path)
        if past is not None:
            return past
        try:
            return await streams.wait(path, self._server.config.server.wait_for_stream)
        except NotFound as e:
            self.viewers.dismiss(viewer, str(e))
            raise

    async def _ready(self, store: SegmentStore, variant: Variant) -> None:
        """Wait for segments that are complete: `SEGMENTS`. Raises `NotFound` where nothing comes."""
        if not store.renditions:
            why = "; ".join(store.left_out.values()) or "it has no tracks"
            raise NotFound(f"{store.stream.path} cannot be played here: {why}")
        lead = store.lead or next(iter(store.renditions.values()))
        found = False
        with anyio.move_on_after(self._config.first_segment_timeout):
            found = await lead.wait_ready(SEGMENTS[variant])
        if not found:
            raise NotFound(f"{store.stream.path} has no segment yet")
        with anyio.move_on_after(OTHERS_SECONDS):
            for rendition in tuple(store.renditions.values()):
                await rendition.wait_ready(SEGMENTS[variant])

    # -- files -----------------------------------------------------------------

    async def _file(self, request: Request) -> None:
        try:
            resource = _resource(request.url_path.rpartition("/")[2])
        except ProtocolViolation as e:
            raise NotFound(str(e)) from None
        path = _path(request)
        viewer = await self.viewers.admit(request, path)
        stream = await self._stream(viewer, path)
        store = stream.segments(FORMATS[resource.variant])
        rendition = store.renditions.get(resource.rendition)
        if rendition is None:
            raise NotFound(f"{path} has no rendition {resource.rendition}")
        match resource.kind:
            case "playlist":
                await self._media(request, viewer, rendition, resource.variant)
            case "init":
                init = rendition.init_of(resource.number)
                await self._data(request, viewer, rendition, None if init is None else init.data, "mp4")
            case "segment":
                segment = rendition.get(resource.number)
                complete = segment is not None and segment.complete and not segment.gap
                data = segment.data if segment is not None and complete else None
                await self._data(
                    request, viewer, rendition, data, "mp2t" if resource.variant == "ts" else "mp4"
                )
            case "part":
                await self._data(request, viewer, rendition, await self._part(rendition, resource), "mp4")

    async def _part(self, rendition: Rendition, resource: Resource) -> bytes | None:
        """A part that is there, or is the one that comes next (6.2.5: what was hinted at is waited for)."""
        number, part = resource.number, resource.part
        if (number, part) == rendition.position or (number, part) == (rendition.position[0] + 1, 0):
            with anyio.move_on_after(PATIENCE * rendition.store.target / 1e9):
                await rendition.wait(number, part)
        segment = rendition.get(number)
        return segment.parts[part].data if segment is not None and part < len(segment.parts) else None

    async def _data(
        self, request: Request, viewer: Viewer, rendition: Rendition, data: bytes | None, type: str
    ) -> None:
        if data is None:
            raise NotFound("there is no such segment, or not any more")
        kind = "audio" if type == "mp4" and rendition.kind != "video" else "video"
        await self._answer(request, viewer, data, f"{kind}/{type}", KEEP)

    async def _media(self, request: Request, viewer: Viewer, rendition: Rendition, variant: Variant) -> None:
        low = variant == "ll"
        if rendition.completed < SEGMENTS[variant]:
            await self._ready(rendition.store, variant)
        directives = Directives.parse(request.query) if low and request.query else Directives()
        target = rendition.store.target // 1_000_000_000 or 1
        caching = f"max-age={target // 2}" if target > 1 else "no-cache"
        if directives.msn is not None and not rendition.ended:
            directives.check(*last_part(rendition), rendition.store.part_target)
            with anyio.move_on_after(PATIENCE * rendition.store.target / 1e9) as patience:
                await rendition.wait(directives.msn, directives.part)
            if patience.cancelled_caught:
                await request.respond(
                    503, b"what was asked for did not come\n", headers=[("retry-after", "1")]
                )
                return
            # Appendix B.1: what was waited for never changes.
            caching = f"max-age={6 * target}"
        body = media_playlist(
            rendition, variant, carried(request.query, own=OWN_FIELDS), skip=directives.skip
        )
        await self._answer(request, viewer, body, PLAYLIST_TYPE, caching)

    async def _answer(
        self, request: Request, viewer: Viewer, body: bytes, content_type: str, caching: str
    ) -> None:
        if is_private(request, OWN_FIELDS):
            caching = f"private, {caching}"
        await request.respond(200, body, content_type=content_type, headers=[("cache-control", caching)])
        viewer.sent += len(body)


_resource = lru_cache(4096)(Resource.parse)
"""All viewers ask for the same few names."""


def _variant(text: str) -> Variant:
    for variant in VARIANTS:
        if variant == text:
            return variant
    raise ProtocolViolation(f"variant is one of {', '.join(VARIANTS)}")


def _path(request: Request) -> StreamPath:
    path = request.values["path"]
    if not isinstance(path, StreamPath):
        raise Denied("not a stream's path")
    return path
