"""What a viewer of a feed gets, and what it reads in it: everything in memory, by the readers that publishers use."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from penstock.config import Config
from penstock.feed import Cursor, Feed
from penstock.media import Event, Frame
from penstock.path import StreamPath
from penstock.server import Server
from penstock.stream import Stream, StreamOptions
from penstock_progressive.container import Container
from penstock_progressive.websocket import Carrier
from tests.kernel import stage


@cache
def server() -> Server:
    """One that is not started: it has every codec."""
    made = Server(Config())
    made.plugins.activate(made.config)
    return made


def stream() -> Stream:
    return Stream(StreamPath.parse("live/one"), server().registry, StreamOptions(window=0), stage.Host())


def received(container: Container, pieces: Iterable[bytes]) -> list[Event]:
    """The events of a stream to which `pieces` are published."""
    made = stream()
    publisher = stage.publish(made)
    queue = stage.with_queue(made)
    ingest = container.ingest(publisher, server())
    for piece in pieces:
        ingest.receive(piece)
    ingest.end()
    return stage.events(queue)


def republished(frames: Iterable[Frame]) -> tuple[Stream, list[Frame]]:
    """A stream of those frames, and the frames as it has them."""
    made = stream()
    publisher = stage.publish(made)
    queue = stage.with_queue(made)
    ids: dict[int, int] = {}
    for frame in frames:
        track = frame.track
        if track.id not in ids:
            ids[track.id] = publisher.add_track(track.codec, track.clock_rate, track.config).id
        elif track.config is not None:
            publisher.configure(ids[track.id], track.config)
        publisher.write(ids[track.id], frame.units, pts=frame.pts, dts=frame.dts, key=frame.key)
    publisher.tracks_complete()
    return made, stage.frames(stage.events(queue))


def watched(feed: Feed, carrier: Carrier, start: int | None = None) -> bytes:
    """All bytes of a viewer that starts at an index of the ring: by default where a new one does."""
    ring = feed.ring
    first = ring.last_key if start is None else start
    first = ring.start if first is None else first
    out = carrier.preamble(Cursor(feed, first))
    return out + b"".join(p for i in range(first, ring.end) for p in ring[i].payloads)
