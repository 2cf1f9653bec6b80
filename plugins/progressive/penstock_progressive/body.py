"""A body to a publisher's frames, at the pace at which it plays."""

from __future__ import annotations

import time
from collections.abc import AsyncIterable

import anyio

from penstock import Publisher
from penstock.errors import ProtocolViolation
from penstock.media import NS
from penstock.net import slices
from penstock_progressive.container import Ingest
from penstock_progressive.pace import Pace


async def publish(publisher: Publisher, ingest: Ingest, body: AsyncIterable[bytes]) -> None:
    """Take all of `body`. Raises `ProtocolViolation` where it cannot be read or has no frame."""
    stream, pace, before = publisher.stream, Pace(), publisher.stream.frames_in
    async for data in body:
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
