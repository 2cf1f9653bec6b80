"""What a connection does with a peer that sends nonsense (group S of the bad inputs), beyond not failing."""

from __future__ import annotations

import os
import time
from random import Random

import pytest

from penstock_srt.cipher import Mode
from penstock_srt.connection import Connection, Received, Terms
from penstock_srt.extension import ExtensionType
from penstock_srt.key_material import KeyMaterial, KeyState
from penstock_srt.keyring import Keyring
from penstock_srt.packet import (
    CONTROL,
    HEADER,
    KEY_SHIFT,
    SOLO,
    Acknowledgement,
    ControlPacket,
    ControlType,
    build_drop_request,
    build_loss_list,
)
from penstock_srt.sequence import MASK
from penstock_srt.settings import MS, Settings

PASSPHRASE = "a long passphrase"
FIRST = 1000
START = 10**12


class Peer:
    """A connection, and what its peer may send it."""

    def __init__(self, keys: Keyring | None = None, window: int = 8192) -> None:
        terms = Terms(7, 9, FIRST, FIRST, 120, 120, 1500, 8192, START, START, keys)
        self.connection = Connection(terms, Settings(window=window), ("192.0.2.1", 1), b"", Random(1), START)
        self.now = START

    def send(self, *datagrams: bytes) -> list[ControlPacket]:
        """What the connection answers at once, besides data packets."""
        self.connection.receive_datagrams(datagrams, self.now)
        return [
            ControlPacket.parse(data)
            for data in self.connection.datagrams_to_send(self.now)
            if data[0] & CONTROL >> 24
        ]

    def control(
        self, type: ControlType, body: bytes = bytes(4), information: int = 0, subtype: int = 0
    ) -> list[ControlPacket]:
        return self.send(ControlPacket(type, subtype, information, 0, 7, body).build())

    def data(self, n: int, stamp: int = 0, flags: int = 0) -> bytes:
        return HEADER.pack((FIRST + n) & MASK, SOLO | flags | 1, stamp & 0xFFFFFFFF, 7) + b"payload"

    def received(self) -> tuple[int, int]:
        """How many payloads came, and how many were given up."""
        count = dropped = 0
        while isinstance(event := self.connection.next_event(), Received):
            count += len(event.payloads)
            dropped += event.dropped
        return count, dropped


@pytest.mark.parametrize("data", [b"", b"x" * 15, bytes(16), b"\xff" * 16, bytes(2000)])
def test_s1_what_is_no_packet_is_dropped_and_counted(data: bytes) -> None:
    peer = Peer()
    assert peer.send(data) == []
    assert peer.connection.statistics.pktMalformed == 1
    assert peer.connection.closed == ""


def test_s5_nothing_in_the_clear_is_taken_where_encryption_was_agreed_on() -> None:
    keys, _ = Keyring.generate(PASSPHRASE, Mode.CTR, 16, Random(2))
    peer = Peer(keys)
    peer.send(peer.data(0), peer.data(0, flags=2 << KEY_SHIFT))
    peer.now += 500 * MS
    peer.connection.handle_timeout(peer.now)
    assert peer.received() == (0, 0)
    assert peer.connection.statistics.pktRcvUndecrypt == 2


def test_s5_key_material_in_mid_stream_is_answered_and_costs_little() -> None:
    keys, _ = Keyring.generate(PASSPHRASE, Mode.CTR, 16, Random(2))
    peer = Peer(keys)
    other = Keyring.generate("another passphrase", Mode.CTR, 16, Random(3))[1]
    (answer,) = peer.control(ControlType.USER_DEFINED, other, subtype=ExtensionType.KMREQ)
    assert answer.subtype == ExtensionType.KMRSP
    assert answer.body == KeyState.BAD_SECRET.to_bytes(4, "big")
    # Each look takes a millisecond: a flood is looked at ten times a second.
    before = time.process_time()
    for _ in range(2000):
        salted = KeyMaterial(1, Mode.CTR, 16, os.urandom(16), os.urandom(24)).build()
        assert peer.control(ControlType.USER_DEFINED, salted, subtype=ExtensionType.KMREQ) == []
    assert time.process_time() - before < 1
    plain = Peer()
    (answer,) = plain.control(ControlType.USER_DEFINED, other, subtype=ExtensionType.KMREQ)
    assert answer.body == KeyState.NO_SECRET.to_bytes(4, "big")


@pytest.mark.parametrize("distance", [1 << 29, 1 << 30, -(1 << 29), -1])
def test_s7_a_packet_far_off_the_sequence_is_no_reason_to_wait(distance: int) -> None:
    peer = Peer()
    peer.send(peer.data(0), peer.data(distance), peer.data(1))
    peer.now += 130 * MS
    peer.connection.handle_timeout(peer.now)
    count, _ = peer.received()
    assert count >= 2 if distance == 1 << 29 else count == 2
    assert peer.connection.statistics.pktRcvBuf == 0


def test_s7_time_stamps_that_jump_hold_nothing_for_long() -> None:
    peer = Peer()
    stamps = [0, 1 << 31, 5, 0xFFFFFFFF, 1 << 30, 0]
    peer.send(*(peer.data(n, stamp) for n, stamp in enumerate(stamps)))
    peer.now += 2000 * MS
    peer.connection.handle_timeout(peer.now)
    assert peer.received() == (len(stamps), 0)


def test_s7_what_does_not_fit_the_buffer_is_discarded() -> None:
    peer = Peer(window=64)
    peer.send(*(peer.data(n, 1000) for n in range(200)))
    statistics = peer.connection.statistics
    assert (statistics.pktRcvBuf, statistics.pktRcvDiscarded) == (64, 136)


def test_s8_acknowledgements_of_what_was_never_sent_are_ignored() -> None:
    peer = Peer()
    peer.connection.send([b"payload"] * 5, peer.now)
    peer.control(ControlType.ACK, Acknowledgement(FIRST + 6, 1, 1, 100).build(), 1)
    assert peer.connection.statistics.pktFlightSize == 5
    peer.control(ControlType.ACK, Acknowledgement(FIRST + 5, 1, 1, 100).build(), 2)
    assert peer.connection.statistics.pktFlightSize == 0
    assert peer.control(ControlType.ACKACK, information=99) == []
    assert not peer.connection.closed


def test_s8_a_loss_report_asks_for_no_more_than_was_sent_and_the_budget_has() -> None:
    peer = Peer()
    for _ in range(100):
        peer.connection.send([b"payload"] * 50, peer.now)
    everything = build_loss_list([(FIRST, (FIRST + (1 << 30) - 2) & MASK)])
    for _ in range(50):
        peer.control(ControlType.NAK, everything)
    statistics = peer.connection.statistics
    assert statistics.pktRetrans <= 64
    assert statistics.pktRecvNAK == 50
    for wrong in (
        b"",
        bytes(3),
        build_loss_list([(FIRST + 9, FIRST + 5)]),
        build_loss_list([(5, 9), (7, 8)]),
    ):
        peer.control(ControlType.NAK, wrong)
    assert peer.connection.statistics.pktMalformed == 4


def test_s8_a_loss_report_of_what_is_gone_is_answered_by_a_drop_request() -> None:
    peer = Peer()
    peer.connection.send([b"payload"] * 5, peer.now)
    peer.control(ControlType.ACK, Acknowledgement(FIRST + 5, 1, 1, 100).build(), 1)
    answers = peer.control(ControlType.NAK, build_loss_list([(FIRST + 1, FIRST + 2)]))
    assert [answer.type for answer in answers] == [ControlType.DROP_REQUEST]
    assert answers[0].body == build_drop_request(FIRST + 1, FIRST + 2)


def test_s8_drop_requests_touch_only_what_is_missing() -> None:
    peer = Peer()
    peer.send(peer.data(0), peer.data(3))
    for body in (
        build_drop_request(FIRST + 2, FIRST + 1),
        build_drop_request((FIRST - 5) & MASK, (FIRST + (1 << 29)) & MASK),
        bytes(4),
    ):
        peer.control(ControlType.DROP_REQUEST, body)
    peer.now += 130 * MS
    peer.connection.handle_timeout(peer.now)
    assert peer.received() == (2, 2)
    assert peer.connection.statistics.pktMalformed == 2


def test_a_peer_that_acknowledges_nothing_pins_12_mb_at_most() -> None:
    """Whatever it says of its latency and window: 65 s, in which it is heard of, and as many packets."""
    terms = Terms(7, 9, FIRST, FIRST, 120, 0xFFFF, 1500, 1 << 16, START, START)
    connection = Connection(terms, Settings(), ("192.0.2.1", 1), b"", Random(1), START)
    for n in range(200):
        connection.send([bytes(1456)] * 50, START + n * 100 * MS)
    assert connection.statistics.pktSndBuf * 1456 < 12_000_000
    assert connection.statistics.pktSndDrop == 10_000 - connection.statistics.pktSndBuf
