"""Streams in segments: a publisher of pictures by their number, and what a viewer asks for."""

from __future__ import annotations

import re
import threading
import time
from functools import partial
from urllib.parse import urljoin

from . import rtmp
from .peer import Peer
from .rig import Rig
from .test_streams import start

PLAYLIST = "/live/{}/hls/ll-v{}.m3u8"
GOP = 20
"""Pictures, 100 ms apart, that a segment of `segmented` has."""


def frames(first: int, last: int, gop: int = GOP) -> bytes:
    """Pictures `first` to before `last`, 100 ms apart."""
    return b"".join(
        rtmp.video(rtmp.key_frame() if n % gop == 0 else rtmp.inter_frame(), n * 100)
        for n in range(first, last)
    )


def send_later(peer: Peer, data: bytes) -> None:
    """Once somebody has asked for the stream, so that it is cut into segments."""
    time.sleep(0.3)
    peer.send(data)


def get(peer: Peer, url: str, method: str = "GET") -> bytes:
    """The whole answer to one request on a connection of its own."""
    peer.send(f"{method} {url} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode())
    peer.closed_within(10)
    return peer.received


def playlist(port: int, name: str) -> tuple[str, int]:
    """The URL of a stream's playlist at the HTTP port, and the number of its last segment."""
    with Peer(port) as peer:
        answer = get(peer, f"/live/{name}.m3u8").decode()
    found = re.search(r"hls/ll-v(\d+)\.m3u8", answer)
    assert found, answer
    url = PLAYLIST.format(name, found[1])
    with Peer(port) as peer:
        answer = get(peer, url).decode()
    first = re.search(r"#EXT-X-MEDIA-SEQUENCE:(\d+)", answer)
    assert first, answer
    return url, int(first[1]) + answer.count("#EXTINF") - 1


def segmented(faults: Rig, publisher: Peer, name: str, pictures: bytes, number: int) -> list[str]:
    """The URLs of the first `number` segments of `pictures`, which follow picture 0 of a publisher that begins."""
    port = faults.server.ports["http"]
    start(publisher, name)
    publisher.send(frames(0, 1))
    later = threading.Thread(target=partial(send_later, publisher, pictures))
    later.start()
    url, _ = playlist(port, name)
    later.join()
    deadline = time.monotonic() + 10
    while True:
        with Peer(port) as peer:
            lines = get(peer, url).decode().splitlines()
        found = [urljoin(url, line) for line in lines if line.endswith(".m4s")]
        if len(found) >= number:
            return found
        assert time.monotonic() < deadline, lines
