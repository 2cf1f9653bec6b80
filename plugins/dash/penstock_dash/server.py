"""The routes: descriptions and segments, served from the kernel's stores; a segment that is being made is sent as it grows."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache, partial
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
from penstock_dash.description import CLOCK, PERIOD, QUERY, Form, digest
from penstock_dash.presentation import Presentation
from penstock_dash.resource import SUFFIXES, Resource
from penstock_formats.isobmff.segments import CmafFormat
from penstock_http.api import (
    Answer,
    Asked,
    Hold,
    Request,
    Route,
    Viewer,
    Viewers,
    carried,
    is_private,
)

MPD_TYPE = "application/dash+xml"
PAUSE = 1.0
"""Seconds after which is said that nothing follows the last segment."""
KEEP = "max-age=3600, immutable"
"""Of segments: their names never mean anything else."""
FORMAT = CmafFormat()
NO_SEGMENT = "there is no such segment"
_NO_SEGMENT = Answer(f"{NO_SEGMENT}\n".encode(), status=404)
"""Where one that was waited for did not come."""


class DashRoutes:
    """All of DASH that one server serves."""

    def __init__(self, server: Server, config: DashConfig) -> None:
        self._server = server
        self._config = config
        # Whom the length of the last segment must not change for, is told of whole segments alone (ADR 0021).
        self._forms = {
            "": Form(latency=int(config.latency * NS) if config.low_latency else 0),
            "GStreamer": Form(anchored=True),
            "VLC/": Form(outlasting=True),
        }
        self.viewers = Viewers(server, "dash", config.viewer_timeout, config.max_viewers)
        self._presentations: WeakKeyDictionary[Stream, Presentation] = WeakKeyDictionary()

    def routes(self) -> Iterable[Route]:
        return [
            Route("/{path}.mpd", self._description, at_once=self._known_description, shown="play"),
            # Each with its suffix: more is fixed of them than of other plugins' /{path}.mp4.
            *(
                Route(f"/{{path}}/dash/{{name}}{suffix}", self._file, at_once=self._known_file)
                for suffix in SUFFIXES
            ),
        ]

    # -- descriptions ----------------------------------------------------------

    def _known_description(self, asked: Asked) -> Answer | None:
        """That which a viewer asks for again, where it is there."""
        found = self._known(asked)
        if found is None:
            return None
        viewer, store, presentation = found
        if not store.is_ready(_enough(self._form(asked))):
            return None
        answer = self._described(asked, viewer, store, presentation)
        viewer.sent += len(answer.body)
        return answer

    async def _description(self, request: Request) -> None:
        path = _path(request)
        viewer = await self.viewers.admit(request, path)
        store = await self._store(viewer, path)
        await store.wait_ready(_enough(self._form(request)), self._config.first_segment_timeout)
        presentation = self._presentations.get(store.stream)
        if presentation is None:
            presentation = self._presentations[store.stream] = Presentation(store.stream, time.time_ns())
        await self._answer(request, viewer, self._described(request, viewer, store, presentation))

    def _described(
        self, asked: Asked, viewer: Viewer, store: SegmentStore, presentation: Presentation
    ) -> Answer:
        body = presentation.description(store, self._form(asked), time.time_ns())
        query = escape(carried(asked.query, viewer.token))
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        body = body.replace(QUERY.encode(), query.encode()).replace(CLOCK.encode(), now.encode())
        headers = _cache_control(asked, "no-cache"), ("vary", "user-agent")
        return Answer(body, MPD_TYPE, headers).packed(asked)

    def _known(self, asked: Asked) -> tuple[Viewer, SegmentStore, Presentation] | None:
        """Who asks, and for what, where both are known and there is nothing to wait for."""
        path = _path(asked)
        viewer = self.viewers.known(asked, path)
        stream = self._server.streams.get(path)
        if viewer is None or stream is None:
            return None
        presentation, store = self._presentations.get(stream), stream.stores.find(FORMAT)
        return None if presentation is None or store is None else (viewer, store, presentation)

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
        return await stream.segments_for(FORMAT)

    def _form(self, asked: Asked) -> Form:
        return self._forms[_agent(asked)]

    # -- files -----------------------------------------------------------------

    def _known_file(self, asked: Asked) -> Answer | Hold | None:
        """What a viewer that is known asks for; what is still growing takes a handler."""
        found = self._known(asked)
        if found is None:
            return None
        viewer, store, presentation = found
        resource = _resource(asked.url_path.rpartition("/")[2])
        rendition = store.renditions.get(resource.rendition)
        if rendition is None or presentation.id != resource.presentation:
            return None
        if resource.kind == "init":
            answer = _init(asked, rendition, resource)
        else:
            number = _number(rendition, resource.time, _period(asked))
            missing = None if number is None else rendition.missing(number, 0)
            if missing is not None:
                return Hold(partial(rendition.when, missing), _patience(rendition), lambda: _NO_SEGMENT)
            segment = None if number is None else rendition.get(number)
            if segment is None or segment.gap or not segment.complete:
                return None
            answer = _answer(asked, segment.data, resource, rendition, _caching(segment, resource))
        if answer is not None:
            viewer.sent += len(answer.body)
        return answer

    async def _file(self, request: Request) -> None:
        try:
            resource = _resource(request.url_path.rpartition("/")[2])
        except ProtocolViolation as e:
            raise NotFound(str(e)) from None
        path = _path(request)
        viewer = await self.viewers.admit(request, path)
        store = await self._store(viewer, path)
        rendition = store.renditions.get(resource.rendition)
        presentation = self._presentations.get(store.stream)
        if rendition is None or presentation is None or presentation.id != resource.presentation:
            raise NotFound("there is no such file, or not any more")
        if resource.kind == "init":
            init = _init(request, rendition, resource)
            if init is None:
                raise NotFound("there is no such init segment, or not any more")
            await self._answer(request, viewer, init)
            return
        segment = await self._segment(request, rendition, resource.time)
        caching = _caching(segment, resource)
        if segment.complete:
            await self._answer(request, viewer, _answer(request, segment.data, resource, rendition, caching))
        else:
            await self._grow(request, viewer, rendition, segment, caching)

    async def _segment(self, request: Request, rendition: Rendition, ticks: int) -> Segment:
        """The segment that starts at `ticks`, or the next one after that, which is waited for. Raises `NotFound`.

        Where the one that is being made ends is a guess in descriptions, so that the start of the next one is, too.
        """
        number = _number(rendition, ticks, _period(request))
        if number is None:
            if rendition.open is None and _agent(request) != "VLC/":
                # FFmpeg does not know that a presentation can end, and asks again at once.
                await anyio.sleep(PAUSE)
            raise NotFound("there is no such segment, or not any more, or not yet")
        with anyio.move_on_after(_patience(rendition)):
            await rendition.wait(number, 0)
        segment = rendition.get(number)
        if segment is None or segment.gap or not (segment.complete or segment.parts):
            raise NotFound(NO_SEGMENT)
        return segment

    async def _grow(
        self, request: Request, viewer: Viewer, rendition: Rendition, segment: Segment, caching: str
    ) -> None:
        """Send the parts of a segment as they appear."""
        headers = [_cache_control(request, caching)]
        await request.start(200, content_type=_type(rendition), headers=headers)
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

    async def _answer(self, request: Request, viewer: Viewer, answer: Answer) -> None:
        await request.respond(
            200, answer.body, content_type=answer.content_type, headers=answer.headers, etag=answer.etag
        )
        viewer.sent += len(answer.body)


def _enough(form: Form) -> int:
    """Segments that a description has to have: without parts one that a player has played when it looks for more, and
    one for until it has that.
    """
    return 0 if form.latency else 2


_resource = lru_cache(4096)(Resource.parse)
"""All viewers ask for the same few names."""


def _answer(asked: Asked, body: bytes, resource: Resource, rendition: Rendition, caching: str) -> Answer:
    # What is asked for by another time than its own may be another segment later.
    etag = f'"{resource}"' if caching == KEEP else ""
    return Answer(body, _type(rendition), (_cache_control(asked, caching),), etag=etag)


def _cache_control(asked: Asked, caching: str) -> tuple[str, str]:
    return "cache-control", f"private, {caching}" if is_private(asked, (PERIOD,)) else caching


def _init(asked: Asked, rendition: Rendition, resource: Resource) -> Answer | None:
    segments = reversed(rendition.segments)
    init = next((s.init for s in segments if digest(s.init) == resource.digest), None)
    return None if init is None else _answer(asked, init.data, resource, rendition, KEEP)


def _type(rendition: Rendition) -> str:
    return "video/mp4" if rendition.kind is Kind.VIDEO else "audio/mp4"


def _caching(segment: Segment, resource: Resource) -> str:
    """Of what was asked for by the time at which it starts, or by another."""
    return KEEP if _ticks(segment) == resource.time else "no-store"


def _patience(rendition: Rendition) -> float:
    """Seconds that are waited for a segment that comes next."""
    return 2 * rendition.store.target / NS


def _number(rendition: Rendition, ticks: int, period: int | None) -> int | None:
    """The number of the segment that starts at `ticks`, give or take a frame, or else is the first after it.

    Where there is a `period`, 0 is the first segment that is told of in that.
    """
    if period is not None and not ticks:
        rate, slack = rendition.tracks[0].clock_rate, rendition.slack
        start = to_ns(period, rate) - slack
        return next((s.number for s in rendition.listed if not s.gap and s.time >= start), None)
    segments, slack = [s for s in rendition.segments if not s.gap], rendition.slack
    for segment in segments:
        if _ticks(segment) == ticks:
            return segment.number
    time = to_ns(ticks, rendition.tracks[0].clock_rate)
    if not segments or time < segments[0].time - slack:
        return None
    for segment in segments:
        if time <= segment.time + slack:
            return segment.number
    last = segments[-1]
    # With the next publisher comes another period, which is to be read of first: FFmpeg would take its first segment twice.
    too_late = rendition.open is None or time > last.time + 2 * rendition.store.target
    return None if too_late else last.number + 1


def _period(asked: Asked) -> int | None:
    """Where the period starts, of whose anchored description this is asked for."""
    text = asked.query.get(PERIOD, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None


def _agent(asked: Asked) -> str:
    """The player, where it is one of those that a description is made for."""
    agent = asked.headers.get("user-agent", "")
    return next((name for name in ("VLC/", "GStreamer") if name in agent), "")


def _ticks(segment: Segment) -> int:
    """When it starts, in its own timeline: sound may have had another rate."""
    return to_ticks(segment.time, segment.init.tracks[0].clock_rate)


def _path(asked: Asked) -> StreamPath:
    path = asked.values["path"]
    assert isinstance(path, StreamPath)
    return path
