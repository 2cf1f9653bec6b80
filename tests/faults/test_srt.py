"""Faults of SRT beside a canary: rows S1 to S12 and, sent over it, M1 to M4 of the list of bad inputs.

What is none of ours is dropped without an answer; what a connection cannot use is dropped, and the stream goes on.
"""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Iterator
from math import ceil

import pytest

from penstock_formats.mpegts.pmt import Pmt, PmtEntry
from penstock_srt.allowance import EACH
from penstock_srt.cipher import Mode
from penstock_srt.extension import Extensions, Group, Hello
from penstock_srt.handshake import HSREQ_FLAG, KMREQ_FLAG, MAGIC, Kind, RejectReason
from penstock_srt.key_material import KeyMaterial
from penstock_srt.packet import CONTROL, RETRANSMITTED, SOLO, ControlType, build_loss_list
from penstock_srt.rejection import Rejection

from .peer import own_address
from .rig import Rig
from .server import MIB
from .srt import Source, SrtPeer, answer, handshake, induction

HELLO = Hello(0x010501, 0xBF, 120, 120)
WORD = (1 << 32) - 1


def cookie(peer: SrtPeer) -> int:
    """The one that is this peer's."""
    peer.raw(induction())
    (data,) = peer.answers()
    return answer(data).cookie


def test_S1_datagrams_that_are_none(faults: Rig) -> None:
    with faults.watched(), Source(faults) as source, SrtPeer(faults) as stranger:
        source.goes_on()
        noise = random.Random(1)
        for size in (0, 1, 3, 4, 8, 12, 15, 16, 17, 20, 63, 64, 1500):
            stranger.raw(bytes(size))
            stranger.raw(b"\xff" * size)
            stranger.raw(noise.randbytes(size))
        for kind in (9, 0x1234, 0x7FFE, 0x7FFF):
            stranger.raw((CONTROL | kind << 16).to_bytes(4, "big") + bytes(60))
            source.control(kind)
            source.control(kind, WORD, noise.randbytes(400), 0xFFFF)
        for kind in ControlType:
            if kind not in (ControlType.SHUTDOWN, ControlType.PEER_ERROR):
                source.control(kind, body=b"", subtype=0xFFFF)
        source.raw(source.header(0, 0)[:15])
        assert stranger.answers() == []
        source.goes_on()


@pytest.mark.parametrize("version", [0, 3, 4, 5, 255, WORD])
@pytest.mark.parametrize("extension", [0, 2, 0xFFFF])
def test_S2_inductions_are_answered_by_as_much_and_kept_by_nobody(
    version: int, extension: int, faults: Rig
) -> None:
    with SrtPeer(faults) as peer:
        for wrong in (0, 1, WORD):
            asked = handshake(version=version, extension=extension, kind=Kind.INDUCTION, cookie=wrong)
            peer.raw(asked)
            (data,) = peer.answers()
            assert len(data) <= len(asked)
            assert (answer(data).version, answer(data).extension) == (5, MAGIC)
            assert answer(data).cookie not in (0, wrong)


def test_S3_conclusions_that_nobody_is_let_in_by(faults: Rig) -> None:
    extensions = Extensions(request=HELLO, stream_id=b"publish:live/s3").build()
    with faults.watched(), SrtPeer(faults) as peer, SrtPeer(faults) as other:
        own = cookie(peer)
        for wrong in (0, own ^ 1, cookie(other), WORD):
            peer.raw(handshake(cookie=wrong, extension=HSREQ_FLAG, extensions=extensions))
        assert peer.answers() == []
        # A cookie is of no use at another port.
        other.raw(handshake(cookie=own, extension=HSREQ_FLAG, extensions=extensions))
        assert other.answers() == []
        for changes in (
            {"mtu": 0}, {"mtu": 28}, {"window": 0}, {"socket_id": 0}, {"initial_sequence": WORD},
        ):  # fmt: skip
            asked = handshake(cookie=own, extension=HSREQ_FLAG, extensions=extensions, **changes)
            peer.raw(asked)
            for data in peer.answers():
                assert answer(data).refusal == RejectReason.ROGUE
                assert len(data) <= len(asked)


def _blocks(*blocks: tuple[int, bytes]) -> bytes:
    return b"".join(kind.to_bytes(2, "big") + (len(b) // 4).to_bytes(2, "big") + b for kind, b in blocks)


EXTENSIONS = {
    "none": b"",
    "a header cut": b"\0\1\0",
    "of no words": _blocks((1, b"")),
    "past the end": b"\0\1\0\xff" + HELLO.build(),
    "65,535 words": b"\0\5\xff\xff" + bytes(1000),
    "an unknown type alone": _blocks((0x1234, bytes(8))),
    "HSREQ twice": _blocks((1, HELLO.build()), (1, HELLO.build())),
    "HSREQ of a word": _blocks((1, bytes(4))),
    "a thousand": _blocks(*((0x100 + n, bytes(4)) for n in range(150))),
}


@pytest.mark.parametrize("name", EXTENSIONS)
def test_S4_extensions_that_cannot_be_read(name: str, faults: Rig) -> None:
    with SrtPeer(faults) as peer:
        asked = handshake(cookie=cookie(peer), extension=HSREQ_FLAG, extensions=EXTENSIONS[name])
        peer.raw(asked)
        (data,) = peer.answers()
        assert answer(data).refusal == RejectReason.ROGUE
        assert len(data) <= len(asked)


def test_S5_keys_that_are_none(faults: Rig) -> None:
    with faults.watched():
        for passphrase, path, reason in (
            ("0123456789abcdef", "plain", RejectReason.UNSECURE),
            ("", "secret/one", RejectReason.UNSECURE),
            ("another passphrase", "secret/one", RejectReason.BAD_SECRET),
        ):
            with SrtPeer(faults) as peer:
                assert peer.call(f"publish:{path}", passphrase) == reason
        with SrtPeer(faults) as peer:
            assert peer.call("publish:secret/one", "0123456789abcdef") == 0
        noise = random.Random(2)
        for size in (4, 16, 60, 72, 400):
            with SrtPeer(faults) as peer:
                extensions = Extensions(
                    request=HELLO, key_material=noise.randbytes(size), stream_id=b"publish:secret/two"
                ).build()
                peer.raw(
                    handshake(cookie=cookie(peer), extension=HSREQ_FLAG | KMREQ_FLAG, extensions=extensions)
                )
                (data,) = peer.answers()
                assert answer(data).refusal in (RejectReason.ROGUE, RejectReason.BAD_SECRET)
        with Source(faults) as source:
            source.goes_on()
            for size in (0, 4, 64, 400):
                # Of a key that is to come: UMSG_EXT with KMREQ and KMRSP.
                source.control(0x7FFF, 0, noise.randbytes(size), 3)
                source.control(0x7FFF, 0, noise.randbytes(size), 4)
            # Encrypted, as the header says, in a connection that has no key.
            source.raw(source.header(source.made.terms.sequence, SOLO | 1 << 27) + bytes(1316))
            source.goes_on()


def test_S5_a_flood_of_callers_with_keys(faults: Rig) -> None:
    """To look at a caller's keys takes a millisecond: one address does not take the loop's time, nor keep others out."""
    material = KeyMaterial(1, Mode.CTR, 32, bytes(16), bytes(40)).build()
    extensions = Extensions(request=HELLO, key_material=material, stream_id=b"publish:secret/flood").build()
    with faults.watched(), Source(faults) as source, SrtPeer(faults) as flood:
        source.goes_on()
        own, began, sent = cookie(flood), time.monotonic(), 0
        while (lasted := time.monotonic() - began) < 1 or sent <= 1000:
            for _ in range(20):
                sent += 1
                flood.raw(
                    handshake(
                        cookie=own, extension=HSREQ_FLAG | KMREQ_FLAG, extensions=extensions, socket_id=sent
                    )
                )
            source.step(0.005)
        with SrtPeer(faults) as peer:
            assert peer.call("publish:secret/one", "0123456789abcdef") == 0
        refused = sum(answer(data).refusal == RejectReason.BAD_SECRET for data in flood.answers())
        assert 0 < refused <= (1 + ceil(lasted)) * EACH
        faults.server.let_log_rest()
        assert any(b"connection put off" in line for line in faults.server.raw_log())
        source.goes_on()


STREAM_IDS: dict[bytes, int] = {
    b"x" * 600: RejectReason.ROGUE,
    b"live/\xff": Rejection.BAD_REQUEST,
    b"#!::r=a,r=b": Rejection.BAD_REQUEST,
    b"#!::r=../../x,m=publish": Rejection.BAD_REQUEST,
    b"#!::" + b",".join(b"%d" % n for n in range(120)): Rejection.BAD_REQUEST,
    b"#!::r=a,m=bidirectional": Rejection.BAD_MODE,
    b"read:live/nobody-publishes-this": Rejection.NOT_FOUND,
    b"publish:canary/rtmp": Rejection.CONFLICT,
}


def test_S6_stream_ids(faults: Rig) -> None:
    with faults.watched():
        for text, reason in STREAM_IDS.items():
            with SrtPeer(faults) as peer:
                said = peer.call(text)
                assert said == reason or (said == Rejection.BAD_REQUEST and len(text) > 512), text


def test_S7_data_that_does_not_follow(faults: Rig) -> None:
    with faults.watched(rss=4 * MIB), Source(faults) as source:
        source.goes_on()
        first = source.made.terms.sequence
        noise = random.Random(3)
        stamp = source.made.stamp(time.monotonic_ns())
        payload = b"\x47\x1f\xff\x10" + b"\xff" * 184
        for sequence in (first + (1 << 30), first + (1 << 29), first - 1, first - 5000, 0, (1 << 31) - 1):
            source.raw(source.header(sequence & 0x7FFFFFFF, SOLO | 1, stamp) + payload)
        # Again, belated, and with the bits of a message that does not end.
        for sequence in range(first, first + 3):
            for bits in (SOLO, SOLO | RETRANSMITTED, 0x80000000, 0x40000000, 0, WORD):
                source.raw(source.header(sequence, bits, stamp) + payload)
        for stamp in (0, 1 << 31, WORD):
            source.raw(source.header(noise.randrange(1 << 31), SOLO | 1, stamp) + payload)
        source.goes_on()


def test_S8_reports_about_what_there_is_not(faults: Rig) -> None:
    with faults.watched(), Source(faults) as source:
        source.goes_on()
        player = source.player
        for peer in (source, player):
            for body in (b"", bytes(3), bytes(4), b"\x7f\xff\xff\xff" * 7, b"\xff" * 28, bytes(1400)):
                peer.control(ControlType.ACK, 1, body)
                peer.control(ControlType.ACKACK, WORD, body)
                peer.control(ControlType.NAK, 0, body)
                peer.control(ControlType.DROP_REQUEST, WORD, body)
            sequence = peer.made.terms.peer_sequence
            peer.control(ControlType.NAK, 0, build_loss_list([(sequence, sequence + (1 << 30))]))
            peer.control(ControlType.NAK, 0, build_loss_list([(sequence, sequence - 10)]))
            peer.control(ControlType.DROP_REQUEST, 0, (5).to_bytes(4, "big") + (4).to_bytes(4, "big"))
        source.goes_on()


def test_S8_a_player_that_asks_for_all_again_and_again(faults: Rig) -> None:
    """What is sent again is under a budget: it does not get more than that beside the stream."""
    with faults.watched(), Source(faults) as source:
        source.goes_on()
        player = source.player
        before = player.made.statistics.pktRecv
        sent = source.made.statistics.pktSent
        body = build_loss_list([(player.made.terms.peer_sequence, player.made.terms.peer_sequence + 1000)])
        for _ in range(200):
            player.control(ControlType.NAK, 0, body)
        source.goes_on()
        player.step(0.1)
        came = player.made.statistics.pktRecv - before
        assert came < 2 * (source.made.statistics.pktSent - sent) + 200


def test_S9_ten_thousand_half_handshakes(faults: Rig) -> None:
    """Then somebody who means it is let in within a second."""
    with faults.watched(), Source(faults) as source:
        source.goes_on()
        data = induction()
        for _ in range(20):
            host = own_address()
            for _ in range(500):
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                    sock.bind((host, 0))
                    sock.sendto(data, source.server)
            source.step(0)
        began = time.monotonic()
        with SrtPeer(faults) as peer:
            assert peer.call("publish:live/s9") == 0
        assert time.monotonic() - began < 1
        source.goes_on()


def test_S10_a_shutdown_from_elsewhere(faults: Rig) -> None:
    with faults.watched(), Source(faults) as source, SrtPeer(faults) as stranger:
        source.goes_on()
        for target in (source, source.player):
            stranger.raw(target.header(CONTROL | ControlType.SHUTDOWN << 16, 0) + bytes(4))
        # And one of the right address for somebody else's connection.
        other = source.player.header(CONTROL | ControlType.SHUTDOWN << 16, 0)
        source.raw(other + bytes(4))
        source.goes_on()


def test_S11_peers_that_fall_silent(faults: Rig) -> None:
    """A player is gone 5 s after it was heard last, a publisher after ``publisher_timeout`` (2 s); each name is free then."""
    with faults.watched():
        with Source(faults) as source, SrtPeer(faults) as publisher:
            assert publisher.call("publish:live/s11") == 0
            source.goes_on()
            source.player.sock.setblocking(False)
            deadline = time.monotonic() + 7
            while time.monotonic() < deadline:
                # The player says nothing any more, and neither does the second publisher.
                source.send(source.picture(b"unheard"))
                source.step(0.03)
            silent, quiet = source.player.address, publisher.address
        assert "nothing was heard of the peer for 5 s" in str(faults.line(silent)["reason"])
        assert "sent nothing for 2 s" in str(faults.line(quiet)["reason"])


def test_S12_rendezvous_with_a_listener(faults: Rig) -> None:
    """Whoever waves is no caller: it gets no more than it sent, and nothing is kept of it."""
    with SrtPeer(faults) as peer:
        asked = handshake(kind=Kind.WAVE_A_HAND)
        peer.raw(asked)
        assert sum(map(len, peer.answers())) <= len(asked)


@pytest.mark.parametrize("kind", [0, 3, 9, 255])
def test_S12_groups_of_a_kind_that_is_not_known(kind: int, faults: Rig) -> None:
    with SrtPeer(faults) as peer:
        extensions = Extensions(
            request=HELLO, stream_id=b"publish:live/s12", group=Group(1 << 30 | 7, kind, 0, 0)
        ).build()
        peer.raw(handshake(cookie=cookie(peer), extension=HSREQ_FLAG | 4, extensions=extensions))
        (data,) = peer.answers()
        assert answer(data).refusal == RejectReason.GROUP


# -- MPEG-TS ----------------------------------------------------------------


def _cut(source: Source) -> Iterator[bytes]:
    """Pictures of a stream, each a packet short or long, or not where it should be."""
    for size in (1, 4, 187, 189, 204):
        yield source.picture(b"cut")[:-size]
        yield bytes(size) + source.picture(b"moved")
    seven = source.picture(b"x" * 900)
    yield b"\x00" + seven[1:]
    yield seven[:188] + b"\x00" + seven[189:]
    # Adaptation fields of more than there is, and packets of stuffing alone.
    for length in (183, 184, 255):
        yield b"\x47\x01\x00\x30" + bytes((length,)) + b"\xff" * 183
    yield (b"\x47\x1f\xff\x10" + b"\xff" * 184) * 7


def test_M1_packets_that_are_cut_or_moved(faults: Rig) -> None:
    with faults.watched(), Source(faults) as source:
        source.goes_on()
        for data in _cut(source):
            source.send(data)
            source.goes_on()


def test_M1_no_transport_stream_at_all(faults: Rig) -> None:
    with faults.watched(), Source(faults) as source:
        source.goes_on()
        for _ in range(100):
            source.send(bytes(1316))
            source.step(0.005)
        deadline = time.monotonic() + 5
        while not source.closed:
            assert time.monotonic() < deadline
            source.step(0.02)
    line = faults.line(source.address)
    assert "no MPEG-TS packet" in str(line["reason"])


def test_M2_program_tables_that_cannot_be(faults: Rig) -> None:
    with faults.watched(), Source(faults) as source:
        source.goes_on()
        made = source.stream
        good = Pmt(0x100, (), (PmtEntry(0x100, 0x1B),))
        for version in range(40):
            made.tables(good, version % 32)
        made.tables(good, 1, dict.fromkeys(range(1, 200), 4096), 7)
        made.tables(good, 2, {7: 0}, 7)
        made.tables(Pmt(0x1FFF, (), (PmtEntry(0x1FFF, 0x1B), PmtEntry(0, 0x1B))), 3)
        made.raw(0x47400010, b"\x00\x00\xbf\xff" + bytes(180))
        made.raw(0x47500010, b"\x00\x02\xbf\xfd" + bytes(180))
        made.raw(
            0x47500010, b"\x00\x02\xb0\x12\x00\x07\xc1\x00\x00\xe1\x00\xf0\x00\x1b\xe1\x00\xf0\x00" + bytes(4)
        )
        source.send(source.taken())
        source.goes_on()


def test_M3_times_that_wrap_and_jump(faults: Rig) -> None:
    with faults.watched(), Source(faults) as source:
        source.goes_on()
        pictures = {
            "no time": {"pts": None},
            "PTS before DTS": {"pts": 100, "dts": 90_000 * 7200},
            "of no length": {"pts": 90_000, "length": 0},
            "too long": {"pts": 90_000, "length": 65_535},
            "another stream": {"pts": 90_000, "stream_id": 0xBE},
            "discontinuities": {"pts": 90_000, "adaptation": b"\x80"},
        }
        for changes in pictures.values():
            for _ in range(5):
                source.stream.pes(0x100, b"\0\0\0\1\x65\x88" + b"y" * 300, **changes)  # type: ignore[arg-type]
        source.send(source.taken())
        source.goes_on()
        for pts in ((1 << 33) - 3600, 5, 1 << 32, 0):
            source.pts = pts
            source.goes_on()


def test_M4_a_picture_that_never_ends_and_half_of_all_lost(faults: Rig) -> None:
    """What is gathered of a picture is bounded (8 MiB); counters that do not follow cost a picture, not the stream."""
    with faults.watched(rss=40 * MIB), Source(faults) as source:
        source.goes_on()
        endless = source.stream
        endless.pes(0x100, b"\0\0\0\1\x65\x88" + b"z" * (184 * 7 * 400))
        data = source.taken()
        for at in range(0, len(data), 1316 * 50):
            source.send(data[at : at + 1316 * 50])
            source.step(0.002)
        for number in range(25):
            data = source.picture(b"half" + b"q" * 800)
            source.send(
                b"".join(data[n : n + 188] for n in range(0, len(data), 188) if (n // 188 + number) % 2)
            )
            source.step(0.01)
        source.goes_on()
