"""How one peer's packets travel: in channels of its connection, or between the shared UDP ports and its own."""

from __future__ import annotations

import time
from typing import Any

from attrs import define, field

from penstock.sink import ByteSink
from penstock_rtsp.connection import Refusal
from penstock_rtsp.message import interleaved_header
from penstock_rtsp.multicast import Multicast
from penstock_rtsp.transport import Lower, Mode, Pair, Transport
from penstock_rtsp.udp import Ports, Receive

PROFILES = ("AVP", "AVPF")
"""With AVPF (RFC 4585) a peer may send feedback sooner and in more kinds: what is not known of it is passed over."""


@define(eq=False)
class Channels:
    """The channels of one session by track number; `ports` and `multicast` are None where it may have no UDP."""

    host: str
    ports: Ports | None
    multicast: Multicast | None
    interleaved: dict[int, Pair] = field(factory=dict[int, Pair])
    datagrams: list[tuple[int, Any, Any]] = field(factory=list[tuple[int, Any, Any]])
    """Track number with the peer's addresses for RTP and RTCP."""
    alive: float = field(factory=time.monotonic)
    """Monotonic seconds of the peer's last sign of life."""

    def choose(self, transports: tuple[Transport, ...], mode: Mode) -> Transport:
        """The first of the peer's alternatives that can be had. Raises `Refusal` 461 where there is none."""
        for t in transports:
            if t.profile not in PROFILES or (t.mode is not None and t.mode is not mode):
                continue
            if t.lower is Lower.TCP:
                return t
            if t.multicast:
                if mode is Mode.PLAY and self.multicast is not None:
                    return t
            elif self.ports is not None and t.client_port is not None:
                return t
        raise Refusal(461)

    def interleave(self, track: int, transport: Transport, number: int) -> Pair:
        """Channels for a track: those that the peer wants, or the next ones that are free. Raises `Refusal` 461."""
        used = {c for pair in self.interleaved.values() for c in pair}
        pair = transport.interleaved or (2 * number, 2 * number + 1)
        while used & set(pair):
            pair = (pair[0] + 2, pair[0] + 3)
        if pair[1] > 255 or pair[1] != pair[0] + 1:
            raise Refusal(461)
        self.interleaved[track] = pair
        return pair

    def open(self, track: int, chosen: Transport, rtp: Receive, rtcp: Receive) -> tuple[Any, Any, Transport]:
        """Let both shared ports know the peer's; its two addresses, and what it is told.

        T9: never an address other than that of this connection. Raises `Refusal` 461.
        """
        ports, pair = self.ports, chosen.client_port
        if ports is None or pair is None:
            raise Refusal(461)
        first = ports.rtp.add(self.host, pair[0], rtp)
        if first is None:
            raise Refusal(461)
        second = ports.rtcp.add(self.host, pair[1], rtcp)
        if second is None:
            ports.rtp.remove(first)
            raise Refusal(461)
        self.datagrams.append((track, first, second))
        server_port = (ports.rtp.number, ports.rtcp.number)
        return first, second, Transport(profile=chosen.profile, client_port=pair, server_port=server_port)

    def show_life(self, now: int) -> None:
        """The peer reported at `now` (monotonic ns)."""
        self.alive = now / 1e9

    def report(self, track: int, data: bytes, sink: ByteSink) -> None:
        """Send RTCP about a track to the peer."""
        if track in self.interleaved:
            sink.control(interleaved_header(self.interleaved[track][1], len(data)) + data)
        for number, _, rtcp in self.datagrams:
            if number == track and self.ports is not None:
                try:
                    self.ports.rtcp.sock.sendto(data, rtcp)
                except OSError:
                    pass

    def close(self) -> None:
        """Forget the peer's addresses at the shared ports."""
        for _, rtp, rtcp in self.datagrams:
            if self.ports is not None:
                self.ports.rtp.remove(rtp)
                self.ports.rtcp.remove(rtcp)
        self.datagrams.clear()
