"""What is sent again, and when: packets of a reader that are asked for at moments that a test chooses."""

from __future__ import annotations

from random import Random

import pytest

from penstock_srt.connection import Connection, Received, Terms
from penstock_srt.packet import HEADER, Acknowledgement, ControlPacket, ControlType, build_loss_list
from penstock_srt.settings import MS, Settings

START = 10**12
RTT, LATENCY = 40, 120
FIRST = 1000


class Reader:
    """The sender of one connection, to which 30 packets a millisecond apart were given from `START` on."""

    def __init__(self) -> None:
        terms = Terms(7, 9, FIRST, 5000, LATENCY, LATENCY, 1500, 8192, START, START)
        self.connection = Connection(terms, Settings(), ("192.0.2.1", 1), b"", Random(1), START)
        for n in range(30):
            self.connection.send([b"payload"], START + n * MS)

    def asked(self, ms: int, *ranges: tuple[int, int]) -> list[int]:
        """Which packets leave when these are reported missing, so many ms after the first one left."""
        body = build_loss_list([(FIRST + first, FIRST + last) for first, last in ranges])
        return self.given(ms, ControlPacket(ControlType.NAK, 0, 0, 5, 7, body).build())

    def given(self, ms: int, *datagrams: bytes) -> list[int]:
        now = START + ms * MS
        self.connection.receive_datagrams(datagrams, now)
        return [
            HEADER.unpack_from(data)[0] - FIRST
            for data in self.connection.datagrams_to_send(now)
            if data[0] < 0x80
        ]

    def acknowledged(self, ms: int, count: int, rtt: int = RTT, variance: int = 1) -> None:
        ack = Acknowledgement(FIRST + count, rtt * 1000, variance * 1000, 8000, 700, 900, 0)
        assert not self.given(ms, ControlPacket(ControlType.ACK, 0, 1, 5, 7, ack.build()).build())


@pytest.fixture
def reader() -> Reader:
    made = Reader()
    made.acknowledged(45, 0)
    return made


def test_a_hole_is_of_use_until_the_packet_behind_it_is_due(reader: Reader) -> None:
    """Packets 2 to 11 are missing: all of them are waited for until the twelfth is due."""
    assert reader.asked(LATENCY + 12, (2, 11)) == list(range(2, 12))
    assert reader.asked(LATENCY + 14, (12, 12), (14, 14)) == [14]


def test_what_was_sent_again_less_than_a_round_trip_ago_is_not_yet(reader: Reader) -> None:
    """A round trip less what it varies by, as the peer's acknowledgement says both."""
    assert reader.asked(45, (3, 3)) == [3]
    assert reader.asked(80, (3, 3)) == []
    assert reader.asked(81, (3, 3)) == [3]
    reader.acknowledged(82, 0, variance=5)
    assert reader.asked(100, (3, 3)) == []
    assert reader.asked(101, (3, 3)) == [3]


def test_where_there_is_no_time_to_hear_whether_it_is_lost_again_it_is_sent_twice(reader: Reader) -> None:
    """What was lost twice, and what was reported late; not what may yet be asked for again."""
    assert reader.asked(45, (3, 3)) == [3]
    assert reader.given(55) == []
    assert reader.asked(85, (3, 3), (20, 20)) == [3, 20]
    assert reader.given(89) == []
    assert reader.given(90) == [3]
    assert reader.asked(112, (29, 29)) == [29]
    assert reader.given(117) == [29]
    assert reader.given(127) == []


def test_no_more_is_sent_again_than_is_sent(reader: Reader) -> None:
    """However often all of it is asked for: each packet would go three times."""
    again = 0
    for n in range(30, 1030):
        reader.connection.send([b"payload"], START + n * MS)
        if n % 10 == 0:
            again += len(reader.asked(n, (n - 100, n)))
    assert 1000 < again <= 1030 + 64


def test_what_came_is_given_out_where_the_goodbye_follows() -> None:
    """Whatever was due, in order, where some of it is missing and will never come; the last ones are never asked for."""
    terms = Terms(7, 9, FIRST, 5000, LATENCY, LATENCY, 1500, 8192, START, START)
    one = Connection(terms, Settings(), ("192.0.2.1", 1), b"", Random(1), START)
    data = [HEADER.pack(5000 + n, 1 << 31 | n + 1, n * 1000, 7) + b"payload %d" % n for n in range(12)]
    goodbye = ControlPacket(ControlType.SHUTDOWN, 0, 0, 12_000, 7, bytes(4)).build()
    one.receive_datagrams([data[0], data[1], data[4]], START + 5 * MS)
    one.receive_datagrams([data[8], goodbye, data[3]], START + 9 * MS)
    event = one.next_event()
    assert isinstance(event, Received)
    assert event.payloads == [b"payload %d" % n for n in (0, 1, 3, 4, 8)]
    assert event.dropped == 4
    assert one.closed == "the peer closed the connection"


def test_what_is_due_before_the_next_look_comes_out_with_this_one_unless_something_is_missing() -> None:
    terms = Terms(7, 9, FIRST, 5000, LATENCY, LATENCY, 1500, 8192, START, START)
    one = Connection(terms, Settings(), ("192.0.2.1", 1), b"", Random(1), START)
    one.ahead = 20 * MS

    def comes(*numbers: int) -> None:
        data = [HEADER.pack(5000 + n, 1 << 31 | n + 1, n * 10_000, 7) + b"%d" % n for n in numbers]
        one.receive_datagrams(data, START + 60 * MS)

    def out(ms: int) -> tuple[list[bytes], int] | None:
        one.handle_timeout(START + (LATENCY + ms) * MS)
        event = one.next_event()
        return (event.payloads, event.dropped) if isinstance(event, Received) else None

    comes(0, 1, 2, 4, 5, 6)
    assert out(-21) is None
    assert out(-20) == ([b"0"], 0)
    assert out(0) == ([b"1", b"2"], 0)
    # What is missing may yet come until the packet behind it is due: nothing behind it goes before.
    assert out(39) is None
    assert out(40) == (
        [
            b"4",
        ],
        1,
    )
    comes(7, 9)
    assert out(50) == ([b"5", b"6", b"7"], 0)
    comes(8)
    assert out(70) == ([b"8", b"9"], 0)
