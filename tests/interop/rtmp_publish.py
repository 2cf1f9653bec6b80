"""A small RTMP publisher that sends an FLV file with its timestamps moved, as a program: URL FILE OFFSET_MS
[omit].

FFmpeg writes 31 bits of timestamp and GStreamer starts at 0, so neither reaches the wrap at 2^32 ms.
Written apart from
penstock's own RTMP, on purpose. With ``omit`` continued chunks leave the extended timestamp out, as
librtmp's family reads
it; without, they repeat it, as the specification's 5.3.1.3 and FFmpeg have it.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

CHUNK = 4096


def main(url: str, path: Path, offset: int, *, omit: bool) -> None:
    host, _, rest = url.removeprefix("rtmp://").partition("/")
    name, _, port = host.partition(":")
    app, _, key = rest.partition("/")
    with socket.create_connection((name, int(port or 1935)), timeout=20) as peer:
        _handshake(peer)
        threading.Thread(target=_drain, args=(peer,), daemon=True).start()
        peer.sendall(_message(2, 1, 0, 0, struct.pack("!I", CHUNK), omit=omit))
        tc_url = f"rtmp://{host}/{app}"
        connect = (
            _string("connect") + _number(1) + _object({"app": app, "type": "nonprivate", "tcUrl": tc_url})
        )
        peer.sendall(_message(3, 20, 0, 0, connect, omit=omit))
        peer.sendall(_message(3, 20, 0, 0, _string("createStream") + _number(2) + b"\x05", omit=omit))
        # The replies are not parsed: time enough for them, and every server gives the first stream the id 1.
        time.sleep(0.5)
        publish = _string("publish") + _number(3) + b"\x05" + _string(key) + _string("live")
        peer.sendall(_message(3, 20, 1, 0, publish, omit=omit))
        time.sleep(0.3)
        start = time.monotonic()
        first: int | None = None
        for kind, timestamp, body in tags(path.read_bytes()):
            if kind == 18:
                continue
            first = timestamp if first is None else first
            time.sleep(max(0.0, start + (timestamp - first) / 1000 - time.monotonic()))
            stamp = (timestamp + offset) % 2**32
            peer.sendall(_message(4 if kind == 8 else 6, kind, 1, stamp, body, omit=omit))
        time.sleep(0.5)


def tags(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Kind, time in ms and body of each tag of an FLV file."""
    at = int.from_bytes(data[5:9], "big") + 4
    while at + 11 <= len(data):
        size = int.from_bytes(data[at + 1 : at + 4], "big")
        timestamp = data[at + 7] << 24 | int.from_bytes(data[at + 4 : at + 7], "big")
        yield data[at] & 31, timestamp, data[at + 11 : at + 11 + size]
        at += 11 + size + 4


def _message(channel: int, kind: int, stream: int, timestamp: int, body: bytes, *, omit: bool) -> bytes:
    extended = timestamp >= 0xFFFFFF
    field = 0xFFFFFF if extended else timestamp
    tail = struct.pack("!I", timestamp) if extended else b""
    head = bytes([channel]) + field.to_bytes(3, "big") + len(body).to_bytes(3, "big") + bytes([kind])
    out = [head + struct.pack("<I", stream) + tail + body[:CHUNK]]
    # The first message, Set Chunk Size, is shorter than any chunk size.
    for at in range(CHUNK, len(body), CHUNK):
        out.append(bytes([0xC0 | channel]) + (b"" if omit else tail) + body[at : at + CHUNK])
    return b"".join(out)


def _handshake(peer: socket.socket) -> None:
    mine = struct.pack("!II", 0, 0) + os.urandom(1528)
    peer.sendall(b"\x03" + mine)
    theirs = _exactly(peer, 1 + 1536)
    peer.sendall(theirs[1:])
    _exactly(peer, 1536)


def _exactly(peer: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = peer.recv(size - len(data))
        if not piece:
            raise ConnectionError("closed in the handshake")
        data += piece
    return data


def _drain(peer: socket.socket) -> None:
    try:
        while peer.recv(65536):
            pass
    except OSError:
        return


def _number(value: float) -> bytes:
    return b"\x00" + struct.pack("!d", value)


def _string(text: str) -> bytes:
    return b"\x02" + struct.pack("!H", len(text)) + text.encode()


def _object(members: dict[str, str]) -> bytes:
    body = b"".join(
        struct.pack("!H", len(key)) + key.encode() + _string(value) for key, value in members.items()
    )
    return b"\x03" + body + b"\x00\x00\x09"


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), omit="omit" in sys.argv[4:])
