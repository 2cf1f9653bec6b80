"""Faults of TURN beside a canary: rows N1 to N3 of the list of bad inputs."""

from __future__ import annotations

import http.client
import re
import select
import socket
import time
from collections.abc import Iterator
from random import Random

import pytest

from penstock_webrtc.allocation import channel_data
from penstock_webrtc.framing import Unframer
from penstock_webrtc.stun import Attribute, Kind, StunMessage
from penstock_webrtc.turn import ALLOCATE, CONNECT, MAX_ANSWERS
from tests.webrtc.turn import UDP, Peer, TurnClient, code, lifetime, relayed

from .peer import own_address
from .rig import Rig

STRANGERS = (
    "0.0.0.0", "127.0.0.2", "127.255.255.254", "10.0.0.1", "172.16.0.1", "172.31.255.254", "192.168.1.1", "169.254.169.254",
    "100.64.0.1", "100.127.255.254", "224.0.0.1", "239.255.255.250", "255.255.255.255", "8.8.8.8", "::", "::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "fc00::1", "fe80::1", "ff02::1", "2001:4860:4860::8888",
)  # fmt: skip
"""None of them is the server's media port; most are what nobody outside should reach through it."""


class TurnPeer:
    """A client with credentials of its own, over UDP or TCP."""

    def __init__(self, faults: Rig, transport: str) -> None:
        name, password = credentials(faults)
        self.client = TurnClient(name, password, Random(1))
        self.media = ("127.0.0.1", faults.server.ports["webrtc"])
        kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
        self.sock = socket.socket(socket.AF_INET, kind)
        self.sock.bind((own_address(), 0))
        self.sock.connect(("127.0.0.1", faults.server.ports["webrtc-turn"]))
        self._unframer = Unframer() if transport == "tcp" else None
        self.client.learn(self.ask(self.client.request(ALLOCATE, UDP, signed=False)))

    def __enter__(self) -> TurnPeer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.sock.close()

    def next(self, seconds: float = 2.0) -> bytes | None:
        """What comes next, None where nothing does."""
        if self._unframer is not None and (found := self._unframer.next_event()) is not None:
            return found
        while select.select([self.sock], [], [], seconds)[0]:
            data = self.sock.recv(65_536)
            if self._unframer is None or not data:
                return data
            self._unframer.receive_data(data)
            if (found := self._unframer.next_event()) is not None:
                return found
        return None

    def ask(self, data: bytes) -> bytes:
        self.sock.sendall(data)
        answer = self.next()
        assert answer
        return answer

    def allocate(self) -> Peer:
        return relayed(self.ask(self.client.allocate()))

    def code(self, data: bytes) -> int:
        return code(self.ask(data))

    def reaches(self, data: bytes) -> bool:
        """Whether the media port gets `data`, a check of ICE that it knows no name of, which it never answers."""
        self.sock.sendall(data)
        return self.next(0.1) is not None


def credentials(faults: Rig) -> tuple[str, str]:
    """What the server gives to who asks, to play or to publish."""
    asked = http.client.HTTPConnection("127.0.0.1", faults.server.ports["http"], timeout=5)
    asked.request("OPTIONS", "/live/one/whep")
    links = asked.getresponse().getheader("link") or ""
    asked.close()
    found = re.search(r'<turn:127\.0\.0\.1:(\d+)\?.*?username="([^"]+)"; credential="([^"]+)"', links)
    assert found is not None, links
    assert int(found[1]) == faults.server.ports["webrtc-turn"] == faults.server.ports["webrtc-tcp"]
    return found[2], found[3]


@pytest.fixture(params=["udp", "tcp"])
def peer(request: pytest.FixtureRequest, faults: Rig) -> Iterator[TurnPeer]:
    with faults.watched(), TurnPeer(faults, request.param) as made:
        yield made


def test_N1_every_other_peer_is_refused(peer: TurnPeer) -> None:
    own = peer.allocate()
    client = peer.client
    for number, host in enumerate(STRANGERS):
        stranger = (host, peer.media[1])
        assert peer.code(client.permit(stranger)) == 403, host
        assert peer.code(client.permit(peer.media, stranger)) == 403, host
        assert peer.code(client.bind(0x4000 + number, stranger)) == 403, host
        assert peer.code(client.to_peers(CONNECT, stranger)) == 403, host
    for port in (1, 22, 53, 80, peer.sock.getpeername()[1], own[1], 65_535):
        assert peer.code(client.bind(0x4000, (peer.media[0], port))) == 403, port
    assert peer.code(client.permit(peer.media)) == 0


def test_N1_nothing_leaves_for_another_port_of_ours(peer: TurnPeer) -> None:
    """A permission is for a host: what is sent to another port of it is dropped all the same."""
    peer.allocate()
    assert peer.code(peer.client.permit(peer.media)) == 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        for _ in range(20):
            peer.sock.sendall(peer.client.send(other.getsockname(), b"hello"))
            peer.sock.sendall(peer.client.send(("127.0.0.2", peer.media[1]), b"hello"))
        assert peer.code(peer.client.bind(0x4000, peer.media)) == 0
        assert not select.select([other], [], [], 0)[0]
    # Its own media port is reached, and says nothing to who knows no password.
    check = StunMessage(Kind.REQUEST, 1, bytes(12), ((Attribute.USERNAME, b"nobody:x"),)).encode(b"key")
    assert not peer.reaches(peer.client.send(peer.media, check))
    assert not peer.reaches(channel_data(0x4000, check))


def test_N2_channel_data_and_channels_that_are_none(peer: TurnPeer, faults: Rig) -> None:
    peer.allocate()
    client = peer.client
    for number in (0, 1, 0x3FFF, 0x5000, 0x7FFF, 0xFFFF):
        assert peer.code(client.bind(number, peer.media)) == 400, number
    assert peer.code(client.bind(0x4FFF, peer.media)) == 0
    noise = Random(1)
    if peer.sock.type == socket.SOCK_DGRAM:
        for data in (b"\x40", b"\x40\0\0", b"\x4f\xff\0\5abcd", b"\x4f\xff\xff\xff", b"\x7f\xff\0\0", b""):
            peer.sock.sendall(data)
        for size in (1, 19, 20, 100, 1400):
            peer.sock.sendall(noise.randbytes(size))
    for data in (b"", b"x", bytes(1200)):
        peer.sock.sendall(channel_data(0x4000, data))
        peer.sock.sendall(channel_data(0x4FFF, data))
    assert lifetime(peer.ask(client.refresh(600))) == 600
    if peer.sock.type == socket.SOCK_STREAM:
        peer.sock.sendall(b"\x60\0\0\0")
        assert peer.next() == b""
        line = faults.line("{}:{}".format(*peer.sock.getsockname()))
        assert "neither a STUN message nor ChannelData" in str(line["reason"])


def test_N2_another_user_does_not_refresh(peer: TurnPeer, faults: Rig) -> None:
    peer.allocate()
    mine = peer.client
    name, password = credentials(faults)
    assert name != mine.name
    other = TurnClient(name, password, Random(2), mine.realm, mine.nonce)
    for asked in (
        other.refresh(0),
        other.refresh(600),
        other.permit(peer.media),
        other.bind(0x4000, peer.media),
    ):
        assert peer.code(asked) == 441
    unsigned = StunMessage.parse(mine.refresh(0))
    assert (
        peer.code(StunMessage(unsigned.kind, unsigned.method, bytes(12), unsigned.attributes).encode()) == 401
    )
    assert peer.code(mine.permit(peer.media)) == 0


def test_N3_a_flood_without_credentials(faults: Rig) -> None:
    """One address gets few answers in a second, however much is asked in its name; nothing is kept of thousands."""
    where = ("127.0.0.1", faults.server.ports["webrtc-turn"])
    asked = TurnClient("x", "y", Random(1)).request(ALLOCATE, UDP, signed=False)
    with faults.watched(), TurnPeer(faults, "udp") as peer:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as victim:
            victim.bind((own_address(), 0))
            began = time.monotonic()
            for number in range(3000):
                victim.sendto(asked, where)
                if number % 50 == 49:
                    time.sleep(0.002)
            answers = 0
            while select.select([victim], [], [], 0.2)[0]:
                answers += 1
                assert code(victim.recv(2048)) == 401
            assert 0 < answers <= MAX_ANSWERS * (2 + int(time.monotonic() - began))
        for _ in range(3000):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.bind((own_address(), 0))
                sock.sendto(asked, where)
        # Who is known goes on.
        peer.allocate()


def test_N3_a_connection_that_gets_no_allocation_is_closed(faults: Rig) -> None:
    with faults.watched(), TurnPeer(faults, "tcp") as peer:
        began = time.monotonic()
        peer.sock.sendall(b"\0\3\0\x08\x21\x12\xa4\x42")
        assert peer.next(5.0) == b""
        assert time.monotonic() - began < 4
