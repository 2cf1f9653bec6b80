"""Long responses as a source: FLV, MPEG-TS and MP4 that another server sends, live or from a file."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial

from penstock_http.api import HttpPull, Response
from penstock_progressive.body import publish
from penstock_progressive.container import Container
from penstock_progressive.late import LatePublisher


async def pull(container: Container, source: HttpPull) -> None:
    """Publish the response's frames until it ends, a file's at the pace at which it plays."""
    # Closed by the relay, which tells why.
    late = LatePublisher(source.session, partial(source.publish, source.session))
    late.begin()
    async with aclosing(_body(source.response)) as body:
        await publish(late, container.ingest(late, source.server), body)
    source.session.reason = source.session.reason or "the response ended"


async def _body(response: Response) -> AsyncGenerator[bytes]:
    while data := await response.receive():
        yield data
