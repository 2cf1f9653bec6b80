"""A peer's TCP connection: what media goes by where UDP does not get through, as it is (RFC 6544) or by TURN."""

from __future__ import annotations

import time
from collections.abc import Hashable, Sequence

from penstock.errors import ProtocolViolation
from penstock.net import Connection, slices
from penstock.publisher import Publisher, flush_all
from penstock.server import Server
from penstock.session import Session
from penstock_webrtc.framing import Framing, Unframer, frame
from penstock_webrtc.relay import Relay
from penstock_webrtc.udp import Port

MAX_WAITING = 256 << 10
"""Bytes that wait for a slow peer beside those in its socket's buffer: a second of 2 Mbit/s. What would be more drops them all:
what is new is of more use to the peer."""


class Link:
    """One connection as a route. What its peer does not take in time is lost, as on any other way."""

    def __init__(self, connection: Connection, session: Session, unframer: Unframer) -> None:
        self._unframer = unframer
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

    @property
    def proven(self) -> bool:
        return True

    def send(self, datagrams: Sequence[bytes]) -> None:
        framed = self._unframer.framing is Framing.FRAMED
        data = b"".join(frame(datagrams) if framed else datagrams)
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


async def serve_link(
    server: Server, port: Port, relay: Relay | None, connection: Connection, session: Session
) -> None:
    """Take what comes over one connection, until its end; it has some time to show that it knows a password."""
    patience = server.config.server.handshake_timeout
    session.begin_by = time.monotonic() + patience
    unframer = Unframer()
    link = Link(connection, session, unframer)
    try:
        while data := await connection.receive():
            for piece in slices(data):
                unframer.receive_data(piece)
                await flush_all(_take(port, relay, unframer, link))
                await connection.turn()
            if unframer.framing is Framing.TURN:
                if relay is not None and relay.serves(link):
                    session.begin_by = None
                elif session.begin_by is None:
                    session.begin_by = time.monotonic() + patience
    finally:
        port.lose(link)
        if relay is not None:
            relay.forget(link)


def _take(port: Port, relay: Relay | None, unframer: Unframer, link: Link) -> dict[Publisher, None]:
    """The packets that are whole; who has something to flush."""
    touched: dict[Publisher, None] = {}
    now = time.monotonic_ns()
    while (packet := unframer.next_event()) is not None:
        if unframer.framing is Framing.FRAMED:
            publisher = port.receive(packet, link, now)
        elif relay is not None:
            publisher = relay.receive(packet, link, now)
        else:
            raise ProtocolViolation("TURN is switched off (webrtc.turn)")
        if publisher is not None:
            touched[publisher] = None
    return touched
