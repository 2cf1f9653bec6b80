"""The two UDP sockets that a client has for one track."""

from __future__ import annotations

import socket

from attrs import define

from penstock import net
from penstock.errors import Closed
from penstock_rtsp.udp import Port, sockaddr

TRIES = 16


class NoUdp(Closed):
    """UDP will not do; TCP may."""


@define(eq=False)
class UdpPair:
    """The sockets of one track; `server` is where the peer's are."""

    rtp: Port
    rtcp: Port
    server: tuple[str, int, int] | None = None

    def open_ways(self) -> None:
        """Send the peer an empty RTP packet and an empty report: whatever is between then lets its own through."""
        if self.server is None:
            return
        host, rtp, rtcp = self.server
        for sock, number, data in (
            (self.rtp.sock, rtp, b"\x80" + bytes(11)),
            (self.rtcp.sock, rtcp, b"\x80\xc9\x00\x01" + bytes(4)),
        ):
            try:
                sock.sendto(data, sockaddr(sock, host, number))
            except OSError:
                pass

    def close(self) -> None:
        self.rtp.sock.close()
        self.rtcp.sock.close()


def bind_pair(local: str) -> UdpPair:
    """Two ports in a row, the first even, as many servers insist on. Raises `NoUdp`."""
    family = socket.AF_INET6 if ":" in local else socket.AF_INET
    for _ in range(TRIES):
        first = socket.socket(family, socket.SOCK_DGRAM)
        second = socket.socket(family, socket.SOCK_DGRAM)
        try:
            first.bind((local, 0))
            number = first.getsockname()[1] & ~1
            first.close()
            first = socket.socket(family, socket.SOCK_DGRAM)
            first.bind((local, number))
            second.bind((local, number + 1))
        except OSError:
            first.close()
            second.close()
            continue
        for sock in (first, second):
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, net.UDP_BUFFER)
        return UdpPair(Port(first), Port(second))
    raise NoUdp("no pair of UDP ports is free")
