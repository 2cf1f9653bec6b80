"""Many WHEP viewers in one process, for `bench.webrtc`: ``python -m bench.webrtc_viewers HTTP_PORT PATH NUMBER``.

Each is a peer of its own: it checks, shakes hands, reports each second, decrypts a sample of its packets and counts the
rest. For each line on standard input it says in JSON what all of them have had so far.
"""

from __future__ import annotations

import http.client
import json
import select
import socket
import sys
import time
from collections.abc import Callable

from attrs import define, field

from bench.clip import STAMP_ID
from penstock_formats.rtcp import ReceiverReport
from penstock_webrtc.dtls import Identity
from penstock_webrtc.server import make_identity
from tests.webrtc.client import Client

SAMPLE = 64
"""One packet in so many is decrypted."""
TIMED = 8
"""Viewers that are read at once, and decrypt everything: they time what has the time of sending in it."""
TICK = 0.01
"""The others are read this often, as `bench/c/players.c` does."""
REPORT_SECONDS = 1.0
CHECK_SECONDS = 2.5
"""As libwebrtc does."""
JOIN_SECONDS = 10.0
RECEIVE_BYTES = 2 << 20


@define
class Counts:
    """What has come to all viewers; `reports` are packets of RTCP."""

    connected: int = 0
    packets: int = 0
    bytes: int = 0
    lost: int = 0
    bad: int = 0
    reports: int = 0
    pictures: int = 0


@define(eq=False)
class Viewer:
    """One of them. `first` is when its first picture was whole, from its offer on, in ms."""

    counts: Counts
    client: Client
    timed: bool
    began: float
    first: float | None = None
    last: dict[int, int] = field(factory=dict[int, int])
    due_at: float = 0.0
    check_at: float = 0.0

    def read(self, buffer: bytearray, delays: list[float]) -> None:
        counts, receive, last = self.counts, self.client.sock.recv_into, self.last
        while True:
            try:
                size = receive(buffer)
            except BlockingIOError:
                return
            if buffer[0] < 128:
                continue
            kind = buffer[1]
            if 192 <= kind <= 223:
                counts.reports += 1
                continue
            counts.packets += 1
            counts.bytes += size
            number, source = buffer[2] << 8 | buffer[3], kind & 127
            step = number - last.get(source, number - 1) & 0xFFFF
            if step != 1:
                counts.lost += step - 1 if step < 0x8000 else -1
            if step < 0x8000:
                last[source] = number
            if kind == 224:  # the last packet of a picture, of type 96
                counts.pictures += 1
                if self.first is None:
                    self.first = (time.monotonic() - self.began) * 1000
            if self.timed or not counts.packets % SAMPLE:
                self._open(bytes(memoryview(buffer)[:size]), delays)

    def _open(self, data: bytes, delays: list[float]) -> None:
        assert self.client.srtp is not None
        plain = self.client.srtp.unprotect(data)
        if plain is None:
            self.counts.bad += 1
        elif (at := plain.find(STAMP_ID)) >= 0:
            sent = int(plain[at + len(STAMP_ID) : at + len(STAMP_ID) + 16], 16)
            delays.append((time.monotonic_ns() - sent) / 1e6)

    def report(self, now: float) -> None:
        """What a real one says now and then."""
        client = self.client
        if now >= self.due_at:
            self.due_at = now + REPORT_SECONDS
            client.send_rtcp(ReceiverReport(1))
        if now >= self.check_at:
            self.check_at = now + CHECK_SECONDS
            client.send(client.check())


def connect(
    client: Client, server: http.client.HTTPConnection, url: str, meanwhile: Callable[[], None]
) -> None:
    """Offer, check and shake hands."""
    server.request("POST", url, client.offer(), {"content-type": "application/sdp"})
    response = server.getresponse()
    body = response.read()
    if response.status != 201:
        raise SystemExit(f"{response.status} {body!r}")
    client.take(body)
    client.send(client.check())
    until = time.monotonic() + JOIN_SECONDS
    while client.srtp is None:
        if time.monotonic() > until:
            raise SystemExit("no handshake")
        if not client.receive():
            if client.checks and client.dtls is None:
                client.shake_hands()
            meanwhile()


class Crowd:
    """All of them, and the two sets that they are read by."""

    def __init__(self) -> None:
        self.counts = Counts()
        self.viewers: list[Viewer] = []
        self.delays: list[float] = []
        self._of: dict[int, Viewer] = {}
        self._timed, self._others = select.epoll(), select.epoll()
        self._buffer = bytearray(2048)
        self._tick_at = 0.0

    def add(self, viewer: Viewer) -> None:
        number = viewer.client.sock.fileno()
        self.viewers.append(viewer)
        self._of[number] = viewer
        (self._timed if viewer.timed else self._others).register(number, select.EPOLLIN)

    def turn(self) -> None:
        """Read what is there, for a tick at most."""
        now = time.monotonic()
        for number, _ in self._timed.poll(max(0.0, self._tick_at - now)):
            self._of[number].read(self._buffer, self.delays)
        now = time.monotonic()
        if now < self._tick_at:
            return
        self._tick_at = now + TICK
        for number, _ in self._others.poll(0):
            self._of[number].read(self._buffer, self.delays)
        for viewer in self.viewers:
            viewer.report(now)

    def join(self, server: http.client.HTTPConnection, path: str, identity: Identity) -> None:
        """One more."""
        client = Client(("H264/90000", "opus/48000/2"), identity=identity)
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        viewer = Viewer(self.counts, client, len(self.viewers) < TIMED, time.monotonic())
        connect(client, server, f"/{path}/whep", self.turn)
        self.counts.connected += 1
        self.add(viewer)


def main(port: int, path: str, number: int) -> None:
    crowd = Crowd()
    identity = make_identity()
    server = http.client.HTTPConnection("127.0.0.1", port, timeout=JOIN_SECONDS)
    for _ in range(number):
        crowd.join(server, path, identity)
    asked = select.poll()
    asked.register(sys.stdin, select.POLLIN)
    while True:
        crowd.turn()
        if asked.poll(0):
            if not sys.stdin.readline():
                return
            said = {name: getattr(crowd.counts, name) for name in Counts.__slots__ if name != "__weakref__"}
            said |= {"delays": crowd.delays, "cpu": time.process_time()}
            said |= {"first": [v.first for v in crowd.viewers if v.first is not None]}
            print(json.dumps(said), flush=True)
            crowd.delays = []


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
