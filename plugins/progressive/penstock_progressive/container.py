"""The three containers by the last part of their URLs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from attrs import frozen

from penstock.media import Kind, Track
from penstock.publisher import TrackWriter
from penstock.registry import Registry
from penstock.server import Server
from penstock_formats import isobmff, mpegts
from penstock_progressive.flv import FlvFileMuxer
from penstock_progressive.ingest import FlvIngest
from penstock_progressive.mp4 import Mp4Muxer
from penstock_progressive.websocket import Carrier


class ContainerMuxer(Carrier, Protocol):
    """A carrier that says what it has."""

    @property
    def left_out(self) -> Mapping[int, str]:
        """Why tracks are not carried, by their ids."""
        ...

    @property
    def kinds(self) -> set[Kind]:
        """What there is of sound and picture."""
        ...


class Ingest(Protocol):
    """Takes a body. Raises `ProtocolViolation` for what cannot be read."""

    def receive(self, data: bytes) -> None: ...

    def end(self) -> None:
        """Nothing follows: what waits for more comes out."""
        ...


@frozen
class Container:
    """How a stream is written to viewers, and read from publishers."""

    name: str
    content_type: str
    muxer: Callable[[Registry, Iterable[Track]], ContainerMuxer]
    ingest: Callable[[TrackWriter, Server], Ingest]


def _read_mp4(publisher: TrackWriter, server: Server) -> Ingest:
    return isobmff.Ingest(publisher, server.registry)


CONTAINERS = (
    Container("flv", "video/x-flv", FlvFileMuxer, FlvIngest),
    Container("ts", "video/mp2t", mpegts.LiveMuxer, mpegts.Ingest),
    Container("mp4", "video/mp4", Mp4Muxer, _read_mp4),
)
