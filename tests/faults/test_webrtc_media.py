"""Faults of RTP and RTCP within SRTP, beside a canary: rows P1 to P9 of the list of bad inputs.

The same parsers as for RTSP, whose tests are in test_rtp.py, and what only WebRTC has: feedback, by which a peer asks for work.
"""

from __future__ import annotations

import random
import re
import struct
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
from pylibsrtp import Error

from penstock_formats.rtcp import Nack, PictureLoss, ReceiverReport, encode_rtcp
from penstock_formats.rtp.packet import Extension, RtpPacket, extension_elements
from penstock_formats.transport_cc import TransportFeedback
from penstock_webrtc.retransmission import ALLOWANCE, SHARE

from .rig import Rig, rig
from .server import MIB, PROBED
from .test_crowd import STALL_SHARE
from .test_rtp import CUT
from .webrtc import Broadcast, Simulcast, WebrtcPeer

PICTURE, REPAIR = 11, 33
FLOOD_SECONDS = 2.0
FLOOD_EACH = 20
"""Feedbacks each 10 ms."""
FLOOD_SHARE = 0.35
"""Of a core, for 1500 a second: 0.15 is what it takes. Were all of them read, it would be 0.6, and 95 ms at a stretch."""
NAMES = re.compile(rb"picture (\d{8})")


@pytest.fixture(scope="module")
def broadcast(faults: Rig) -> Iterator[Broadcast]:
    """A stream that goes on through all of it."""
    with Broadcast(faults.server) as running:
        running.goes_on()
        yield running


def compound(*packets: bytes) -> bytes:
    """RTCP packets with an empty report in front (RFC 3550 6.1)."""
    return encode_rtcp([ReceiverReport(1)]) + b"".join(packets)


def feedback(kind: int, form: int, body: bytes, *, length: int | None = None) -> bytes:
    size = len(body) // 4 if length is None else length
    return struct.pack("!BBH", 0x80 | form, kind, size & 0xFFFF) + body


def transport_number(packet: RtpPacket) -> int:
    """Of `packet` in its whole transport."""
    assert packet.extension is not None
    return next(
        int.from_bytes(value, "big") for name, value in extension_elements(packet.extension) if name == 3
    )


def test_P1_P2_P3_P5_packets_of_a_publisher_that_are_wrong(faults: Rig, broadcast: Broadcast) -> None:
    noise, publisher = random.Random(1), broadcast.publisher
    with faults.watched(rss=4 * MIB):
        for data in CUT.values():
            with suppress(Error), broadcast.lock:  # libsrtp refuses to encrypt some of it
                publisher.rtp(data)
        for number, (profile, body) in enumerate((
            (0xBEDE, b"\x00\x0f\x00\x00"), (0xBEDE, b"\x3f\x01\x02\x03"), (0xBEDE, b"\xf0\x01\x02\x03"),
            (0x1000, b"\x03\x00\x04\xff"), (0x1000, b"\x03\xff\x04\x00"), (0x1234, noise.randbytes(400)),
        )):  # fmt: skip
            packet = RtpPacket(96, False, number, 5, 99, b"x", (), Extension(profile, body))
            with broadcast.lock:
                publisher.rtp(packet.encode())
        broadcast.goes_on()
        # Numbers that jump: half a circle is more than what is held back.
        for step in (100, 20_000, 32_000):
            with broadcast.lock:
                broadcast.encoder.sequence += step
            broadcast.goes_on()
        for number in range(300):
            packet = RtpPacket(60, True, number, 5, 2000 + number, b"of a coding that was not agreed on")
            with broadcast.lock:
                publisher.rtp(packet.encode())
        broadcast.goes_on()


def test_P6_P7_compounds_of_any_kind(faults: Rig, broadcast: Broadcast) -> None:
    noise = random.Random(7)
    report = struct.pack("!BBHIQIII", 0x80, 200, 6, PICTURE, 0, 0, 1, 1)
    bad = [
        b"\x80\xc8\x00\x01abcd", b"\x9f\xc9\x00\x01abcd", b"\x80\xc9\xff\xffabcd", b"\x80\xc9\x00\x00" * 200,
        compound(b"\x9f\xcb\x00\x01abcd"), compound(b"\x9f\xcb\x00\x00"), compound(b"\x81\xca\x00\x01abcd"),
        compound(b"\x80\xcf\x00\x01abcd", b"\x80\xcc\x00\x02abcdefgh"), compound(*[b"\x80\xc9\x00\x01abcd"] * 150),
        compound(struct.pack("!BBHIQIII", 0x80, 200, 6, PICTURE, (1 << 64) - 1, 0xFFFFFFFF, 1, 1)),
        compound(report), compound(b"\x81\xcb\x00\x01" + struct.pack("!I", 12345)),
    ]  # fmt: skip
    with faults.watched():
        for peer in (broadcast.publisher, broadcast.player):
            for data in bad:
                peer.rtcp(data)
            for _ in range(100):
                peer.rtcp(
                    b"\x80" + bytes([noise.randrange(192, 224)]) + noise.randbytes(noise.randrange(6, 300))
                )
        broadcast.goes_on()


def test_P8_floods_of_requests_are_answered_within_a_budget(faults: Rig, broadcast: Broadcast) -> None:
    with faults.watched(), WebrtcPeer(faults.server, broadcast.path, "whep", rtx=True) as viewer:
        viewer.connect()
        broadcast.size = 20_000
        viewer.drain(0.8)
        broadcast.size = 40
        client = viewer.client
        first = client.of(96)[0]
        media = sum(len(p.payload) for p in client.of(96))
        # All 65,536 numbers, in compounds of as many as there is room for, again and again.
        pairs = [struct.pack("!HH", number, 0xFFFF) for number in range(0, 65_536, 17)]
        asked = [b"".join(pairs[at : at + 250]) for at in range(0, len(pairs), 250)]
        client.packets.clear()
        client.raw.clear()
        for _ in range(10):
            for body in asked:
                viewer.rtcp(compound(feedback(205, 1, struct.pack("!II", 1, first.ssrc) + body)))
            viewer.drain(0.005)
        viewer.rtcp(encode_rtcp([ReceiverReport(1), Nack.of(1, 4711, [1, 2, 3])]))
        viewer.drain(0.1)
        again = sum(len(p.payload) for p in client.of(97))
        assert 0 < again <= ALLOWANCE + media / SHARE + 20_000
        broadcast.goes_on()


def test_P8_a_publisher_is_asked_for_one_key_frame_a_second(faults: Rig, broadcast: Broadcast) -> None:
    publisher, viewer = broadcast.publisher, broadcast.player
    source = viewer.client.of(96)[0].ssrc
    with faults.watched():
        publisher.client.reports.clear()
        loss = encode_rtcp([ReceiverReport(1), PictureLoss(1, source)])
        intra = compound(feedback(206, 4, struct.pack("!IIIB3x", 1, 0, source, 1)))
        began = time.monotonic()
        while time.monotonic() - began < 1.2:
            for _ in range(20):
                viewer.rtcp(loss)
                viewer.rtcp(intra)
            time.sleep(0.01)
        asked = [r for r in publisher.client.reports if isinstance(r, PictureLoss)]
        assert 1 <= len(asked) <= 2
        broadcast.goes_on()


def test_P9_estimates_and_feedback_that_say_more_than_there_is(faults: Rig, broadcast: Broadcast) -> None:
    noise = random.Random(9)
    remb = [
        feedback(206, 15, struct.pack("!II4sB3s", 1, 0, b"REMB", count, b"\xff\xff\xff") + bytes(4 * had))
        for count, had in ((255, 0), (255, 255), (0, 0), (1, 0), (1, 1))
    ]
    remb += [
        feedback(206, 15, struct.pack("!II4s", 1, 0, b"REMB")),
        feedback(206, 15, bytes(8)),
        feedback(206, 15, b""),
    ]
    head = struct.pack("!II", 1, 2)
    # Run lengths of 8191 of each symbol, the reserved one as well; counts beyond the chunks, and bases that jump.
    twcc = [
        feedback(
            205, 15, head + struct.pack("!HHI", base, count, 1 << 8) + chunk * chunks + bytes(-2 * chunks % 4)
        )
        for base in (0, 1, 0x7FFF, 0xFFFF)
        for count in (0, 1, 0xFFFF)
        for chunk in (b"\x1f\xff", b"\x3f\xff", b"\x5f\xff", b"\x7f\xff", b"\xff\xff", b"\xbf\xff")
        for chunks in (0, 1, 2, 300)
    ]
    twcc += [feedback(205, 15, head + noise.randbytes(4 * size)) for size in range(2, 60)]
    with faults.watched():
        spent = faults.server.cpu
        for peer in (broadcast.publisher, broadcast.player):
            with broadcast.lock:
                for body in (*remb, *twcc):
                    peer.rtcp(compound(body))
                for size in (4, 8, 12, 16, 18, 19):
                    peer.rtcp(compound(twcc[-1][:size]))
        broadcast.goes_on()
        assert faults.server.cpu - spent < 1.5


@pytest.fixture(scope="module")
def probed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with rig(tmp_path_factory.mktemp("probed"), program=PROBED) as running:
        yield running


def test_P9_a_flood_of_feedback_takes_no_more_than_its_share(probed: Rig) -> None:
    """Each has no fault, and as much work in it as there can be: 4096 packets, of which as many came as there is room to say."""
    server = probed.server
    with probed.watched(rss=4 * MIB), Simulcast(server) as broadcast:
        broadcast.goes_on()
        with WebrtcPeer(server, broadcast.path, "whep", rtx=True) as viewer:
            viewer.connect()
            viewer.plays()
            number = transport_number(viewer.client.packets[-1])
            broadcast.player.drain(0.05)
            broadcast.player.client.packets.clear()
            server.probe()
            # They say in turn that all is well, and that next to nothing comes any more.
            told = [
                TransportFeedback(number - 4095 & 0xFFFF, 0, 0, (*(None,) * 3000, *(step,) * 1096)).encode(
                    1, 2
                )
                for step in (0, 250)
            ]
            flood = [compound(encode_rtcp([each])) for each in told]
            spent, began, sent = server.cpu, time.monotonic(), 0
            while time.monotonic() - began < FLOOD_SECONDS:
                for _ in range(FLOOD_EACH):
                    sent += 1
                    viewer.rtcp(flood[sent % 2])
                viewer.drain(0.01)
            elapsed = time.monotonic() - began
            longest, total = server.probe()
            cpu = server.cpu - spent
            broadcast.player.drain(0.1)
            got = b"".join(packet.payload for packet in broadcast.player.client.packets)
            assert len(set(NAMES.findall(got))) > 0.95 * 25 * FLOOD_SECONDS
            assert longest < total * STALL_SHARE, f"{longest * 1000:.0f} ms of {total:.2f} s at a stretch"
            assert cpu < elapsed * FLOOD_SHARE, f"{cpu:.2f} s of {elapsed:.2f} for {sent}"
            # It is played to all the same.
            viewer.client.packets.clear()
            viewer.plays()
