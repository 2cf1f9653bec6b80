"""What comes to the port of media over TCP, and of TURN, under the contract of every parser."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from penstock.errors import ProtocolViolation
from penstock_webrtc.framing import MAX_HELD, Unframer, frame
from tests.contracts.case import ParserCase
from tests.contracts.cases_webrtc import request


def _framed(*packets: bytes) -> bytes:
    return b"".join(frame(packets))


def _unframer() -> tuple[Unframer, Callable[[bytes], list[bytes]]]:
    unframer = Unframer()

    def push(data: bytes) -> list[bytes]:
        unframer.receive_data(data)
        return list(iter(unframer.next_event, None))

    return unframer, push


def unframe(pieces: Iterable[bytes]) -> list[object]:
    """The packets of a connection, and how it ended."""
    unframer = Unframer()
    found: list[object] = []
    try:
        for piece in pieces:
            unframer.receive_data(piece)
            while (packet := unframer.next_event()) is not None:
                found.append(packet)
    except ProtocolViolation as violation:
        found.append(str(violation))
    return found


def parse_connection(data: bytes) -> list[bytes]:
    return _unframer()[1](data)


CONNECTIONS = [
    _framed(request(), b"", b"\x80" * 200, request()),
    request() + b"\x40\0\0\5hello\0\0\0" + request() + b"\x4f\xff\0\0" + b"\x50\0\0\0",
    b"GET / HTTP/1.1\r\n\r\n",
]

CASES = [
    ParserCase(
        "tcp framing",
        parse_connection,
        CONNECTIONS,
        ["penstock_webrtc.framing"],
        feed=unframe,
        fresh=_unframer,
        limit=2 * MAX_HELD,
    ),
]
