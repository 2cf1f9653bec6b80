"""A publisher: the body of one POST or PUT."""

from __future__ import annotations

import time

import anyio

from penstock.errors import ProtocolViolation
from penstock.media import NS
from penstock.net import slices
from penstock_http.api import Request
from penstock_progressive.container import Container
from penstock_progressive.pace import Pace
from penstock_progressive.player import protocol


async def record(container: Container, request: Request) -> None:
    """Answer POST and PUT: the response comes at the body's end, or where it cannot be read."""
    server = request.server
    session = request.session(protocol(request, container))
    with await server.streams.publish(session, request.values["path"], request.credentials) as publisher:
        ingest = container.ingest(publisher, server)
        stream, pace, before = publisher.stream, Pace(), publisher.stream.frames_in
        async for data in request.body():
            for part in slices(data):
                ingest.receive(part)
                if stream.frames_in == before:
                    continue
                wait = pace.wait(stream.last_time, time.monotonic_ns())
                if wait:
                    await publisher.flush()
                    await anyio.sleep(wait / NS)
            await publisher.flush()
        ingest.end()
        await publisher.flush()
        if stream.frames_in == before:
            raise ProtocolViolation("the body has no frame that any plugin knows")
        session.reason = session.reason or "the body ended"
    await request.respond(200)
