"""Connections that decide by themselves, for tests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from penstock.errors import ProtocolViolation
from penstock_rtmp.client_connection import ClientConnection
from penstock_rtmp.connection import ServerConnection
from penstock_rtmp.event import Connect, Pause, Play, Publish
from penstock_rtmp.handshake import RANDOM_SIZE

RANDOM = bytes(i * 7 % 251 for i in range(RANDOM_SIZE))


def server() -> ServerConnection:
    return ServerConnection(RANDOM, 1000)


def decide(connection: ServerConnection, event: Any) -> None:
    """Accept all but what is called "no"; a pause ends a play."""
    match event:
        case Connect(app="no"):
            connection.reject_connect("no")
        case Publish(name="no"):
            connection.reject_publish(event.stream_id, "no")
        case Play(name="no"):
            connection.reject_play(event.stream_id, "no")
        case Pause():
            connection.end_play(event.stream_id, "over")
            connection.ping(5)
            connection.request_reconnect("moving", "rtmp://h/there")
        case Connect():
            connection.accept_connect(["hvc1"], ["Opus"])
        case Publish():
            connection.accept_publish(event.stream_id)
        case Play():
            connection.accept_play(event.stream_id)
        case _:
            pass


def drain(connection: ServerConnection | ClientConnection) -> list[Any]:
    """All events that the bytes so far give."""
    events: list[Any] = []
    while (event := connection.next_event()) is not None:
        events.append(event)
        if isinstance(connection, ServerConnection):
            decide(connection, event)
    return events


def feed(connection: ServerConnection | ClientConnection, pieces: Iterable[bytes]) -> list[Any]:
    """All events of `pieces`; a violation is the last one."""
    events: list[Any] = []
    for piece in pieces:
        connection.receive_data(piece)
        try:
            while (event := connection.next_event()) is not None:
                events.append(event)
                if isinstance(connection, ServerConnection):
                    decide(connection, event)
        except ProtocolViolation as error:
            return [*events, str(error)]
    return events


def wire(client: ClientConnection, peer: ServerConnection) -> tuple[list[Any], list[Any]]:
    """Carry bytes between two ends until both are quiet; what each told its session."""
    ours: list[Any] = []
    theirs: list[Any] = []
    while True:
        out, back = client.data_to_send(), peer.data_to_send()
        if not out and not back:
            return ours, theirs
        peer.receive_data(out)
        theirs += drain(peer)
        client.receive_data(back)
        ours += drain(client)
