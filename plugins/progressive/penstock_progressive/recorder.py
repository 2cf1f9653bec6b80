"""A publisher: the body of one POST or PUT."""

from __future__ import annotations

import math

import anyio

from penstock.errors import AlreadyPublished, ProtocolViolation
from penstock.publisher import Publisher
from penstock_http.api import Request
from penstock_progressive.body import publish
from penstock_progressive.container import Container
from penstock_progressive.late import LatePublisher
from penstock_progressive.player import protocol


async def record(container: Container, request: Request) -> None:
    """Answer POST and PUT: the response comes at the body's end, or where it cannot be read."""
    server = request.server
    streams, limit = server.streams, server.config.server.publisher_timeout
    session = request.session(protocol(request, container))
    path = await streams.authorize(session, "publish", request.values["path"], request.credentials)
    session.direction, session.path = "publish", path
    stream = streams.get(path)
    if stream is not None and stream.publisher is not None and not stream.options.override:
        raise AlreadyPublished(f"{path} is being published already")

    def begin() -> Publisher:
        patience.deadline = math.inf
        return streams.publish_authorized(session, path)

    late = LatePublisher(session, begin)
    try:
        with anyio.move_on_after(limit) as patience:
            await publish(late, container.ingest(late, server), request.body())
            session.reason = session.reason or "the body ended"
        if patience.cancelled_caught:
            raise ProtocolViolation(f"the body has no track within {limit:g} s")
    finally:
        late.close(session.reason or "the publisher left")
    await request.respond(200)
