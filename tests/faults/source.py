"""A publisher over RTSP whose packets are as wrong as they are told to be, and a player that sees what of them arrives."""

from __future__ import annotations

import itertools
import socket
import time
from collections.abc import Callable
from types import TracebackType

from penstock_formats.rtp.packet import RtpPacket

from .rig import Rig
from .rtsp import IDR, SSRC, Client, interleaved, rtp

FRAME_TICKS = 3600
"""Of a 90 kHz clock: 25 pictures a second."""


def picture(text: bytes) -> bytes:
    """A payload with one key frame of H.264 in it that bears `text`."""
    return IDR + text + b"x" * 40


class Source:
    """One track, over TCP or UDP: `packet` and `rtcp` send bytes as they are, `frame` the next packet as it should be."""

    def __init__(
        self, faults: Rig, media: str, *, udp: bool = False, whole: Callable[[bytes], bytes] = picture
    ) -> None:
        self.faults = faults
        self.client = Client(faults.peer("rtsp"))
        self.whole = whole
        """Makes a payload of one key frame that bears a text."""
        self.sequence = 0
        self.timestamp = 0
        self.ssrc = SSRC
        self._player: Client | None = None
        self._numbers = itertools.count()
        self._sockets: tuple[socket.socket, socket.socket] | None = None
        try:
            if udp:
                self._sockets = self.client.record_udp(media)[0]
            else:
                self.client.record(media)
        except BaseException:
            self.client.peer.sock.close()
            raise

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._player is not None:
            self._player.__exit__(kind, error, trace)
        self.client.__exit__(kind, error, trace)

    def packet(self, data: bytes) -> None:
        """Send `data` where RTP goes."""
        self._send(0, data)

    def rtcp(self, data: bytes) -> None:
        """Send `data` where RTCP goes."""
        self._send(1, data)

    def _send(self, channel: int, data: bytes) -> None:
        if self._sockets is None:
            assert self.client.peer.send(interleaved(channel, data)), "the server closed"
        else:
            port = self.faults.server.ports[("rtp", "rtcp")[channel]]
            self._sockets[channel].sendto(data, ("127.0.0.1", port))

    def next(self, payload: bytes, *, marker: bool = True, step: int = 1, ticks: int | None = None) -> bytes:
        """The packet that follows, with `payload` in it; after a marker a new frame begins."""
        data = rtp(self.sequence, self.timestamp, payload, ssrc=self.ssrc, marker=marker)
        self.sequence += step
        if marker:
            self.timestamp += FRAME_TICKS if ticks is None else ticks
        return data

    def payload(self, payload: bytes, **options: int | bool) -> None:
        """Send the packet that follows."""
        self.packet(self.next(payload, **options))  # type: ignore[arg-type]

    def frame(self, text: bytes = b"") -> None:
        """A whole key frame that bears `text`."""
        self.payload(self.whole(text))

    @property
    def player(self) -> Client:
        """Plays what is published, from now on or from its first use on."""
        if self._player is None:
            self._player = Client(self.faults.peer("rtsp"), self.client.path)
            self._player.play()
        return self._player

    def goes_on(self) -> None:
        """What is sent as it should be arrives: at the latest the third frame, as a new numbering takes two packets."""
        text = b"goes-on-%d." % next(self._numbers)
        if self._player is None:
            # PLAY waits for the first frame that there is.
            for _ in range(3):
                self.frame()
        player = self.player
        for _ in range(3):
            self.frame(text)
            time.sleep(0.002)
        self.until(text, player)

    def until(self, text: bytes, player: Client | None = None) -> list[RtpPacket]:
        """The packets that the player gets, up to the one with `text`."""
        player = player or self.player
        found: list[RtpPacket] = []
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            frame = player.frame(max(0.1, deadline - time.monotonic()))
            if frame[1] == 0:
                found.append(RtpPacket.parse(frame[4:]))
                if text in found[-1].payload:
                    return found
        raise AssertionError(f"{text!r} did not arrive")

    def leave(self) -> dict[str, object]:
        """Stop publishing; the line that the log has of it."""
        self.client.peer.end()
        self.client.peer.closed_within(5)
        return self.faults.line(self.client.peer)
