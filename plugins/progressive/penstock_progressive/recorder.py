"""A publisher: the body of one POST or PUT."""

from __future__ import annotations

from penstock_http.api import Request
from penstock_progressive.body import publish
from penstock_progressive.container import Container
from penstock_progressive.player import protocol


async def record(container: Container, request: Request) -> None:
    """Answer POST and PUT: the response comes at the body's end, or where it cannot be read."""
    server = request.server
    session = request.session(protocol(request, container))
    with await server.streams.publish(session, request.values["path"], request.credentials) as publisher:
        await publish(publisher, container.ingest(publisher, server), request.body())
        session.reason = session.reason or "the body ended"
    await request.respond(200)
