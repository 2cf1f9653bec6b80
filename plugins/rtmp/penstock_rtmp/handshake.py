"""The handshake of both sides (RTMP 1.0, 5.2), simple and with digest. Time and randomness are arguments."""

from __future__ import annotations

from penstock.errors import ProtocolViolation
from penstock_rtmp import digest

VERSION = 3
SIZE = 1536
RANDOM_SIZE = 2 * SIZE
"""Random bytes that a handshake wants."""
CLAUSE = "RTMP 5.2"
SERVER_VERSION = b"\x04\x05\x00\x01"
CLIENT_VERSION = b"\x09\x00\x7c\x02"
"""What FFmpeg says; below 9.0.124 some servers take no H.264."""

_MISTAKES = {
    b"\x16": "a TLS handshake on a plain RTMP port: use rtmp:// or the RTMPS port",
    b"GET ": "an HTTP request on an RTMP port",
    b"POST": "an HTTP request on an RTMP port",
    b"PUT ": "an HTTP request on an RTMP port",
    b"HEAD": "an HTTP request on an RTMP port",
    b"OPTI": "an RTSP or HTTP request on an RTMP port",
    b"DESC": "an RTSP request on an RTMP port",
    b"ANNO": "an RTSP request on an RTMP port",
    b"SSH-": "an SSH client on an RTMP port",
}


class _Handshake:
    """What both sides have in common: bytes wait in `_buffer` until a step has all of its own."""

    __slots__ = ("_buffer", "_out", "_random", "_time", "done")

    def __init__(self, random: bytes, time_ms: int) -> None:
        if len(random) < RANDOM_SIZE:
            raise ValueError(f"the handshake needs {RANDOM_SIZE} random bytes")
        self._random = random
        self._time = (time_ms & 0xFFFFFFFF).to_bytes(4, "big")
        self._buffer = bytearray()
        self._out = b""
        self.done = False

    def data_to_send(self) -> bytes:
        out, self._out = self._out, b""
        return out

    def rest(self) -> bytes:
        """What came after the handshake; to be asked once, when it is done."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return rest

    def _take(self, size: int) -> bytes:
        piece = bytes(self._buffer[:size])
        del self._buffer[:size]
        return piece


class ServerHandshake(_Handshake):
    """The server's side: answers C0 and C1, lets any C2 pass."""

    __slots__ = ("_answered",)

    def __init__(self, random: bytes, time_ms: int) -> None:
        super().__init__(random, time_ms)
        self._answered = False

    def receive_data(self, data: bytes) -> None:
        """Take bytes until `done`. Raises `ProtocolViolation`; the reply to it is in `data_to_send()`."""
        self._buffer += data
        if not self._answered:
            if self._buffer and self._buffer[0] != VERSION:
                self._refuse()
            if len(self._buffer) < 1 + SIZE:
                return
            self._answered = True
            self._answer(self._take(1 + SIZE)[1:])
        if len(self._buffer) >= SIZE:
            # C2 should echo S1; so many clients send something else there that nothing is gained by looking.
            self._take(SIZE)
            self.done = True

    def _refuse(self) -> None:
        first = self._buffer[0]
        if first in (0x0D, 0x0A) or 0x41 <= first <= 0x5A:
            if len(self._buffer) < 4:
                return  # the name of the mistake is worth three more bytes
            known = _MISTAKES.get(bytes(self._buffer[:4]), "text on an RTMP port")
            if "HTTP" in known:
                self._out = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
            raise ProtocolViolation(known, CLAUSE)
        if first == 0x16:
            raise ProtocolViolation(_MISTAKES[b"\x16"], CLAUSE)
        if first < 32:
            self._out = bytes((VERSION,))  # RTMP 5.2.2: a server that knows not the version answers with 3
        raise ProtocolViolation(f"RTMP version {first} is not {VERSION}", CLAUSE)

    def _answer(self, c1: bytes) -> None:
        own = self._random[: SIZE - 8]
        found = digest.find(c1, digest.PLAYER_KEY) if any(c1[4:8]) else None
        if found is None:
            s1 = self._time + bytes(4) + own
            s2 = c1[:4] + self._time + c1[8:]
        else:
            block, theirs = found
            s1 = digest.sign(self._time + SERVER_VERSION + own, block, digest.SERVER_KEY)
            s2 = digest.answer(self._random[SIZE:], theirs, digest.SERVER_KEY)
        self._out = bytes((VERSION,)) + s1 + s2


class ClientHandshake(_Handshake):
    """The client's side: begins at once, with a digest that servers without digests take for random bytes."""

    __slots__ = ("_replied",)

    def __init__(self, random: bytes, time_ms: int) -> None:
        super().__init__(random, time_ms)
        self._replied = False
        c1 = self._time + CLIENT_VERSION + random[: SIZE - 8]
        self._out = bytes((VERSION,)) + digest.sign(c1, digest.BLOCKS[0], digest.PLAYER_KEY)

    def receive_data(self, data: bytes) -> None:
        """Take bytes until `done`. Raises `ProtocolViolation`."""
        self._buffer += data
        if not self._replied:
            if self._buffer and self._buffer[0] != VERSION:
                raise ProtocolViolation(
                    f"the server's RTMP version {self._buffer[0]} is not {VERSION}", CLAUSE
                )
            if len(self._buffer) < 1 + SIZE:
                return
            self._replied = True
            s1 = self._take(1 + SIZE)[1:]
            found = digest.find(s1, digest.SERVER_KEY) if any(s1[4:8]) else None
            if found is None:
                self._out += s1[:4] + self._time + s1[8:]
            else:
                self._out += digest.answer(self._random[SIZE:], found[1], digest.PLAYER_KEY)
        if len(self._buffer) >= SIZE:
            self._take(SIZE)
            self.done = True
