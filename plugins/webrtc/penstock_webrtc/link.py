"""A peer's TCP connection: what media goes by where nothing gets through over UDP (RFC 6544)."""

from __future__ import annotations

import time
from collections.abc import Hashable, Sequence

from penstock.net import Connection, slices
from penstock.publisher import Publisher, flush_all
from penstock.server import Server
from penstock.session import Session
from penstock_webrtc.framing import Unframer, frame
from penstock_webrtc.udp import Port

MAX_WAITING = 256 << 10
"""Bytes that wait for a slow peer beside those in its socket's buffer: a second of 2 Mbit/s. What would be more drops them all:
what is new is of more use to the peer."""


class Link:
    """One connection as a route. What its peer does not take in time is lost, as on any other way."""

    def __init__(self, connection: Connection, session: Session) -> None:
        self.sock = connection.sock
        self.address = connection.peer
        self._session = session
        self._sink = connection.sink
        self._sink.source = self
        self._waiting: list[bytes] = []
        self._size = 0

    @property
    def key(self) -> Hashable:
        return self

    def send(self, datagrams: Sequence[bytes]) -> None:
        data = b"".join(frame(datagrams))
        if not self._sink.blocked:
            self._sink.control(data)
            return
        if self._size + len(data) > MAX_WAITING:
            self._session.count("dropped_bytes", self._size)
            self._waiting, self._size = [], 0
        self._waiting.append(data)
        self._size += len(data)

    def hold(self) -> None:
        self._session.begin_by = None

    def release(self) -> None:
        self._session.kick("its peer is gone")

    def catch_up(self) -> bytes | None:
        """As a sink's source: what has waited."""
        waiting, self._waiting, self._size = self._waiting, [], 0
        return b"".join(waiting) or None

    def held(self) -> None:
        """As a sink's source: it is known by `blocked`."""

    def ended(self, reason: str) -> None:
        """As a sink's source."""
        self._session.kick(reason)


async def serve_link(server: Server, port: Port, connection: Connection, session: Session) -> None:
    """Take what comes over one connection, until its end; it ends by itself where no check of ICE knows a password."""
    session.begin_by = time.monotonic() + server.config.server.handshake_timeout
    unframer = Unframer()
    link = Link(connection, session)
    try:
        while data := await connection.receive():
            for piece in slices(data):
                unframer.receive_data(piece)
                await flush_all(_take(port, unframer, link))
                await connection.turn()
    finally:
        port.lose(link)


def _take(port: Port, unframer: Unframer, link: Link) -> dict[Publisher, None]:
    """The packets that are whole; who has something to flush."""
    touched: dict[Publisher, None] = {}
    now = time.monotonic_ns()
    while (packet := unframer.next_event()) is not None:
        publisher = port.receive(packet, link, now)
        if publisher is not None:
            touched[publisher] = None
    return touched
