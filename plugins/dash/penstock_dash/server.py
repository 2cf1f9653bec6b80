"""The routes: descriptions and segments, served from the kernel's stores; a segment that is being made is sent as it grows."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import UTC, datetime
from urllib.parse import quote
from weakref import WeakKeyDictionary
from xml.sax.saxutils import escape

import anyio

from penstock import (
    NS,
    Closed,
    Kind,
    NotFound,
    ProtocolViolation,
    Rendition,
    Segment,
    SegmentStore,
    Server,
    Stream,
    StreamPath,
    to_ns,
    to_ticks,
)
from penstock_dash.config import DashConfig
from penstock_dash.presentation import CLOCK, QUERY, Presentation, digest
from penstock_dash.resource import SUFFIXES, Resource
from penstock_formats.isobmff.segments import CmafFormat
from penstock_http.api import Request, Route, Viewer, Viewers, carried, is_private

MPD_TYPE = "application/dash+xml"
OTHERS_SECONDS = 1.0
"""How long a description waits for tracks beside the first: sound that is late, or never comes."""
PAUSE = 1.0
"""Seconds after which is said that nothing follows the end."""
KEEP = "max-age=3600, immutable"
"""Of segments: their names never mean anything else."""
FORMAT = CmafFormat()


class DashRoutes:
    """All of DASH that one server serves."""

    def __init__(self, server: Server, config: DashConfig) -> None:
        self._server = server
        self._config = config
        self.viewers = Viewers(server, "dash", config.viewer_timeout, config.max_viewers)
        self._presentations: WeakKeyDictionary[Stream, Presentation] = WeakKeyDictionary()

    def routes(self) -> Iterable[Route]:
        return [
            Route("/{path}.mpd", self._description),
            # Each with its suffix: more is fixed of them than of other plugins' /{path}.mp4.
            *(Route(f"/{{path}}/dash/{{name}}{suffix}", self._file) for suffix in SUFFIXES),
        ]

    # -- descriptions ----------------------------------------------------------

    async def _description(self, request: Request) -> None:
        path = _path(request)
        viewer = await self.viewers.admit(request, path)
        store = await self._store(viewer, path)
        await self._ready(store)
        presentation = self._presentation(store.stream)
        name = quote(path.rpartition("/")[2], safe="")
        # With ./ since a name may have a colon in it, and be taken for a scheme.
        body = presentation.description(
            store, self._config, f"./{name}/dash/", f"./{name}.mpd", time.time_ns()
        )
        query = escape(carried(request.query, viewer.token))
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        body = body.replace(QUERY.encode(), query.encode()).replace(CLOCK.encode(), now.encode())
        await self._answer(request, viewer, body, MPD_TYPE, "no-cache")

    async def _store(self, viewer: Viewer, path: StreamPath) -> SegmentStore:
        """Of the stream that is there, or has been until a moment ago, or comes while we wait. Raises `NotFound`."""
        streams = self._server.streams
        stream = streams.get(path)
        if stream is None or not (stream.is_ready or stream.stores):
            stream = streams.past(path)
        if stream is None:
            try:
                stream = await streams.wait(path, self._server.config.server.wait_for_stream)
            except NotFound as e:
                self.viewers.dismiss(viewer, str(e))
                raise
        return stream.segments(FORMAT)

    def _presentation(self, stream: Stream) -> Presentation:
        found = self._presentations.get(stream)
        if found is None:
            found = self._presentations[stream] = Presentation(stream, time.time_ns())
        return found

    async def _ready(self, store: SegmentStore) -> None:
        """Wait until there is something to play. Raises `NotFound` where nothing comes."""
        lead = store.lead
        if lead is None:
            why = "; ".join(store.left_out.values()) or "it has no tracks"
            raise NotFound(f"{store.stream.path} cannot be played here: {why}")
        # Without parts: one that a player has played when it looks for more, and one for until it has that.
        segments = 0 if self._config.low_latency else 2
        found = False
        with anyio.move_on_after(self._config.first_segment_timeout):
            found = await lead.wait_ready(segments)
        if not found:
            raise NotFound(f"{store.stream.path} has no segment yet")
        with anyio.move_on_after(OTHERS_SECONDS):
            for rendition in tuple(store.renditions.values()):
                await rendition.wait_ready(segments)

    # -- files -----------------------------------------------------------------

    async def _file(self, request: Request) -> None:
        try:
            resource = Resource.parse(request.url_path.rpartition("/")[2])
        except ProtocolViolation as e:
            raise NotFound(str(e)) from None
        path = _path(request)
        viewer = await self.viewers.admit(request, path)
        store = await self._store(viewer, path)
        rendition = store.renditions.get(resource.rendition)
        presentation = self._presentations.get(store.stream)
        if rendition is None or presentation is None or presentation.id != resource.presentation:
            raise NotFound("there is no such file, or not any more")
        content_type = "video/mp4" if rendition.kind is Kind.VIDEO else "audio/mp4"
        if resource.kind == "init":
            init = next(
                (s.init for s in reversed(rendition.segments) if digest(s.init) == resource.digest), None
            )
            if init is None:
                raise NotFound("there is no such init segment, or not any more")
            await self._answer(request, viewer, init.data, content_type, KEEP)
            return
        segment = await self._segment(rendition, resource.time)
        exact = to_ticks(segment.time, _rate(rendition)) == resource.time
        caching = KEEP if exact else "no-store"
        if segment.complete:
            await self._answer(request, viewer, segment.data, content_type, caching)
        else:
            await self._grow(request, viewer, rendition, segment, content_type, caching)

    async def _segment(self, rendition: Rendition, ticks: int) -> Segment:
        """The segment that starts at `ticks`, or the next one after that, which is waited for. Raises `NotFound`.

        Where the one that is being made ends is a guess in descriptions, so that the start of the next one is, too.
        """
        number = _number(rendition, to_ns(ticks, _rate(rendition)))
        if number is None:
            if rendition.ended:
                # FFmpeg does not know that a presentation can end, and asks again at once.
                await anyio.sleep(PAUSE)
            raise NotFound("there is no such segment, or not any more, or not yet")
        with anyio.move_on_after(2 * rendition.store.target / NS):
            await rendition.wait(number, 0)
        segment = rendition.get(number)
        if segment is None or segment.gap or not (segment.complete or segment.parts):
            raise NotFound("there is no such segment")
        return segment

    async def _grow(
        self,
        request: Request,
        viewer: Viewer,
        rendition: Rendition,
        segment: Segment,
        content_type: str,
        caching: str,
    ) -> None:
        """Send the parts of a segment as they appear."""
        await request.start(200, content_type=content_type, headers=[_caching(request, caching)])
        sent = 0
        while True:
            if viewer.session.reason:
                raise Closed(viewer.session.reason)
            for part in segment.parts[sent:]:
                await request.send(part.data)
                viewer.sent += part.size
                viewer.asked = time.monotonic()
                sent += 1
            if segment.complete and sent == len(segment.parts):
                break
            if not await rendition.wait(segment.number, sent) and not segment.complete:
                raise Closed("the stream ended")
        await request.finish()

    async def _answer(
        self, request: Request, viewer: Viewer, body: bytes, content_type: str, caching: str
    ) -> None:
        await request.respond(200, body, content_type=content_type, headers=[_caching(request, caching)])
        viewer.sent += len(body)


def _caching(request: Request, caching: str) -> tuple[str, str]:
    return "cache-control", f"private, {caching}" if is_private(request) else caching


def _number(rendition: Rendition, time: int) -> int | None:
    """The number of the segment that starts at `time` (in ns), give or take a frame, or else is the first after it."""
    segments, slack = [s for s in rendition.segments if not s.gap], rendition.frame_interval
    if not segments or time < segments[0].time - slack:
        return None
    for segment in segments:
        if time <= segment.time + slack:
            return segment.number
    last = segments[-1]
    too_late = rendition.ended or time > last.time + 2 * rendition.store.target
    return None if too_late else last.number + 1


def _rate(rendition: Rendition) -> int:
    """Ticks a second in its timeline."""
    return rendition.tracks[0].clock_rate


def _path(request: Request) -> StreamPath:
    path = request.values["path"]
    assert isinstance(path, StreamPath)
    return path
