"""A body to a publisher's frames, at the pace at which it plays."""

from __future__ import annotations

import time
from collections.abc import AsyncIterable

import anyio

from penstock.errors import ProtocolViolation
from penstock.media import NS
from penstock.net import slices
from penstock_progressive.container import Ingest
from penstock_progressive.late import LatePublisher
from penstock_progressive.pace import Pace


async def publish(late: LatePublisher, ingest: Ingest, body: AsyncIterable[bytes]) -> None:
    """Take all of `body`. Raises `ProtocolViolation` where it cannot be read or has no frame."""
    pace = Pace()
    async for data in body:
        for part in slices(data):
            ingest.receive(part)
            if not late.has_frames:
                continue
            wait = pace.wait(late.stream.last_time, time.monotonic_ns())
            if wait:
                await late.flush()
                await anyio.sleep(wait / NS)
        await late.flush()
    ingest.end()
    await late.flush()
    if not late.has_frames:
        raise ProtocolViolation("the body has no frame that any plugin knows")
