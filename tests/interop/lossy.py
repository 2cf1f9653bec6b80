"""A link that loses data packets of SRT: a relay of datagrams in a thread, in front of a server."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager

from attrs import define, field

EACH = 12
"""Of so many data packets of either way one is lost, also of those that are sent again: 8 %. They are counted apart, so that
it is always the same ones of a publisher's: what is lost just before it leaves, it does not send again."""


@define
class Lossy:
    """`port` is where it listens, `lost` what it has dropped, `carried` all that came from who calls."""

    port: int
    lost: int = 0
    carried: list[bytes] = field(factory=list[bytes])


def _is_data(datagram: bytes) -> bool:
    return len(datagram) > 188 and not datagram[0] & 0x80


@contextmanager
def lossy(server: str, each: int = EACH) -> Generator[Lossy]:
    """In front of ``srt://127.0.0.1:port``; nothing is lost where `each` is 0."""
    to = ("127.0.0.1", int(server.rpartition(":")[2]))
    front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    front.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2 << 20)
    front.bind(("127.0.0.1", 0))
    link = Lossy(front.getsockname()[1])
    backs: dict[tuple[str, int], socket.socket] = {}
    peers: dict[socket.socket, tuple[str, int]] = {}
    over = threading.Event()

    def run() -> None:
        counts = [0, 0]
        while not over.is_set():
            for sock in select.select([front, *peers], [], [], 0.05)[0]:
                data, address = sock.recvfrom(2048)
                if sock is front and address not in backs:
                    back = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                    back.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2 << 20)
                    back.connect(to)
                    backs[address], peers[back] = back, address
                if sock is front:
                    link.carried.append(data)
                counts[sock is front] += _is_data(data)
                if each and _is_data(data) and counts[sock is front] % each == 0:
                    link.lost += 1
                elif sock is front:
                    backs[address].send(data)
                else:
                    front.sendto(data, peers[sock])

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield link
    finally:
        over.set()
        thread.join()
        for sock in (front, *peers):
            sock.close()
