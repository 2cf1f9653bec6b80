"""RTMP as bytes, written apart from Penstock's own, so that whatever is wrong can be said."""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from penstock_formats.amf import amf0 as amf0

from .peer import Peer

C1 = bytes(8) + os.urandom(1528)
HELLO = b"\x03" + C1
AVCC = bytes.fromhex("0164000cffe1001a6764000cacd941419f9f011000000300100000030320f142996001000568ef839cb0")
CONFIG_TAG = b"\x17\x00\x00\x00\x00" + AVCC
ASC_TAG = b"\xaf\x00\x11\x90"


def chunk(fmt: int, csid: int, header: bytes = b"", data: bytes = b"", form: int = 0) -> bytes:
    """A chunk; `form` is the number of bytes of the basic header where it is not the shortest."""
    form = form or (1 if csid < 64 else 2 if csid < 320 else 3)
    match form:
        case 1:
            basic = bytes([fmt << 6 | csid])
        case 2:
            basic = bytes([fmt << 6, csid - 64])
        case _:
            basic = bytes([fmt << 6 | 1]) + struct.pack("<H", csid - 64)
    return basic + header + data


def head(kind: int, size: int, stream: int = 0, timestamp: int = 0) -> bytes:
    """The message header of a type 0 chunk."""
    return timestamp.to_bytes(3, "big") + size.to_bytes(3, "big") + bytes([kind]) + struct.pack("<I", stream)


def message(
    kind: int,
    body: bytes,
    *,
    stream: int = 0,
    timestamp: int = 0,
    csid: int = 3,
    size: int = 128,
    form: int = 0,
) -> bytes:
    """A whole message in chunks of `size`."""
    field = min(timestamp, 0xFFFFFF)
    extended = struct.pack(">I", timestamp) if field == 0xFFFFFF else b""
    out = [chunk(0, csid, head(kind, len(body), stream, field) + extended, body[:size], form)]
    for at in range(size, len(body), size):
        out.append(chunk(3, csid, extended, body[at : at + size], form))
    return b"".join(out)


def command(name: str, transaction: float, *values: Any, stream: int = 0, **options: Any) -> bytes:
    return message(20, amf0.encode(name, transaction, *values), stream=stream, **options)


def set_chunk_size(size: int) -> bytes:
    return message(1, struct.pack(">I", size), csid=2)


def user_control(event: int, value: int = 0) -> bytes:
    return message(4, struct.pack(">HI", event, value), csid=2)


CONNECT = command("connect", 1.0, {"app": "live", "tcUrl": "rtmp://127.0.0.1/live", "type": "nonprivate"})
CREATE_STREAM = command("createStream", 2.0, None)


def publish(name: str, stream: int = 1) -> bytes:
    return command("publish", 3.0, None, name, "live", stream=stream)


def play(name: str, stream: int = 1) -> bytes:
    return command("play", 4.0, None, name, -2000.0, stream=stream)


def shake(peer: Peer) -> None:
    """A handshake as it should be."""
    peer.send(HELLO)
    answer = peer.exactly(1 + 2 * 1536)
    peer.send(answer[1:1537])
    peer.received = b""


def connected(peer: Peer) -> None:
    """Handshake and connect."""
    shake(peer)
    peer.send(CONNECT)
    peer.until(b"NetConnection.Connect.Success")


def publishing(peer: Peer, name: str, *, tags: bool = True) -> None:
    """Up to where media may be sent on stream 1; with `tags` the configs of picture and sound are."""
    connected(peer)
    peer.send(CREATE_STREAM + publish(name))
    peer.until(b"NetStream.Publish.Start")
    if tags:
        peer.send(video(CONFIG_TAG) + audio(ASC_TAG))


def playing(peer: Peer, name: str) -> None:
    connected(peer)
    peer.send(CREATE_STREAM + play(name))
    peer.until(b"NetStream.Play.Start")


def video(body: bytes, timestamp: int = 0, stream: int = 1, **options: Any) -> bytes:
    return message(9, body, stream=stream, timestamp=timestamp, **{"csid": 6, **options})


def audio(body: bytes, timestamp: int = 0, stream: int = 1, **options: Any) -> bytes:
    return message(8, body, stream=stream, timestamp=timestamp, **{"csid": 4, **options})


def script(*values: Any, stream: int = 1) -> bytes:
    return message(18, amf0.encode(*values), stream=stream, csid=5)


def key_frame(marker: bytes = b"", size: int = 100) -> bytes:
    """A video tag with one IDR slice in it that bears `marker`."""
    nal = b"\x65\x88" + marker + b"x" * size
    return b"\x17\x01\x00\x00\x00" + struct.pack(">I", len(nal)) + nal


def inter_frame(marker: bytes = b"", size: int = 100) -> bytes:
    nal = b"\x41\x9a" + marker + b"x" * size
    return b"\x27\x01\x00\x00\x00" + struct.pack(">I", len(nal)) + nal


def sound(size: int = 20) -> bytes:
    return b"\xaf\x01" + b"\x21" + b"s" * size


@contextmanager
def feeding(peer: Peer) -> Generator[None]:
    """2 MB/s from a publisher until the end of the block: pictures of 50 kB, a key frame each second."""
    stop = threading.Event()
    peer.send(set_chunk_size(65_536))

    def feed() -> None:
        number = 0
        while not stop.wait(0.025):
            frame = inter_frame if number % 40 else key_frame
            peer.send(video(frame(size=50_000), number * 25, size=65_536))
            number += 1

    feeder = threading.Thread(target=feed)
    feeder.start()
    try:
        yield
    finally:
        stop.set()
        feeder.join()
