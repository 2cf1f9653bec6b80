"""Peers of WebRTC that do as they are told: they publish or play, and may be wrong at any step."""

from __future__ import annotations

import itertools
import select
import time
from collections.abc import Callable
from contextlib import closing
from http.client import HTTPConnection, HTTPResponse
from threading import Event, Lock, Thread
from types import TracebackType
from typing import Any, Self

from penstock_codecs.vp8.rtp import Vp8Packetizer
from tests.webrtc.client import VP8, Client
from tests.webrtc.test_simulcast import Layer
from tests.webrtc.test_whip import Encoder

from .peer import own_address
from .server import FaultServer

LIMIT = 5.0
CHECKED = 50
"""A player shows that it is there once in so many pictures."""
KEY = b"\x10\x00\x00\x9d\x01\x2a\x10\x00\x10\x00"
"""What a key frame of VP8 of 16 by 16 begins with; nothing looks at the rest."""
_paths = itertools.count()


def ask(
    server: FaultServer, method: str, url: str, body: bytes = b"", source: str | None = None, **headers: str
) -> tuple[HTTPResponse, bytes]:
    """One request at the HTTP port, and its answer."""
    port = server.ports["http"]
    with closing(
        HTTPConnection("127.0.0.1", port, timeout=LIMIT, source_address=(source or own_address(), 0))
    ) as link:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        link.request(method, url, body, {"content-type": "application/sdp", **named})
        response = link.getresponse()
        return response, response.read()


class WebrtcPeer:
    """A peer; `client` has its socket and what it has received."""

    def __init__(self, server: FaultServer, path: str, what: str, **changes: Any) -> None:
        self.server = server
        self.path, self.what = path, what
        changes.setdefault("codings", (VP8,))
        self.client = Client(**changes)
        self.resource = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.resource:
            ask(self.server, "DELETE", self.resource)
        self.client.sock.close()

    def offer(self) -> None:
        """Ask, and read the answer."""
        response, body = ask(self.server, "POST", f"/{self.path}/{self.what}", self.client.offer())
        assert response.status == 201, body
        self.resource = response.headers["location"]
        self.client.take(body)

    def check(self) -> None:
        """Show that we know the password."""
        self.client.send(self.client.check())
        self.until(lambda: self.client.checks)

    def connect(self) -> Self:
        """All that media needs."""
        self.offer()
        self.check()
        self.client.shake_hands()
        self.until(lambda: self.client.srtp)
        return self

    def until(self, true: Callable[[], object], seconds: float = LIMIT) -> None:
        """Take what comes until something holds."""
        deadline = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < deadline, "it does not come to it"
            if not self.client.receive():
                select.select([self.client.sock], [], [], 0.02)

    def plays(self) -> None:
        """Wait for media, where none has come yet."""
        self.until(lambda: self.client.packets)

    def drain(self, seconds: float) -> None:
        """Take what comes for so long."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if not self.client.receive():
                select.select([self.client.sock], [], [], 0.01)

    def hears(self, seconds: float = 0.1) -> list[bytes]:
        """What comes until nothing has come for so long, as it is; of media, which do not end, ten times as long."""
        found: list[bytes] = []
        deadline = time.monotonic() + 10 * seconds
        while time.monotonic() < deadline and select.select([self.client.sock], [], [], seconds)[0]:
            found.append(self.client.sock.recv(65_536))
        return found

    def rtcp(self, data: bytes) -> None:
        """Send bytes as RTCP of ours."""
        assert self.client.srtp is not None
        self.client.send(self.client.srtp.protect_rtcp(data))

    def rtp(self, data: bytes) -> None:
        """Send bytes as RTP of ours."""
        assert self.client.srtp is not None
        self.client.send(self.client.srtp.protect(data))

    @property
    def ended(self) -> bool:
        """Whether the server has no such session any more."""
        return ask(self.server, "PATCH", self.resource, content_type="text/plain")[0].status == 404


class Broadcast:
    """A publisher that sends a picture each 40 ms, and a player: `goes_on` shows that the one still reaches the other."""

    def __init__(self, server: FaultServer, **changes: Any) -> None:
        self.path = f"faults/webrtc{next(_paths)}"
        self.publisher = WebrtcPeer(server, self.path, "whip", direction="sendonly", **changes)
        self.player = WebrtcPeer(server, self.path, "whep")
        self.encoder = Encoder(self.publisher.client, Vp8Packetizer(1160))
        self.size = 40
        """Bytes of a picture beside its name."""
        self.lock = Lock()
        """Held while something is sent as the publisher."""
        self._number = 0
        self._ended = Event()
        self._thread = Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self.publisher.connect()
        self._thread.start()
        self.player.connect()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        self.player.__exit__(kind, error, trace)
        self.publisher.__exit__(kind, error, trace)

    def _run(self) -> None:
        while not self._ended.wait(0.04):
            with self.lock:
                self._number += 1
                picture = KEY + b"picture %08d" % self._number + bytes(self.size)
                for packet in self.packets(picture, self._number / 25):
                    self.publisher.client.send(packet)
                while self.publisher.client.receive():
                    pass
                if self._number % CHECKED == 0:
                    self.player.client.send(self.player.client.check())

    def packets(self, picture: bytes, at: float) -> list[bytes]:
        """Those of a picture."""
        return self.encoder.frame(picture, at)

    def goes_on(self) -> None:
        """A picture that is sent from now on reaches the player: where numbers were jumped over, not the first."""
        first, client = self._number, self.player.client
        deadline = time.monotonic() + LIMIT
        client.packets.clear()
        while time.monotonic() < deadline:
            self.player.drain(0.02)
            got = b"".join(packet.payload for packet in client.packets)
            if any(b"picture %08d" % number in got for number in range(first + 1, self._number + 1)):
                return
        raise AssertionError("no picture reaches the player any more")


class Simulcast(Broadcast):
    """A publisher that sends each picture twice: viewers get the layer that their link carries."""

    def __init__(self, server: FaultServer) -> None:
        super().__init__(server, layers=("q", "full"))
        self.layers = [Layer(self.publisher.client, name, ssrc) for name, ssrc in ((b"q", 11), (b"full", 12))]

    def packets(self, picture: bytes, at: float) -> list[bytes]:
        large = picture[:6] + b"\x20\0\x20\0" + picture[10:] + bytes(2000)
        small, full = self.layers
        return [*small.frame(picture, at), *full.frame(large, at)]
