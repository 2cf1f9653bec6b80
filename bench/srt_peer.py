"""One end of an SRT connection on a UDP socket, as small as can be: what `bench.srt_loss` runs in a network namespace.

``python -m bench.srt_peer listen|call|meet HOST PORT send|receive`` sends numbered payloads at a pace, or counts those that come.
"""

from __future__ import annotations

import argparse
import json
import select
import socket
import sys
import time
from random import SystemRandom

from attrs import asdict

from penstock_srt.caller import Caller, Connected, Rejected
from penstock_srt.cipher import Mode
from penstock_srt.connection import Closed, Connection, Received
from penstock_srt.listener import Accepted, Listener, Requested
from penstock_srt.rendezvous import Rendezvous
from penstock_srt.settings import Settings

PAYLOAD = 1316


class Peer:
    """A socket and the handshake or the connection on it."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            self.sock.setsockopt(socket.SOL_SOCKET, option, 4 << 20)
        self.sock.setblocking(False)
        self.settings = Settings(
            latency=arguments.latency,
            peer_latency=arguments.latency,
            mode=Mode.GCM if arguments.gcm else Mode.CTR,
            refresh_packets=arguments.refresh,
            announce_packets=min(arguments.refresh // 3, 4000),
        )
        self.connection: Connection | None = None
        self.over = ""

    def connect(self) -> None:
        a, now = self.arguments, time.monotonic_ns()
        if a.role == "listen":
            self.sock.bind((a.host, a.port))
            print(f"listening {self.sock.getsockname()[1]}", flush=True)
            self.handshake: Listener | Caller | Rendezvous = Listener(self.settings, SystemRandom())
        elif a.role == "meet":
            self.sock.bind((a.bind, a.port))
            self.handshake = Rendezvous(
                self.settings, (a.host, a.port), a.streamid.encode(), a.passphrase, SystemRandom(), now
            )
        else:
            self.handshake = Caller(
                self.settings, (a.host, a.port), a.streamid.encode(), a.passphrase, SystemRandom(), now
            )
        while self.connection is None:
            self._wait(self.handshake.next_timeout(), 10_000_000)
            now = time.monotonic_ns()
            for data, addr in self._receive():
                self.handshake.receive_datagram(data, addr, now)
            self.handshake.handle_timeout(now)
            while (event := self.handshake.next_event()) is not None:
                match event:
                    case Requested(request):
                        request.accept(now, a.passphrase)
                    case Accepted(connection) | Connected(connection):
                        self.connection = connection
                    case Rejected(reason):
                        sys.exit(f"rejected for {reason}")
                    case _:
                        print(event, file=sys.stderr)
            for data, addr in self.handshake.datagrams_to_send(now):
                self.sock.sendto(data, addr)
        if a.role != "call":
            print("met", flush=True)

    def _receive(self) -> list[tuple[bytes, tuple[str, int]]]:
        found: list[tuple[bytes, tuple[str, int]]] = []
        try:
            while len(found) < 256:
                found.append(self.sock.recvfrom(2048))
        except BlockingIOError:
            pass
        return found

    def _wait(self, *times: int | None) -> None:
        now = time.monotonic_ns()
        soonest = min((t for t in times if t is not None), default=now)
        select.select([self.sock], [], [], max(0, min(soonest - now, 10_000_000)) / 1e9)

    def step(self, payloads: list[bytes], until: int | None = None) -> list[Received]:
        """Wait until something is to be done, or `until`; send, receive, return what is due."""
        connection = self.connection
        assert connection is not None
        out = connection.send(payloads, time.monotonic_ns())
        for data in out:
            self.sock.sendto(data, connection.address)
        self._wait(connection.next_timeout(), until)
        now = time.monotonic_ns()
        mine: list[bytes] = []
        for data, addr in self._receive():
            if data[12:16] == bytes(4):
                self.handshake.receive_datagram(data, addr, now)
                for answer, to in self.handshake.datagrams_to_send(now):
                    self.sock.sendto(answer, to)
            else:
                mine.append(data)
        if mine:
            connection.receive_datagrams(mine, now)
        due = connection.next_timeout()
        if due is not None and due <= now:
            connection.handle_timeout(now)
        for data in connection.datagrams_to_send(now):
            self.sock.sendto(data, connection.address)
        received: list[Received] = []
        while (event := connection.next_event()) is not None:
            match event:
                case Received():
                    received.append(event)
                case Closed(reason):
                    self.over = reason
        return received

    def finish(self, **found: object) -> None:
        connection = self.connection
        assert connection is not None
        connection.close("done")
        for data in connection.datagrams_to_send(time.monotonic_ns()):
            self.sock.sendto(data, connection.address)
        print(json.dumps({**found, "over": self.over, **asdict(connection.statistics)}), flush=True)


def numbered(number: int) -> bytes:
    """As large as seven packets of MPEG-TS, with its number."""
    return b"\x47" + number.to_bytes(8, "big") + bytes(PAYLOAD - 9)


def send(peer: Peer) -> None:
    """Payloads that begin with their number, at the pace asked for; or all of standard input as it comes."""
    a = peer.arguments
    began, number = time.monotonic_ns(), 0
    total = int(a.seconds * a.mbps * 1e6 / 8 / PAYLOAD)
    gap = int(1e9 * PAYLOAD * 8 / (a.mbps * 1e6))
    source = open(a.file, "rb") if a.file else None  # noqa: SIM115
    while not peer.over and number < total:
        due = min(total, (time.monotonic_ns() - began) // gap + 1)
        payloads: list[bytes] = []
        while number < due:
            if source is not None:
                payload = source.read(PAYLOAD)
                if not payload:
                    total = number
                    break
            else:
                payload = numbered(number)
            payloads.append(payload)
            number += 1
        peer.step(payloads, began + number * gap)
    end = time.monotonic_ns() + 1_000_000_000
    while not peer.over and time.monotonic_ns() < end:
        peer.step([], end)
    peer.finish(sent=number)


def receive(peer: Peer) -> None:
    count = dropped = 0
    sink = open(a.file, "wb") if (a := peer.arguments).file else None  # noqa: SIM115
    end = time.monotonic_ns() + int((a.seconds + 10) * 1e9)
    quiet = time.monotonic_ns() + 5_000_000_000
    while not peer.over and time.monotonic_ns() < min(end, quiet):
        for event in peer.step([]):
            quiet = time.monotonic_ns() + 2_000_000_000
            count += len(event.payloads)
            dropped += event.dropped
            if sink is not None:
                sink.writelines(event.payloads)
    if sink is not None:
        sink.close()
    peer.finish(received=count, dropped=dropped)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("role", choices=("listen", "call", "meet"))
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("action", choices=("send", "receive"))
    parser.add_argument("--bind", default="", help="where to meet the peer: an address of our own")
    parser.add_argument("--latency", type=int, default=120)
    parser.add_argument("--passphrase", default="")
    parser.add_argument("--gcm", action="store_true", help="AES-GCM, which libsrt has since 1.5.2")
    parser.add_argument("--refresh", type=int, default=1 << 24, help="packets of one key")
    parser.add_argument("--streamid", default="")
    parser.add_argument("--mbps", type=float, default=8.0)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--file", default="", help="what to send, or where to write what comes")
    peer = Peer(parser.parse_args())
    peer.connect()
    (send if peer.arguments.action == "send" else receive)(peer)


if __name__ == "__main__":
    main()
