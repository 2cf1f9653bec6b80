"""The routes: playlists, segments and parts, served from the kernel's stores."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache, partial
from urllib.parse import quote

import anyio
from attrs import frozen

from penstock import Denied, NotFound, ProtocolViolation, Rendition, SegmentStore, Server, Stream, StreamPath
from penstock.segment import SegmentFormat
from penstock_formats.isobmff.segments import CmafFormat
from penstock_formats.mpegts.segments import TsFormat
from penstock_hls.config import HlsConfig
from penstock_hls.directives import NAMES, Directives
from penstock_hls.media_playlist import target_duration
from penstock_hls.resource import SUFFIXES, VARIANTS, Kind, Resource, Variant
from penstock_hls.written import (
    SEGMENTS,
    due,
    is_long,
    last_part,
    media_playlist,
    multivariant_playlist,
    segments_wanted,
)
from penstock_http.api import (
    Answer,
    Asked,
    Hold,
    Refused,
    Request,
    Route,
    Standing,
    Viewer,
    Viewers,
    Words,
    carried,
    is_private,
)

PLAYLIST_TYPE = "application/vnd.apple.mpegurl"
PATIENCE = 3
"""Target durations that a blocked request waits at most (RFC 8216bis 6.2.5.2)."""
KEEP = "max-age=3600, immutable"
"""Of segments: their names never mean anything else. Apple asks for six target durations at least."""

OWN_FIELDS = frozenset({"variant", *NAMES})
"""Fields of a query that playlists do not carry on."""

NO_SEGMENT = "there is no such segment, or not any more"
_NOT_COME = Answer(b"what was asked for did not come\n", headers=(("retry-after", "1"),), status=503)
_NO_PART = Answer(f"{NO_SEGMENT}\n".encode(), status=404)
_LATE: dict[Kind, Answer] = {"playlist": _NOT_COME, "part": _NO_PART}
"""What is answered where what was waited for did not come."""

FORMATS: dict[Variant, SegmentFormat] = {"ts": TsFormat(), "fmp4": CmafFormat(), "ll": CmafFormat()}


@frozen
class Entry:
    """A kind of URL that viewers begin with; what it plays is `hls.variant` where it has none of its own."""

    pattern: str
    variant: Variant | None = None
    beside: bool = False
    """Whether files are in a folder of the stream's name beside it."""


ENTRIES = (
    Entry("/{path}.m3u8", beside=True),
    Entry("/{path}/index.m3u8"),
    # ZLMediaKit's names.
    Entry("/{path}/hls.m3u8", "ts"),
    Entry("/{path}/hls.fmp4.m3u8", "fmp4"),
)


class HlsRoutes:
    """All of HLS that one server serves."""

    def __init__(self, server: Server, config: HlsConfig) -> None:
        self._server = server
        self._config = config
        self.viewers = Viewers(server, "hls", config.viewer_timeout, config.max_viewers, OWN_FIELDS)

    def routes(self) -> Iterable[Route]:
        return [
            *(
                Route(
                    entry.pattern,
                    partial(self._begin, entry),
                    at_once=partial(self._begun, entry),
                    shown="play" if entry.pattern == "/{path}.m3u8" else "",
                )
                for entry in ENTRIES
            ),
            # Each with its suffix: more is fixed of them than of other plugins' /{path}.ts and /{path}.mp4.
            *(
                Route(f"/{{path}}/hls/{{name}}{suffix}", self._file, at_once=self._known)
                for suffix in SUFFIXES
            ),
        ]

    # -- multivariant playlists ------------------------------------------------

    def _begun(self, entry: Entry, asked: Asked) -> Answer | None:
        """What a viewer begins with, where all of it is there already and nobody has to be asked about the viewer."""
        path = _path(asked)
        stream = self._server.streams.get(path)
        if stream is None or not stream.stores:
            return None
        if not any(store.format.key == FORMATS[self._wanted(entry, asked)].key for store in stream.stores):
            return None
        store, variant = self._chosen(entry, asked, stream)
        if not store.is_ready(_enough(asked, store, variant)):
            return None
        viewer = self.viewers.known(asked, path, anew=True)
        if viewer is None:
            return None
        answer = self._multivariant(entry, asked, viewer, store, variant)
        viewer.sent += len(answer.body)
        return answer

    async def _begin(self, entry: Entry, request: Request) -> None:
        path = _path(request)
        asked = request.query.get("variant")
        if asked is not None:
            _variant(asked)
        viewer = await self.viewers.admit(request, path, anew=True)
        stream = await self._stream(viewer, path)
        await stream.segments_for(FORMATS[self._wanted(entry, request)])
        _, variant = self._chosen(entry, request, stream)
        store = await stream.segments_for(FORMATS[variant])
        await self._ready(request, store, variant)
        await self._answer(request, viewer, self._multivariant(entry, request, viewer, store, variant))

    def _wanted(self, entry: Entry, asked: Asked) -> Variant:
        text = asked.query.get("variant")
        return _variant(text) if text is not None else entry.variant or self._config.variant

    def _chosen(self, entry: Entry, asked: Asked, stream: Stream) -> tuple[SegmentStore, Variant]:
        variant = self._wanted(entry, asked)
        store = stream.segments(FORMATS[variant])
        if not store.renditions and asked.query.get("variant") is None and variant == "ts":
            variant = "fmp4"
            store = stream.segments(FORMATS[variant])
        return store, variant

    def _multivariant(
        self, entry: Entry, asked: Asked, viewer: Viewer, store: SegmentStore, variant: Variant
    ) -> Answer:
        folder = f"{quote(_path(asked).rpartition('/')[2], safe='')}/hls/" if entry.beside else "hls/"
        query = carried(asked.query, viewer.token, OWN_FIELDS)
        body = multivariant_playlist(store, variant, folder, query).write().encode()
        return Answer(body, PLAYLIST_TYPE, _caching(asked, "no-store")).packed(asked)

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

    async def _ready(self, asked: Asked, store: SegmentStore, variant: Variant) -> None:
        """Wait until a playlist has enough to begin with: how much that is, the first segment tells. Raises `NotFound`."""
        patience = self._config.first_segment_timeout
        await store.wait_ready(1, patience)
        await store.wait_ready(_enough(asked, store, variant), patience)

    # -- files -----------------------------------------------------------------

    def _known(self, asked: Asked) -> Answer | Standing | Hold | None:
        """What a viewer that is known asks for, from a store that is there."""
        path = _path(asked)
        viewer = self.viewers.known(asked, path)
        stream = self._server.streams.get(path)
        if viewer is None or stream is None:
            return None
        resource = _resource(asked.url_path.rpartition("/")[2])
        store = stream.stores.find(FORMATS[resource.variant])
        rendition = None if store is None else store.renditions.get(resource.rendition)
        if rendition is None or not _has_enough(asked, rendition, resource):
            return None
        found = self._find(asked, rendition, resource)
        if isinstance(found, tuple):
            late = partial(_LATE.get, resource.kind)
            return Hold(partial(rendition.when, found), _patience(rendition), late)
        if found is None:
            return None
        waits = resource.kind == "playlist" and is_long(rendition.store, resource.variant)
        if waits and (soon := due(rendition)):
            return Hold(partial(rendition.when, _next(rendition)), soon, partial(_counted, viewer, found))
        size = len(found.body)
        viewer.sent += size
        if store is None or store.ended or waits:
            return found
        words = Words.of(asked, path, viewer)
        return Standing(found, partial(self._again, store, store.changes, words, size))

    def _again(self, store: SegmentStore, changes: int, words: Words, size: int, address: str) -> bool:
        if store.changes != changes or not self.viewers.again(words, address, size):
            return False
        store.touch()
        return True

    async def _file(self, request: Request) -> None:
        try:
            resource = _resource(request.url_path.rpartition("/")[2])
        except ProtocolViolation as e:
            raise NotFound(str(e)) from None
        path = _path(request)
        viewer = await self.viewers.admit(request, path)
        stream = await self._stream(viewer, path)
        store = await stream.segments_for(FORMATS[resource.variant])
        rendition = store.renditions.get(resource.rendition)
        if rendition is None:
            raise NotFound(f"{path} has no rendition {resource.rendition}")
        if not _has_enough(request, rendition, resource):
            await self._ready(request, store, resource.variant)
        waits = resource.kind == "playlist" and is_long(store, resource.variant)
        if waits and (soon := due(rendition)):
            with anyio.move_on_after(soon):
                await rendition.reached(_next(rendition))
        found: Answer | tuple[int, int] | None = None
        with anyio.move_on_after(_patience(rendition)):
            while isinstance(found := self._find(request, rendition, resource), tuple):
                await rendition.reached(found)
        # Whose session ended since the server stops is not told that it was refused.
        if viewer.session.reason and not self._server.stopping:
            raise Refused(viewer.session.reason)
        if isinstance(found, tuple):
            found = _LATE[resource.kind]
        await self._answer(request, viewer, found or _no_segment(rendition, resource))

    def _find(
        self, asked: Asked, rendition: Rendition, resource: Resource
    ) -> Answer | tuple[int, int] | None:
        """What is asked for, or the position of `rendition` that has to be waited for; None where there is no such thing."""
        number = resource.number
        match resource.kind:
            case "playlist":
                return self._media(asked, rendition, resource.variant)
            case "init":
                init = rendition.init_of(number)
                data = None if init is None else init.data
            case "segment":
                segment = rendition.get(number)
                complete = segment is not None and segment.complete and not segment.gap
                data = segment.data if segment is not None and complete else None
            case "part":
                part = resource.part
                segment = rendition.get(number)
                if segment is not None and part < len(segment.parts):
                    data = segment.parts[part].data
                elif (number, part) in (rendition.position, (rendition.position[0] + 1, 0)):
                    # The one that comes next: what was hinted at is waited for (6.2.5).
                    return rendition.missing(number, part)
                else:
                    data = None
        if data is None:
            return None
        kind = "audio" if resource.variant != "ts" and rendition.kind != "video" else "video"
        return Answer(
            data,
            f"{kind}/{'mp2t' if resource.variant == 'ts' else 'mp4'}",
            _caching(asked, KEEP),
            # No name is used twice.
            etag=f'"{resource}"',
        )

    def _media(self, asked: Asked, rendition: Rendition, variant: Variant) -> Answer | tuple[int, int]:
        query = asked.query
        directives = Directives.parse(query) if query and variant == "ll" else Directives()
        target = rendition.store.target // 1_000_000_000 or 1
        caching = f"max-age={target // 2}" if target > 1 else "no-cache"
        if directives.msn is not None and not rendition.ended:
            directives.check(*last_part(rendition), rendition.store.part_target)
            missing = rendition.missing(directives.msn, directives.part)
            if missing is not None:
                return missing
            # Appendix B.1: what was waited for never changes.
            caching = f"max-age={6 * target}"
        found = media_playlist(rendition, variant, skip=directives.skip)
        carries = carried(query, own=OWN_FIELDS) if query else ""
        answer = Answer(found.text(carries), PLAYLIST_TYPE, _caching(asked, caching))
        return answer.packed(asked) if carries else answer.packed(asked, found.compressed)

    async def _answer(self, request: Request, viewer: Viewer, answer: Answer) -> None:
        await request.respond(
            answer.status,
            answer.body,
            content_type=answer.content_type,
            headers=answer.headers,
            etag=answer.etag,
        )
        if answer.status == 200:
            viewer.sent += len(answer.body)


def _counted(viewer: Viewer, answer: Answer) -> Answer | None:
    """What a viewer is sent that waited for more, unless it has been sent away meanwhile."""
    if viewer.session.reason:
        return None
    viewer.sent += len(answer.body)
    return answer


def _next(rendition: Rendition) -> tuple[int, int]:
    """The position at which the segment that is being written is complete."""
    return rendition.position[0] + 1, 0


def _enough(asked: Asked, store: SegmentStore, variant: Variant) -> int:
    """Segments that a playlist has to have."""
    if "VLC/" in asked.headers.get("user-agent", ""):
        # It knows nothing of parts, plays nothing of a segment before there is another, and looks for that a target duration
        # later. Where the stream has ended then, it forgets to look for more of all renditions but the first.
        return SEGMENTS["fmp4"]
    return segments_wanted(store, variant)


def _has_enough(asked: Asked, rendition: Rendition, resource: Resource) -> bool:
    return resource.kind != "playlist" or rendition.completed >= _enough(
        asked, rendition.store, resource.variant
    )


def _no_segment(rendition: Rendition, resource: Resource) -> Answer:
    """404; Appendix B.1: for a target duration, where it is not one that is still to come."""
    gone = (resource.number, resource.part) < rendition.position
    seconds = target_duration(rendition.store.target)
    caching = f"max-age={seconds}" if gone or rendition.ended else "no-cache"
    return Answer(_NO_PART.body, headers=(("cache-control", caching),), status=404)


def _caching(asked: Asked, caching: str) -> tuple[tuple[str, str], ...]:
    return (("cache-control", f"private, {caching}" if is_private(asked, OWN_FIELDS) else caching),)


def _patience(rendition: Rendition) -> float:
    return PATIENCE * rendition.store.target / 1e9


_resource = lru_cache(4096)(Resource.parse)
"""All viewers ask for the same few names."""


def _variant(text: str) -> Variant:
    for variant in VARIANTS:
        if variant == text:
            return variant
    raise ProtocolViolation(f"variant is one of {', '.join(VARIANTS)}")


def _path(request: Asked) -> StreamPath:
    path = request.values["path"]
    if not isinstance(path, StreamPath):
        raise Denied("not a stream's path")
    return path
