"""What one pass of a feed sends to all its readers: what is the same for each of them is worked out once."""

from __future__ import annotations

import socket
from collections.abc import Sequence

from penstock.ring import Unit
from penstock.udp import Address, send_run, spans
from penstock_srt.packet import HEADER_SIZE


class Burst:
    """The payloads of `units`, which may not change; `size` is that of all."""

    def __init__(self, units: Sequence[Unit]) -> None:
        self.units = units
        self.payloads = units[0].payloads if len(units) == 1 else [p for unit in units for p in unit.payloads]
        sizes = list(map(len, self.payloads))
        self.size = sum(sizes)
        # Datagrams in pieces, in each message: each second one is a payload.
        self._messages: list[tuple[int, int, int, list[bytes]]] = []
        for first, end in spans([HEADER_SIZE + size for size in sizes]):
            pieces = [b""] * (2 * (end - first))
            pieces[1::2] = self.payloads[first:end]
            self._messages.append((first, end, sizes[first] + HEADER_SIZE, pieces))

    def send(
        self, sock: socket.socket, address: Address, headers: bytes, payloads: Sequence[bytes], longer: int
    ) -> None:
        """Send it to one reader, whose `headers` are back to back; its `payloads` may be what ours were encrypted to, each
        of them `longer` by so much.
        """
        # Each reader is here for each frame: its datagrams are copied once, into one message of equal segments.
        for first, end, size, pieces in self._messages:
            if payloads is not self.payloads:
                pieces = [b""] * (2 * (end - first))
                pieces[1::2] = payloads[first:end]
            pieces[::2] = [
                headers[at : at + HEADER_SIZE]
                for at in range(first * HEADER_SIZE, end * HEADER_SIZE, HEADER_SIZE)
            ]
            send_run(sock, (b"".join(pieces), size + longer), address)
