"""The short way of a full acknowledgement: what comes of it is what comes of it the long way, or it is not taken."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_srt.cipher import Mode
from penstock_srt.connection import Connection, Terms
from penstock_srt.key_material import KeyMaterial
from penstock_srt.keyring import Keyring
from penstock_srt.packet import (
    FULL_ACK,
    HEADER,
    MESSAGE_NUMBERS,
    SOLO,
    Acknowledgement,
    ControlPacket,
    ControlType,
    build_headers,
    build_loss_list,
    split_headers,
)
from penstock_srt.sequence import MASK
from penstock_srt.settings import MS, Settings

START = 10**12
SETTINGS = Settings(refresh_packets=100, announce_packets=50)


def connection(sequence: int, keys: Keyring | None = None) -> Connection:
    terms = Terms(7, 9, sequence, 5000, 120, 120, 1500, 8192, START, START, keys)
    return Connection(terms, SETTINGS, ("192.0.2.1", 1), b"", Random(1), START)


def ack(sequence: int, number: int, to: int = 7, **words: int) -> bytes:
    body = Acknowledgement(
        sequence & MASK, **{"rtt": 3000, "available": 8000, "packet_rate": 0, "capacity": 9, **words}
    ).build()
    return ControlPacket(ControlType.ACK, 0, number, 5, to, body).build()


def long_way(one: Connection, data: bytes, now: int) -> list[bytes]:
    one.receive_datagrams([data], now)
    return one.datagrams_to_send(now)


@given(
    st.sampled_from([1000, MASK - 20, MASK]),
    st.lists(
        st.tuples(
            st.integers(0, 9),
            st.integers(-3, 30),
            st.integers(0, 2),
            st.sampled_from([7, 7, 7, 8]),
            st.integers(0, (1 << 32) - 1),
        ),
        max_size=12,
    ),
)
def test_it_comes_to_the_same(first: int, steps: list[tuple[int, int, int, int, int]]) -> None:
    """Of packets that were sent, were not, or have been acknowledged; without a number, or for somebody else."""
    short, other = connection(first), connection(first)
    now, short_ways = START, 0
    for count, ahead, number, to, capacity in steps:
        now += 3 * MS
        payloads = [b"payload"] * count
        assert short.send(payloads, now) == other.send(payloads, now)
        data = ack(first + ahead, number, to, capacity=capacity)
        assert len(data) == FULL_ACK.size
        answer = short.answer(data, now)
        expected = long_way(other, data, now)
        if answer is not None:
            short_ways += 1
            assert [answer] == expected
        else:
            assert not number or to != 7
            assert long_way(short, data, now) == expected
        assert short.statistics == other.statistics
        assert short.next_timeout() == other.next_timeout()
        assert short.first_unacknowledged == other.first_unacknowledged
    assert short_ways == sum(bool(number) and to == 7 for _, _, number, to, _ in steps)


def test_what_else_is_to_be_done_is_not_left_undone() -> None:
    """Something to be sent again, something to be delivered, a goodbye: those go the long way."""
    one = connection(1000)
    one.send([b"payload"] * 5, START)
    one.receive_datagrams(
        [ControlPacket(ControlType.NAK, 0, 0, 5, 7, build_loss_list([(1001, 1001)])).build()], START
    )
    assert one.answer(ack(1001, 1), START) is None
    assert len(long_way(one, ack(1001, 1), START)) == 2
    one.receive_datagrams([HEADER.pack(5000, SOLO | 1, 0, 7) + b"payload"], START)
    assert one.answer(ack(1001, 2), START) is None
    one.close("done")
    assert one.answer(ack(1001, 3), START) is None
    nak = ControlPacket(ControlType.NAK, 0, 1, 5, 7, bytes(28)).build()
    assert connection(1000).answer(nak, START) is None


def test_a_key_that_is_to_be_renewed_is() -> None:
    """However seldom the long way is gone: acknowledgements come with each frame, and a frame may be many packets."""
    ring, material = Keyring.generate("a long passphrase", Mode.CTR, 16, Random(2))
    one = connection(1000, ring)
    answers: list[bytes | None] = []
    for n in range(3):
        one.send([b"payload"] * 30, START)
        answers.append(one.answer(ack(1000 + 30 * n, n + 1), START))
    assert [answer is None for answer in answers] == [False, True, True]
    sent = [ControlPacket.parse(data) for data in long_way(one, ack(1090, 4), START)]
    announced = next(packet for packet in sent if packet.type == ControlType.USER_DEFINED)
    assert KeyMaterial.parse(announced.body).salt == KeyMaterial.parse(material).salt
    assert one.answer(ack(1090, 5), START) is None


@pytest.mark.parametrize("sequence", [0, 1000, MASK - 64, MASK - 63, MASK - 5, MASK])
@pytest.mark.parametrize("number", [0, MESSAGE_NUMBERS - 65, MESSAGE_NUMBERS - 64, MESSAGE_NUMBERS - 1])
@pytest.mark.parametrize("count", [0, 1, 2, 64, 65, 200])
def test_headers_are_made_all_at_once(sequence: int, number: int, count: int) -> None:
    stamp, peer = 0xFFFFFFFF, 0xFEDCBA98
    headers = split_headers(build_headers(sequence, number, SOLO, stamp, peer, count))
    assert [HEADER.unpack(header) for header in headers] == [
        ((sequence + n) & MASK, SOLO | (number + n) % MESSAGE_NUMBERS + 1, stamp, peer) for n in range(count)
    ]
