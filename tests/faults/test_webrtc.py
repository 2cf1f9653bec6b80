"""Faults of WebRTC beside a canary: rows W1 to W12 of the list of bad inputs.

Who does not know the password of an ICE session hears nothing; what is none of a peer's is dropped, and its stream goes on.
"""

from __future__ import annotations

import json
import random
import select
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID
from OpenSSL import SSL

from penstock_formats.rtcp import ReceiverReport, encode_rtcp
from penstock_webrtc.dtls import Dtls, Identity
from penstock_webrtc.ice import CONSENT_SECONDS
from penstock_webrtc.server import make_identity
from penstock_webrtc.srtp import Srtp
from penstock_webrtc.stun import Attribute

from .log import bugs
from .peer import own_address
from .rig import Rig
from .server import MIB, fault_server
from .webrtc import KEY, Broadcast, WebrtcPeer, ask

COOKIE = b"\x21\x12\xa4\x42"
HELLO = b"\x16\xfe\xfd"


@pytest.fixture(scope="module")
def broadcast(faults: Rig) -> Iterator[Broadcast]:
    """A stream that goes on through all of it."""
    with Broadcast(faults.server) as running:
        running.goes_on()
        yield running


@pytest.fixture(scope="module", autouse=True)
def silent(faults: Rig, broadcast: Broadcast) -> Iterator[tuple[WebrtcPeer, datetime]]:
    """Who plays, and says nothing any more from the first test on; since when."""
    with whep(faults, broadcast) as peer:
        peer.connect().plays()
        yield peer, datetime.now(UTC)


def whep(faults: Rig, broadcast: Broadcast, **changes: Any) -> WebrtcPeer:
    return WebrtcPeer(faults.server, broadcast.path, "whep", **changes)


def stun(body: bytes, *, kind: int = 1, length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return struct.pack("!HH", kind, size & 0xFFFF) + COOKIE + bytes(12) + body


def test_W1_messages_of_stun_that_are_none(faults: Rig, broadcast: Broadcast) -> None:
    with faults.watched(), whep(faults, broadcast) as peer:
        peer.offer()
        good = peer.client.check()
        bad = [good[:size] for size in (0, 1, 19, 20, 21, 23, len(good) - 1, len(good) - 4)]
        bad += [good + b"\0", good + bytes(4), stun(b"abc"), stun(b"abc", length=4), stun(b"", length=0xFFFF)]
        bad += [
            stun(struct.pack("!HH", number, size))
            for number in (6, 8, 0x20, 0x8028)
            for size in (1, 4, 0xFFFF)
        ]
        bad += [stun(struct.pack("!HH", number, 0)) for number in (6, 8, 0x20, 0x8028)]
        bad += [stun(struct.pack("!HH", 0x7000 + n, 0) * 100) for n in range(3)]
        bad += [
            stun(struct.pack("!HH", 6, 0), kind=kind) for kind in (0x0101, 0x0111, 0x0011, 0x3FFF, 0x4001)
        ]
        # The last four bytes are FINGERPRINT's.
        bad += [
            good[:-1] + bytes([good[-1] ^ 1]),
            good[:2] + struct.pack("!H", len(good) - 28) + good[4:-8] + b"x",
        ]
        for data in bad:
            peer.client.send(data)
        assert peer.hears() == []
        # A hundred that must be understood: of a signed check the first is told that it is not.
        peer.client.send(peer.client.check(*((0x7000 + n, b"") for n in range(100))))
        assert all(len(data) < 400 for data in peer.hears())
        peer.check()
        broadcast.goes_on()


def test_W2_who_does_not_know_the_password_hears_nothing(faults: Rig, broadcast: Broadcast) -> None:
    with faults.watched(), whep(faults, broadcast) as peer:
        peer.offer()
        client = peer.client
        assert client.remote is not None
        names = ("", ":", "nobody:x", client.remote.credentials.ufrag[:-1], "\xff" * 500)
        for name in names:
            client.send(client.check(name=name or " "))
        for key in (b"", b"wrong", client.credentials.password.encode()):
            client.send(client.check(key=key or b" "))
        unsigned = client.check()[:-32]
        client.send(unsigned[:2] + struct.pack("!H", len(unsigned) - 20) + unsigned[4:])
        twice = bytearray(client.check())
        twice[-9] ^= 1  # in MESSAGE-INTEGRITY
        client.send(bytes(twice))
        assert peer.hears() == []
        peer.check()


def test_W3_storms_of_roles_and_nominations(faults: Rig, broadcast: Broadcast) -> None:
    with faults.watched(), whep(faults, broadcast) as peer:
        peer.connect()
        client, sent = peer.client, 0
        for _ in range(300):
            request = client.check((Attribute.ICE_CONTROLLED, bytes(8)))
            sent += len(request)
            client.send(request)
        told: list[bytes] = [data for data in peer.hears() if data[0] < 4]
        assert told
        assert sum(map(len, told)) <= sent
        # Every other nomination is from another address; media goes by the last.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind((own_address(), 0))
            for _ in range(100):
                other.sendto(client.check(), client.server)
                client.send(client.check())
            # All are heard before there is something to send.
            peer.drain(0.3)
            client.packets.clear()
            broadcast.goes_on()
            peer.plays()
        # No more of its addresses are kept than a machine has.
        for _ in range(40):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
                one.bind((own_address(), 0))
                one.sendto(client.check(), client.server)
        client.send(client.check())
        peer.drain(0.3)
        client.packets.clear()
        broadcast.goes_on()
        peer.plays()


def test_W4_P13_what_comes_from_where_no_check_has_passed(faults: Rig, broadcast: Broadcast) -> None:
    with faults.watched(), whep(faults, broadcast) as peer:
        peer.offer()
        peer.client.shake_hands()
        assert peer.hears() == []
        peer.client.dtls = None
        peer.check()
        # Its password is known to somebody else's address by now, not to this one.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind((own_address(), 0))
            other.settimeout(0.1)
            hello = Dtls(peer.client.identity, (), client=True)
            hello.start()
            with broadcast.lock:
                media = broadcast.encoder.frame(KEY + b"a stranger", 1.0)
            for data in (*hello.datagrams(), *media):
                other.sendto(data, peer.client.server)
            with pytest.raises(TimeoutError):
                other.recv(2048)
        broadcast.goes_on()
        got = b"".join(p.payload for p in broadcast.player.client.packets)
        assert b"a stranger" not in got


def fragment(
    kind: int, length: int, sequence: int, offset: int, data: bytes, size: int | None = None
) -> bytes:
    """A record with a part of a handshake message (RFC 6347 4.2.2)."""
    part = len(data) if size is None else size
    message = bytes([kind]) + length.to_bytes(3, "big") + sequence.to_bytes(2, "big")
    message += offset.to_bytes(3, "big") + part.to_bytes(3, "big") + data
    return HELLO + bytes(8) + len(message).to_bytes(2, "big") + message


def test_W5_fragments_that_never_make_a_handshake(faults: Rig, broadcast: Broadcast) -> None:
    noise = random.Random(5)
    with faults.watched():
        for data in (
            fragment(1, (1 << 24) - 1, 0, 0, b"x" * 100),
            fragment(1, (1 << 24) - 1, 0, (1 << 24) - 2, b"x"),
            fragment(1, 200, 0, 100, b"x" * 100) + fragment(1, 200, 0, 50, b"x" * 100),
            fragment(1, 200, 0, 150, b"x" * 100),
            fragment(1, 200, 0xFFFF, 0, b"x" * 200),
            fragment(1, 200, 7, 0, b"x" * 100),
            fragment(1, 0, 0, 0, b""),
            fragment(99, 10, 0, 0, b"x" * 10),
            fragment(1, 100, 0, 0, b"x" * 100, 0xFFFFFF),
            HELLO + bytes(8) + b"\xff\xff" + bytes(60),
        ):
            with whep(faults, broadcast) as peer:
                peer.offer()
                peer.check()
                for _ in range(3):
                    peer.client.send(data)
                assert sum(map(len, peer.hears(0.02))) <= 3 * (len(data) + 100)
        with whep(faults, broadcast) as peer:
            # More than a handshake has: it is over long before the memory is.
            peer.offer()
            peer.check()
            for number in range(120):
                peer.client.send(fragment(1, 1 << 20, 0, 1000 * number, noise.randbytes(1000)))
            peer.until(lambda: peer.ended)
        half = [whep(faults, broadcast) for _ in range(40)]
        for one in half:
            one.offer()
            one.check()
            one.client.shake_hands()
        deadline = time.monotonic() + 5
        while not half[-1].ended:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        for one in half:
            one.__exit__(None, None, None)
        broadcast.goes_on()


class Handshake:
    """One as libwebrtc does it, of which one flight is lost `LOST` times, in a loop that has others beside it."""

    def __init__(self, peer: WebrtcPeer, lost: int) -> None:
        self.client = peer.client
        assert self.client.remote is not None
        self.dtls = Dtls(
            self.client.identity, self.client.remote.fingerprints, client=self.client.setup == "active"
        )
        self._mine = lost % 2 == (self.client.setup == "active")
        self._second = lost > 2
        # The last flight of a server is asked for by repeating what it answers, in new records: OpenSSL does so after 1 s.
        self._times = 1 if lost == 4 and self.client.setup == "active" else LOST
        self._flights = 0
        self._lost = 0
        self._flight: list[bytes] = []
        self._wait = self._due = 0.0
        self.dtls.start()
        self._next()

    @property
    def done(self) -> bool:
        return self.client.srtp is not None and self._lost == self._times

    def _next(self) -> None:
        if found := list(self.dtls.datagrams()):
            self._flight, self._wait, self._due = found, 0.05, 0.0
            self._flights += 1

    def step(self, now: float) -> None:
        """Send what is due, and take what came."""
        client = self.client
        if self.dtls.timeout == 0:
            self.dtls.handle_timeout()
            for data in self.dtls.datagrams():
                client.send(data)
        if self._flight and now >= self._due and not self.done:
            self._due, self._wait = now + self._wait, self._wait * 2
            if self._mine and self._lost < self._times and self._second == (self._flights == 2):
                self._lost += 1
            else:
                for data in self._flight:
                    client.send(data)
        while True:
            try:
                data = client.sock.recv(65_536)
            except BlockingIOError:
                return
            if not 20 <= data[0] < 64:
                continue
            if not self._mine and self._lost < self._times and self._is_lost(data):
                continue
            self.dtls.take(data)
            assert not self.dtls.failure, self.dtls.failure
            self._next()
            if self.dtls.keys is not None and client.srtp is None:
                client.dtls, client.srtp = self.dtls, Srtp(self.dtls.keys)
                self._due = 0.0

    def _is_lost(self, data: bytes) -> bool:
        """Whether a datagram is of the flight that is lost; each time that its first one comes is counted."""
        message = data[13] if data[0] == 22 and data[3:5] == b"\0\0" else 0
        # ClientHello, or ServerHello and what is before the second flight of a server.
        second = message not in ((2, 11, 12, 13, 14) if self.client.setup == "active" else (1,))
        if second != self._second:
            return False
        self._lost += message in (1, 2) or (second and message in (4, 11)) or (second and data[0] == 20)
        return self._lost <= self._times


LOST = 4


def test_W6_each_flight_is_lost_four_times(tmp_path: Path) -> None:
    with (
        fault_server(tmp_path, "server.handshake_timeout=5") as server,
        Broadcast(server) as broadcast,
        ExitStack() as stack,
    ):
        broadcast.goes_on()
        began = time.monotonic()
        peers: list[WebrtcPeer] = []
        running: list[Handshake] = []
        for setup in ("active", "passive"):
            for lost in (1, 2, 3, 4):
                peer = stack.enter_context(WebrtcPeer(server, broadcast.path, "whep", setup=setup))
                peer.offer()
                peer.check()
                peers.append(peer)
                running.append(Handshake(peer, lost))
        while not all(one.done for one in running):
            now = time.monotonic()
            assert now - began < 3.0, [(one.client.setup, one.done) for one in running]
            for one in running:
                one.step(now)
            time.sleep(0.002)
        broadcast.goes_on()
        for peer in peers:
            peer.plays()
        assert not bugs(server.raw_log())


def certificate(key: Any, size: int = 0) -> Identity:
    """An identity whose certificate is by `size` bytes larger than it need be."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "WebRTC")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(1), now + timedelta(1))
    if size:
        extension = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), bytes(size))
        builder = builder.add_extension(extension, critical=False)
    return Identity.of(builder.sign(key, SHA256()), key)


def test_W6_large_certificates(faults: Rig, broadcast: Broadcast) -> None:
    small = ec.generate_private_key(ec.SECP256R1())
    with faults.watched():
        for identity in (
            certificate(rsa.generate_private_key(65_537, 4096)),
            certificate(ec.generate_private_key(ec.SECP521R1())),
            certificate(small, 10_000),
        ):
            with whep(faults, broadcast, identity=identity) as peer:
                peer.connect()
                broadcast.goes_on()
                peer.plays()
        with whep(faults, broadcast, identity=certificate(small, 100_000)) as peer:
            # More than a handshake may have.
            peer.offer()
            peer.check()
            peer.client.shake_hands()
            peer.until(lambda: peer.ended)


def test_W6_handshakes_with_a_byte_changed_and_alerts_twice(faults: Rig, broadcast: Broadcast) -> None:
    noise = random.Random(6)
    with faults.watched():
        peers: list[WebrtcPeer] = []
        for number in range(24):
            peer = whep(faults, broadcast)
            peers.append(peer)
            peer.offer()
            peer.check()
            client = peer.client
            assert client.remote is not None
            client.dtls = Dtls(client.identity, client.remote.fingerprints, client=True)
            client.dtls.start()
            flight = client.dtls.datagrams()
            if number % 2:
                # The hello is right, and what answers the server's is not.
                for data in flight:
                    client.send(data)
                for data in peer.hears(0.03):
                    client.dtls.take(data)
                flight = client.dtls.datagrams()
            assert flight
            for data in flight:
                wrong = bytearray(data)
                # In the first message itself, behind the headers of record and message.
                wrong[noise.randrange(25, 13 + int.from_bytes(data[11:13], "big"))] ^= 1 << noise.randrange(8)
                client.send(bytes(wrong))
        # Nobody says more: a change that only the encryption shows is as good as a loss, and would be made good.
        deadline = time.monotonic() + 5
        while not all(peer.ended for peer in peers):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        for peer in peers:
            peer.client.sock.close()
        with whep(faults, broadcast) as peer:
            peer.connect()
            for level, what in ((2, 40), (1, 0), (2, 255)) * 3:
                # Whoever is not the peer can send what is not encrypted.
                peer.client.send(b"\x15\xfe\xfd" + bytes(8) + b"\0\2" + bytes((level, what)))
            broadcast.goes_on()
            peer.plays()
            assert peer.client.dtls is not None
            peer.client.dtls.close()
            for data in peer.client.dtls.datagrams():
                for _ in range(5):
                    peer.client.send(data)
            peer.until(lambda: peer.ended)


@pytest.mark.parametrize("proof", ["another certificate", "none"])
def test_W7_who_is_not_the_one_of_the_offer_gets_no_media(
    faults: Rig, broadcast: Broadcast, proof: str
) -> None:
    with faults.watched(), whep(faults, broadcast) as peer:
        peer.offer()
        if proof == "none":
            bare = SSL.Context(SSL.DTLS_METHOD)
            bare.set_tlsext_use_srtp(b"SRTP_AEAD_AES_128_GCM")
            peer.client.identity = Identity(bare, ("sha-256", bytes(32)))
        else:
            peer.client.identity = make_identity()
        peer.check()
        peer.client.shake_hands()
        peer.until(lambda: peer.ended)
        broadcast.goes_on()
        assert not peer.client.raw


def test_W7_data_that_is_not_encrypted(faults: Rig, broadcast: Broadcast) -> None:
    with faults.watched(), whep(faults, broadcast) as peer:
        peer.connect()
        for size in (0, 1, 100, 1400):
            peer.client.send(b"\x17\xfe\xfd" + bytes(8) + size.to_bytes(2, "big") + bytes(size))
            peer.client.send(b"\x17\xfe\xfd\0\1" + bytes(6) + size.to_bytes(2, "big") + bytes(size))
        broadcast.goes_on()
        peer.plays()


def test_W8_packets_that_srtp_does_not_open(faults: Rig, broadcast: Broadcast) -> None:
    with faults.watched(), whep(faults, broadcast) as peer:
        peer.connect()
        client = peer.client
        assert client.srtp is not None
        report = client.srtp.protect_rtcp(encode_rtcp([ReceiverReport(1)]))
        packet = client.srtp.protect(b"\x80\x60\0\1" + bytes(4) + b"\0\0\0\7" + bytes(50))
        bad = [report[:size] for size in range(4, len(report))] + [packet[:size] for size in range(2, 40)]
        # Behind each of the two an MKI that nobody agreed on, and once more the same.
        bad += [report + bytes(4), packet + bytes(4), packet, report, report]
        bad += [packet[:2] + struct.pack("!H", number) + packet[4:] for number in (0, 0x7FFF, 0x8001, 0xFFFF)]
        bad += [b"\x80\xc8" + bytes(size) for size in range(18, 26)]
        for data in bad:
            client.send(data)
        for data in bad[:60]:
            broadcast.publisher.client.send(data)
        broadcast.goes_on()
        peer.plays()


def test_W9_datagrams_of_no_range(faults: Rig, broadcast: Broadcast) -> None:
    noise = random.Random(9)
    with faults.watched(), whep(faults, broadcast) as peer:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.bind((own_address(), 0))
            stranger.settimeout(0.1)
            to = ("127.0.0.1", faults.server.ports["webrtc"])
            for first in range(256):
                for size in (0, 1, 19, 100):
                    stranger.sendto(bytes([first]) + noise.randbytes(size), to)
            for first in (0, 22, 64, 128, 200):
                stranger.sendto(bytes([first]) + bytes(65_506), to)
            stranger.sendto(b"", to)
            with pytest.raises(TimeoutError):
                stranger.recv(2048)
        peer.connect()
        for first in range(256):
            peer.client.send(bytes([first]))
            peer.client.send(bytes([first]) + noise.randbytes(60))
        for first in (0, 22, 64, 128, 200):
            peer.client.send(bytes([first]) + bytes(65_506))
        peer.client.send(b"")
        broadcast.goes_on()
        peer.plays()


def crc32c(data: bytes) -> int:
    """RFC 9260 appendix A."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


def sctp(*chunks: bytes, good: bool = True) -> bytes:
    head = struct.pack("!HHI", 5000, 5000, 7)
    body = b"".join(chunks)
    return head + struct.pack("<I", crc32c(head + bytes(4) + body) ^ (not good)) + body


def chunk(kind: int, value: bytes, flags: int = 3, length: int | None = None) -> bytes:
    size = 4 + len(value) if length is None else length
    return struct.pack("!BBH", kind, flags, size) + value + bytes(-len(value) % 4)


def data_chunk(stream: int, payload: bytes, protocol: int = 50, flags: int = 3, number: int = 1) -> bytes:
    return chunk(0, struct.pack("!IHHI", number, stream, 0, protocol) + payload, flags)


OPEN = struct.pack("!BBHIHH", 3, 0, 0, 0, 0xFFFF, 0)
"""RFC 8832 5.1, of a label of 64 KiB."""


def say(peer: WebrtcPeer, *packets: bytes) -> None:
    """Send as what is said within DTLS, where data channels are."""
    connection: SSL.Connection = getattr(peer.client.dtls, "_connection")  # noqa: B009
    for packet in packets:
        connection.send(packet)
        peer.client.flight()


def test_W10_W12_data_channels_that_are_not_there(faults: Rig, broadcast: Broadcast) -> None:
    with faults.watched(), whep(faults, broadcast) as peer:
        offer = peer.client.offer() + (
            b"m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:data\r\n"
            b"a=sctp-port:5000\r\na=max-message-size:262144\r\n"
        )
        response, body = ask(faults.server, "POST", f"/{broadcast.path}/whep", offer)
        assert response.status == 201, body
        assert b"m=application 0 " in body
        peer.resource = response.headers["location"]
        peer.client.take(body)
        peer.check()
        peer.client.shake_hands()
        peer.until(lambda: peer.client.srtp)
        peer.client.checks.clear()
        begin = chunk(1, struct.pack("!IIHHI", 1, 65_535, 65_535, 65_535, 1))
        say(peer, *([sctp(begin)] * 200))
        say(
            peer,
            sctp(chunk(1, b"", length=0)),
            sctp(chunk(0, b"", length=0) * 50),
            sctp(chunk(6, b"", length=0xFFFF)),
        )
        say(peer, sctp(begin, good=False), sctp(), b"\0" * 11, sctp(chunk(255, bytes(100))))
        # Parts of a message that never ends, on streams that nobody opened; what was there is forgotten, backwards.
        say(peer, *(sctp(data_chunk(65_535, bytes(1000), 51, 2 * (n == 0), n)) for n in range(64)))
        say(peer, *(sctp(chunk(192, struct.pack("!I", number))) for number in (9, 1, 0xFFFFFFFF, 0)))
        say(peer, *(sctp(data_chunk(stream, OPEN + bytes(900))) for stream in range(0, 65_535, 400)))
        say(peer, *(sctp(data_chunk(1, b"x", protocol)) for protocol in (0, 49, 52, 57, 0xFFFFFFFF)))
        broadcast.goes_on()
        peer.plays()
        assert not peer.ended


def test_W11_requests_that_are_refused(faults: Rig, broadcast: Broadcast) -> None:
    url = f"/{broadcast.path}/whep"
    with faults.watched(rss=2 * MIB), whep(faults, broadcast) as peer:
        offer = peer.client.offer()
        for body, status in (
            (b"v=0\r\n" + b"a=x\r\n" * (1 << 18), 413), (b"", 400), (b"\xff" * 1000, 400), (offer[:100], 400),
            (offer.replace(b"a=ice-pwd", b"a=x"), 400), (offer.replace(b"a=fingerprint", b"a=x"), 400),
            (offer.replace(b"RTP/SAVPF", b"RTP/AVP"), 422),
        ):  # fmt: skip
            assert ask(faults.server, "POST", url, body)[0].status == status, body[:200]
        for kind in ("text/plain", "application/json", "application/sdp2", ""):
            response, _ = ask(faults.server, "POST", url, offer, content_type=kind)
            assert (response.status, response.headers["accept-post"]) == (415, "application/sdp")
        peer.connect()
        fragment_of = b"a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\n"
        kind = "application/trickle-ice-sdpfrag"
        for headers, status in (
            ({}, 428), ({"if_match": '"stale"'}, 412), ({"if_match": "*", "content_type": "application/sdp"}, 415),
        ):  # fmt: skip
            named = {"content_type": kind, **headers}
            assert ask(faults.server, "PATCH", peer.resource, fragment_of, **named)[0].status == status
        response, _ = ask(
            faults.server, "PATCH", peer.resource, b"a=candidate:x\r\n" * 500, content_type=kind, if_match="*"
        )
        assert response.status == 400
        foreign = peer.resource[:-1] + ("0" if peer.resource[-1] != "0" else "1")
        for resource in (
            foreign,
            f"{url}/{'x' * 40}",
            f"/live/other/whep/{peer.resource.rpartition('/')[2]}",
        ):
            assert ask(faults.server, "DELETE", resource)[0].status in (404, 405)
        broadcast.goes_on()
        peer.plays()


def test_W11_offers_without_end_of_who_never_connects(faults: Rig, broadcast: Broadcast) -> None:
    host, url = own_address(), f"/{broadcast.path}/whep"
    with faults.watched(rss=8 * MIB), whep(faults, broadcast) as peer:
        offer = peer.client.offer()
        answers = [ask(faults.server, "POST", url, offer, host)[0].status for _ in range(100)]
        assert answers.count(201) >= 64
        assert answers[-1] == 503
        # They are gone at the handshake's timeout, and others were served all the time.
        peer.connect()
        deadline = time.monotonic() + 3
        while (last := ask(faults.server, "POST", url, offer, host)[0].status) != 201:
            assert time.monotonic() < deadline, last
            time.sleep(0.1)
        broadcast.goes_on()


def test_W3_who_says_no_more_that_it_wants_media_gets_none(
    faults: Rig, broadcast: Broadcast, silent: tuple[WebrtcPeer, datetime]
) -> None:
    """RFC 7675 5.1; the player of the broadcast says so now and then, and goes on."""
    peer, since = silent

    def ends() -> list[dict[str, Any]]:
        lines = (json.loads(raw) for raw in faults.server.raw_log() if b"no check of ICE in 30 s" in raw)
        return [line for line in lines if line["event"] == "session closed"]

    wait = CONSENT_SECONDS - (datetime.now(UTC) - since).total_seconds()
    time.sleep(max(0.0, wait - 2))
    deadline = time.monotonic() + 5
    while not ends():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    (line,) = ends()
    assert -0.5 < (datetime.fromisoformat(line["timestamp"]) - since).total_seconds() - CONSENT_SECONDS < 2
    while select.select([peer.client.sock], [], [], 0)[0]:
        peer.client.sock.recv(65_536)
    with faults.watched():
        assert peer.ended
        assert peer.hears(0.2) == []
        peer.client.send(peer.client.check())
        assert peer.hears(0.2) == []
        broadcast.goes_on()
    assert len(ends()) == 1
