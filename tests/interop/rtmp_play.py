"""A small RTMP player as a program: URL FILE; it announces Enhanced RTMP with multitrack, which no other player does yet.

The tags go to an FLV file as they come, so that FFmpeg is who says what they mean.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from pathlib import Path
from urllib.parse import urlsplit

from penstock_rtmp.chunk import Message
from penstock_rtmp.client_connection import ClientConnection, Target
from penstock_rtmp.event import Ended, Rejected
from penstock_rtmp.handshake import RANDOM_SIZE

HEADER = b"FLV\x01\x05\x00\x00\x00\x09\x00\x00\x00\x00"


def main(url: str, path: Path) -> None:
    parts = urlsplit(url)
    app, _, name = parts.path.strip("/").rpartition("/")
    tc_url = f"rtmp://{parts.netloc}/{app}"
    rtmp = ClientConnection(Target(app, tc_url, name, False, ["*"], ["*"]), os.urandom(RANDOM_SIZE), 0)
    address = parts.hostname or "", parts.port or 1935
    with socket.create_connection(address, timeout=20) as peer, path.open("wb", buffering=0) as out:
        out.write(HEADER)
        peer.sendall(rtmp.data_to_send())
        while data := peer.recv(1 << 16):
            rtmp.receive_data(data)
            while (event := rtmp.next_event()) is not None:
                if isinstance(event, Message):
                    out.write(tag(event))
                elif isinstance(event, Rejected):
                    raise SystemExit(f"refused: {event.code} {event.description}")
                elif isinstance(event, Ended):
                    return
            peer.sendall(rtmp.data_to_send())


def tag(message: Message) -> bytes:
    """A message as a tag of an FLV file (FLV E.4.1)."""
    body, time = message.payload, message.timestamp
    head = bytes([message.type]) + len(body).to_bytes(3, "big") + (time & 0xFFFFFF).to_bytes(3, "big")
    return head + bytes([time >> 24 & 0xFF]) + bytes(3) + body + struct.pack(">I", 11 + len(body))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
