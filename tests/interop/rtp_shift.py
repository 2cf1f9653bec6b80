"""An RTSP proxy for publishers over TCP that moves RTP times and sequence numbers close to their wrap.

FFmpeg and GStreamer begin at a random RTP time, so a wrap within a short clip has to be brought about.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress

from attrs import define, field

SEQUENCE_START = 65_480
"""56 packets before the sequence wraps."""


@define
class Shift:
    """What is added on one RTP channel, fixed by the first time seen so that the wrap comes `lead` ticks
    later.
    """

    lead: int
    time: int | None = None
    sequence: int | None = None
    ssrc: bytes = b""

    def at(self, timestamp: int) -> int:
        if self.time is None:
            self.time = (2**32 - self.lead - timestamp) % 2**32
        return (timestamp + self.time) % 2**32

    def number(self, sequence: int) -> int:
        if self.sequence is None:
            self.sequence = (SEQUENCE_START - sequence) % 2**16
        return (sequence + self.sequence) % 2**16


@define
class Rewriter:
    """The publisher's bytes with shifted RTP and sender reports (RFC 2326 10.12 framing); all else unchanged.

    `leads` are the ticks before the wrap for each media in order: 2 s of its clock rate.
    """

    leads: tuple[int, ...]
    shifts: dict[int, Shift] = field(factory=dict[int, Shift])
    _pending: bytes = b""

    def feed(self, data: bytes) -> bytes:
        self._pending += data
        out: list[bytes] = []
        while self._pending:
            if self._pending[0] != 0x24:
                end = self._request_end()
                if end is None:
                    break
            else:
                if len(self._pending) < 4:
                    break
                end = 4 + int.from_bytes(self._pending[2:4], "big")
                if len(self._pending) < end:
                    break
            piece, self._pending = self._pending[:end], self._pending[end:]
            out.append(self._shifted(piece) if piece[0] == 0x24 else piece)
        return b"".join(out)

    def _request_end(self) -> int | None:
        head = self._pending.find(b"\r\n\r\n")
        if head < 0:
            return None
        length = 0
        for line in self._pending[:head].split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name.strip().lower() == b"content-length":
                length = int(value)
        end = head + 4 + length
        return end if len(self._pending) >= end else None

    def _shifted(self, piece: bytes) -> bytes:
        channel = piece[1]
        media = channel // 2
        shift = self.shifts.setdefault(media, Shift(self.leads[min(media, len(self.leads) - 1)]))
        packet = bytearray(piece)
        if channel % 2 == 0 and len(packet) >= 16:
            sequence, timestamp = struct.unpack_from("!HI", packet, 6)
            struct.pack_into("!HI", packet, 6, shift.number(sequence), shift.at(timestamp))
        elif channel % 2 == 1 and len(packet) >= 32 and packet[5] == 200:
            (timestamp,) = struct.unpack_from("!I", packet, 20)
            struct.pack_into("!I", packet, 20, shift.at(timestamp))
        return bytes(packet)


@define
class Tap(Rewriter):
    """Changes nothing; `packets` are what the publisher sent on RTP channels, each with its channel."""

    packets: list[tuple[int, bytes]] = field(factory=list[tuple[int, bytes]])

    def _shifted(self, piece: bytes) -> bytes:
        if piece[1] % 2 == 0:
            self.packets.append((piece[1], piece[4:]))
        return piece


@contextmanager
def shifting_proxy(host: str, port: int, leads: tuple[int, ...]) -> Generator[int]:
    """A proxy that shifts; yields its own port on loopback."""
    with proxy(host, port, Rewriter(leads)) as own:
        yield own


@contextmanager
def proxy(host: str, port: int, rewriter: Rewriter) -> Generator[int]:
    """A proxy for one connection to `host`:`port`; yields its own port on loopback."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(20)
    own: int = listener.getsockname()[1]
    sockets: list[socket.socket] = [listener]

    def serve() -> None:
        try:
            client, _ = listener.accept()
            upstream = socket.create_connection((host, port))
        except OSError:
            return
        sockets.extend((client, upstream))
        back = threading.Thread(target=_copy, args=(upstream, client, None), daemon=True)
        back.start()
        _copy(client, upstream, rewriter)
        back.join(5)

    worker = threading.Thread(target=serve, daemon=True)
    worker.start()
    try:
        yield own
    finally:
        for one in sockets:
            one.close()
        worker.join(5)


def _copy(source: socket.socket, target: socket.socket, rewriter: Rewriter | None) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(rewriter.feed(data) if rewriter else data)
    except OSError:
        pass
    # Whichever side ends, by reset or not, the other one is told.
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
