"""The reorder buffer under loss, reordering, duplicates and jumps (rows P3 and P5), on virtual time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from penstock_formats.rtp.packet import RtpPacket
from penstock_formats.rtp.reorder import (
    MAX_DELAY,
    MAX_DROPOUT,
    MAX_MISORDER,
    MAX_PACKETS,
    Ordered,
    ReorderBuffer,
)


def packet(number: int, ssrc: int = 1) -> RtpPacket:
    return RtpPacket(96, False, number & 0xFFFF, number, ssrc, b"x")


def numbers(ordered: Ordered) -> list[tuple[int, bool]]:
    return [(p.timestamp, lost) for p, lost in ordered]


def push(buffer: ReorderBuffer, *sent: int, now: int = 0) -> list[tuple[int, bool]]:
    return [pair for number in sent for pair in numbers(buffer.push(packet(number), now))]


def test_in_order_goes_through_at_once_over_the_wrap() -> None:
    buffer = ReorderBuffer()
    assert push(buffer, *range(65530, 65545)) == [(n, False) for n in range(65530, 65545)]
    assert buffer.next_timeout() is None


def test_swapped_packets_come_in_order_without_loss() -> None:
    buffer = ReorderBuffer()
    assert push(buffer, 65534, 65536, 65537, 65535) == [(n, False) for n in range(65534, 65538)]
    assert (buffer.lost, buffer.late, buffer.duplicate) == (0, 0, 0)


def test_a_lost_packet_is_waited_for_and_then_told() -> None:
    buffer = ReorderBuffer()
    assert push(buffer, 1, 3, 4) == [(1, False)]
    assert buffer.next_timeout() == MAX_DELAY
    assert buffer.handle_timeout(MAX_DELAY - 1) == []
    assert numbers(buffer.handle_timeout(MAX_DELAY)) == [(3, True), (4, False)]
    assert buffer.lost == 1
    assert push(buffer, 2) == []
    assert buffer.late == 1
    assert push(buffer, 2, 4) == []
    assert buffer.duplicate == 2


def test_after_a_silence_nothing_is_waited_for() -> None:
    buffer = ReorderBuffer()
    assert buffer.skip_to(packet(1)) == [], "it is the first"
    push(buffer, 1, 3)
    assert numbers(buffer.skip_to(packet(5000))) == [(3, True)]
    assert push(buffer, 5000, 5001) == [(5000, True), (5001, False)]
    assert buffer.lost == 1 + 4996
    assert push(buffer, 4999) == []
    assert buffer.late == 1
    assert buffer.skip_to(packet(5002)) == []
    assert push(buffer, 5002) == [(5002, False)], "nothing is missing"
    assert buffer.skip_to(packet(9, ssrc=2)) == buffer.skip_to(packet(4000)) == []
    assert push(buffer, 5003) == [(5003, False)]


def test_each_gap_has_its_own_time() -> None:
    buffer = ReorderBuffer()
    push(buffer, 1, 3, now=0)
    push(buffer, 5, now=10)
    assert numbers(buffer.handle_timeout(MAX_DELAY)) == [(3, True)]
    assert buffer.next_timeout() == MAX_DELAY + 10
    assert push(buffer, 7, now=MAX_DELAY + 10) == [(5, True)]


def test_bounded_in_packets_and_bytes() -> None:
    buffer = ReorderBuffer()
    push(buffer, 0, *range(2, MAX_PACKETS + 2))
    assert push(buffer, MAX_PACKETS + 2)[0] == (2, True)
    small = ReorderBuffer(max_bytes=3)
    assert push(small, 0, 2, 3, 4, 5) == [(0, False), (2, True), (3, False), (4, False), (5, False)]


def test_a_jump_is_believed_at_its_second_packet() -> None:
    # What comes first is expected next: 2. The last step back is the smallest that is no misordering.
    for jump in (32767, 32768, 40000, -1000 % 65536, MAX_DROPOUT + 2, -MAX_MISORDER % 65536):
        buffer = ReorderBuffer()
        push(buffer, 1)
        assert push(buffer, jump + 1) == []
        assert push(buffer, jump + 2, jump + 3) == [(jump + 2, True), (jump + 3, False)]
        assert buffer.resyncs == 1


def test_a_stray_packet_is_dropped() -> None:
    buffer = ReorderBuffer()
    assert push(buffer, 1, 30000, 2, 3) == [(1, False), (2, False), (3, False)]


def test_a_new_ssrc_starts_anew_and_gives_what_was_held() -> None:
    buffer = ReorderBuffer()
    push(buffer, 1, 3)
    assert numbers(buffer.push(packet(500, ssrc=2), 0)) == [(3, True), (500, True)]
    for ssrc in range(3, 1000):
        assert len(buffer.push(packet(ssrc * 7, ssrc=ssrc), 0)) == 1


def test_flush() -> None:
    buffer = ReorderBuffer()
    assert buffer.flush() == []
    push(buffer, 1, 3, 5)
    assert numbers(buffer.flush()) == [(3, True), (5, True)]
    assert buffer.next_timeout() is None


@given(st.lists(st.tuples(st.integers(0, 0xFFFF), st.integers(1, 2), st.integers(0, MAX_DELAY)), max_size=60))
def test_any_numbers_at_any_time_stay_bounded(sent: list[tuple[int, int, int]]) -> None:
    buffer = ReorderBuffer(max_packets=8)
    now = given = 0
    for number, ssrc, step in sent:
        now += step
        given += len(buffer.push(packet(number, ssrc), now))
        deadline = buffer.next_timeout()
        assert deadline is None or now < deadline <= now + MAX_DELAY
    assert given + len(buffer.flush()) <= len(sent)


@given(st.permutations(range(12)), st.integers(0, 70000))
def test_any_order_within_the_window_is_put_right(order: list[int], start: int) -> None:
    buffer = ReorderBuffer()
    push(buffer, start)
    got = push(buffer, *(start + 1 + n for n in order))
    assert got == [(start + 1 + n, False) for n in range(12)]
