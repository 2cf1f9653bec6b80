"""What viewers ask for again, in virtual time."""

from __future__ import annotations

from random import Random

from penstock.media import NS
from penstock_webrtc.retransmission import ALLOWANCE, FLOOR, NARROW_SECONDS, NARROW_SHARE, SHARE, History

FRAME_NS = NS // 25
PAYLOADS = (bytes(900), bytes(300))
RTT_NS = 40_000_000


def test_what_only_came_out_of_order_takes_nothing_from_what_is_lost() -> None:
    """A stream of 240 kbit/s for 5 minutes: of every four packets one is asked for in vain, and 5 % are lost each way."""
    random, history = Random(1), History()
    asked: list[tuple[int, int]] = []
    lost = given = 0
    for frame in range(25 * 300):
        now = frame * FRAME_NS
        history.append((2 * frame, 0, PAYLOADS, ()))
        octets = (frame + 1) * sum(map(len, PAYLOADS))
        while asked and asked[0][0] <= now:
            at, sequence = asked.pop(0)
            found = history.find(sequence & 0xFFFF, at, octets)
            assert found is not None, f"packet {sequence} of {2 * frame}"
            assert found[0][0] + found[1] == sequence
            given += 1
            if random.random() < 0.05:
                asked.append((at + RTT_NS, sequence))
                asked.sort()
        for sequence in (2 * frame, 2 * frame + 1):
            if random.random() < 0.05:
                lost += 1
                asked.append((now + FRAME_NS + RTT_NS, sequence))
            elif random.random() < 0.25:
                asked.append((now + RTT_NS, sequence))
        asked.sort()
    assert lost > 600
    assert given > 4000


def test_who_asks_for_everything_again_and_again_gets_a_bounded_part_of_it() -> None:
    history, given = History(), 0
    size = 1000
    seconds = 20
    for frame in range(25 * seconds):
        now = frame * FRAME_NS
        history.append((20 * frame, 0, (bytes(size),) * 20, ()))
        for back in range(200):
            if history.find(20 * frame - back & 0xFFFF, now, (frame + 1) * 20 * size) is not None:
                given += size
    sent = 25 * seconds * 20 * size
    assert given <= sent // SHARE + FLOOR * seconds + ALLOWANCE


def test_where_a_queue_stands_it_is_a_part_of_what_the_link_carries() -> None:
    history, given, bound = History(), 0, 400_000
    for frame in range(25 * 20):
        now = frame * FRAME_NS
        history.append((20 * frame, 0, (bytes(1000),) * 20, ()))
        for back in range(200):
            if history.find(20 * frame - back & 0xFFFF, now, (frame + 1) * 20_000, bound) is not None:
                given += 1000
    assert 0.9 * bound / 8 / NARROW_SHARE * 20 <= given <= bound / 8 / NARROW_SHARE * (20 + NARROW_SECONDS)
    history.clear()
    assert history.find(0, 30 * NS, 0) is None


def test_what_was_answered_just_now_is_not_answered_twice() -> None:
    history = History()
    history.append((5, 0, PAYLOADS, ()))
    assert history.find(6, RTT_NS, 1200) is not None
    assert history.find(6, RTT_NS + 5_000_000, 1200) is None
    assert history.find(6, 2 * RTT_NS, 1200) is not None
    assert history.find(7, 2 * RTT_NS, 1200) is None
    assert history.find(4, 2 * RTT_NS, 1200) is None
