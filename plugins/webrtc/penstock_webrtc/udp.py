"""The one UDP port of all peers: checks of ICE are told apart by the name that they carry, all else by its address."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

import structlog
from anyio.lowlevel import checkpoint

from penstock.errors import ProtocolViolation
from penstock.poller import Poller
from penstock.publisher import Publisher
from penstock.udp import send_run
from penstock_webrtc.ice import Address
from penstock_webrtc.stun import Attribute, StunMessage

BATCH = 64
"""Datagrams read before other tasks get their turn."""
MAX_DATAGRAM = 65_536

_log = structlog.get_logger("penstock")


class PortPeer(Protocol):
    """Who gets datagrams; what it raises ends the port, so that it raises nothing."""

    def check(self, message: StunMessage, address: Address, now: int) -> None: ...

    def handshake(self, data: bytes, address: Address, now: int) -> None: ...

    def media(self, data: bytes, now: int) -> Publisher | None:
        """Returns the publisher that has something to flush."""
        ...


class Port:
    """The socket, and whose datagrams are whose. What belongs to nobody is dropped, counted and never answered."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.number: int = sock.getsockname()[1]
        self.dropped = 0
        self._names: dict[bytes, PortPeer] = {}
        self._addresses: dict[Address, PortPeer] = {}

    def name(self, ufrag: str, peer: PortPeer) -> None:
        """Checks that are for `ufrag` are this peer's."""
        self._names[ufrag.encode()] = peer

    def unname(self, ufrag: str) -> None:
        self._names.pop(ufrag.encode(), None)

    def bind(self, address: Address, peer: PortPeer) -> None:
        """A check that knew the password came from `address`."""
        self._addresses[address] = peer

    def unbind(self, address: Address, peer: PortPeer) -> None:
        if self._addresses.get(address) is peer:
            del self._addresses[address]

    def send(self, datagrams: Sequence[bytes], address: Address) -> None:
        for data in datagrams:
            send_run(self.sock, (data, len(data)), address)

    async def run(self, poller: Poller) -> None:
        """Read until cancelled; what a batch brought is flushed to the readers at its end."""
        sock = self.sock
        while True:
            await poller.wait(sock)
            touched: dict[Publisher, None] = {}
            for _ in range(BATCH):
                try:
                    data, address = sock.recvfrom(MAX_DATAGRAM)
                except BlockingIOError:
                    break
                except OSError:
                    # What came back for something that was sent (port unreachable) says nothing of the others.
                    continue
                publisher = self.receive(data, address, time.monotonic_ns())
                if publisher is not None:
                    touched[publisher] = None
            await flush(touched)
            await checkpoint()

    def receive(self, data: bytes, address: Address, now: int) -> Publisher | None:
        """One datagram: what it is says its first byte (RFC 7983 7)."""
        first = data[0] if data else 255
        if 128 <= first < 192:
            peer = self._addresses.get(address)
            if peer is not None:
                return peer.media(data, now)
        elif 20 <= first < 64:
            peer = self._addresses.get(address)
            if peer is not None:
                peer.handshake(data, address, now)
                return None
        elif first < 4 and self._check(data, address, now):
            return None
        self.dropped += 1
        return None

    def _check(self, data: bytes, address: Address, now: int) -> bool:
        try:
            message = StunMessage.parse(data)
        except ProtocolViolation:
            return False
        # RFC 8445 7.2.2: the name of who is asked comes first.
        name = (message.get(Attribute.USERNAME) or b"").partition(b":")[0]
        peer = self._names.get(name)
        if peer is None:
            return False
        peer.check(message, address, now)
        return True


async def flush(publishers: Iterable[Publisher]) -> None:
    """Let the readers of each have what is due."""
    for publisher in publishers:
        try:
            await publisher.flush()
        except Exception:  # noqa: BLE001 - one session's bug must not end the port of all
            _log.exception("flush failed", session=publisher.session.id)
            publisher.session.kick("internal error")


_SIOCGIFCONF = 0x8912
_ENTRY = 40
"""sizeof(struct ifreq) on 64-bit Linux."""


def local_addresses() -> list[str]:
    """The addresses of this machine's interfaces, IPv4 first, without those that only it itself or its link can reach."""
    found = [a for a in _ipv4() if not a.startswith(("127.", "169.254."))]
    try:
        lines = Path("/proc/net/if_inet6").read_text().splitlines()
    except OSError:
        return found
    for line in lines:
        words = line.split()
        if len(words) >= 4 and words[3] == "00":  # global scope
            found.append(socket.inet_ntop(socket.AF_INET6, bytes.fromhex(words[0])))
    return found


def _ipv4() -> list[str]:
    try:
        import fcntl
    except ImportError:
        return [str(i[4][0]) for i in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)]
    import array

    buffer = array.array("B", bytes(128 * _ENTRY))
    where, size = buffer.buffer_info()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        answer = fcntl.ioctl(sock, _SIOCGIFCONF, struct.pack("iL", size, where))
    used: int = struct.unpack("iL", answer)[0]
    raw = buffer.tobytes()
    return list(dict.fromkeys(socket.inet_ntoa(raw[i + 20 : i + 24]) for i in range(0, used, _ENTRY)))
