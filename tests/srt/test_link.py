"""Two ends over a bad link: what comes out is what went in, in order, in time, or counted as dropped."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from penstock_srt.cipher import Mode
from penstock_srt.key_material import KeyMaterial
from penstock_srt.keyring import Keyring
from penstock_srt.sequence import MASK
from penstock_srt.settings import MS, Settings
from tests.srt.link import Link, Pair, Weather

PASSPHRASE = "a long passphrase"


def rings(mode: Mode) -> tuple[Keyring, Keyring]:
    ring, material = Keyring.generate(PASSPHRASE, mode, 16, Random(1))
    other = Keyring.receive(PASSPHRASE, KeyMaterial.parse(material))
    assert other is not None
    return ring, other


def payload(n: int) -> bytes:
    return n.to_bytes(8, "big") * 3


def play(pair: Pair, count: int, gap: float, batch: int = 1) -> None:
    """Left sends `count` payloads, `batch` each `gap` ms; then all that is to come has come."""
    for n in range(0, count, batch):
        pair.send(0, [payload(n + k) for k in range(batch)])
        pair.run(gap)
    pair.run(pair.ends[1].connection.terms.latency + 500)


class TwoEnds(RuleBasedStateMachine):
    """Both ends send, while the link changes; at every moment what was received is in order and was sent."""

    @initialize(
        seed=st.integers(0, 1 << 16),
        sequence=st.sampled_from((1000, MASK - 40, MASK, 0)),
        stamp=st.sampled_from((0, (1 << 32) - 300_000, (1 << 32) - 1)),
        mode=st.sampled_from((None, None, *Mode)),
        window=st.sampled_from((64, 8192)),
        damages=st.booleans(),
    )
    def begin(
        self, seed: int, sequence: int, stamp: int, mode: Mode | None, window: int, damages: bool
    ) -> None:
        self.weather = Weather()
        self.damages = damages
        """Whether datagrams may be damaged: then nobody knows what comes of it."""
        self.pair = Pair(
            Link(self.weather, Random(seed)),
            Settings(latency=120, window=window),
            sequence,
            stamp,
            None if mode is None else rings(mode),
        )
        self.sent = [0, 0]

    @rule(
        loss=st.sampled_from((0.0, 0.05, 0.3, 1.0)),
        duplicate=st.sampled_from((0.0, 0.3)),
        damage=st.sampled_from((0.0, 0.05)),
        jitter=st.sampled_from((0.0, 3.0, 60.0)),
    )
    def change(self, loss: float, duplicate: float, damage: float, jitter: float) -> None:
        weather = self.weather
        weather.loss, weather.duplicate, weather.jitter = loss, duplicate, jitter
        weather.damage = damage if self.damages else 0.0

    @rule(by=st.integers(0, 1), count=st.integers(1, 40))
    def send(self, by: int, count: int) -> None:
        if not self.pair.ends[by].connection.closed:
            first = self.sent[by]
            self.sent[by] += count
            self.pair.send(by, [payload(n) for n in range(first, first + count)])

    @rule(ms=st.sampled_from((1, 7, 30, 150, 900)))
    def wait(self, ms: int) -> None:
        self.pair.run(ms)

    @rule(lost=st.integers(0, 60), ms=st.sampled_from((1, 30, 150, 900)), count=st.integers(1, 60))
    def heal(self, lost: int, ms: int, count: int) -> None:
        """After an outage, and whatever was before: once nothing befalls datagrams all that is sent comes in time, nothing is
        kept, and both fall quiet.
        """
        pair, weather = self.pair, self.weather
        weather.loss = 1.0
        for by in (0, 1) if lost else ():
            self.send(by, lost)
        pair.run(ms)
        weather.loss = weather.duplicate = weather.damage = weather.jitter = 0.0
        # As long as the sender keeps what may be missing.
        pair.run(1200)
        if self.damages or any(end.connection.closed for end in pair.ends):
            return
        before = [len(end.received) for end in pair.ends]
        # The first tells what is missing before it, which may fill the buffer until it is due.
        for burst in (1, count):
            for by in (0, 1):
                self.send(by, burst)
            pair.run(120 + 20 + 10)
        for n, end in enumerate(pair.ends):
            sent, statistics = self.sent[1 - n], end.connection.statistics
            assert end.received[before[n] :] == [payload(k) for k in range(sent - count - 1, sent)]
            assert len(end.received) + statistics.pktRcvDrop == sent
            assert (statistics.pktSndBuf, statistics.pktRcvBuf, end.connection.misses) == (0, 0, False)
        turns, carried = pair.turns, pair.link.carried
        pair.run(3000)
        # One keep-alive a second each, which wakes who sends it and who gets it.
        assert pair.link.carried - carried <= 8
        assert pair.turns - turns <= 24

    @rule(to=st.integers(0, 1), data=st.binary(max_size=60))
    def noise(self, to: int, data: bytes) -> None:
        self.pair.link.put(to, [data, data[:12] + (to + 1).to_bytes(4, "big") + data[12:]])

    @invariant()
    def in_order(self) -> None:
        if not hasattr(self, "pair"):
            return
        for n, end in enumerate(self.pair.ends):
            numbers = [int.from_bytes(data[:8], "big") for data in end.received]
            if not self.damages:
                assert numbers == sorted(set(numbers))
                assert not numbers or numbers[-1] < self.sent[1 - n]
            statistics = end.connection.statistics
            assert statistics.pktRcvBuf <= end.connection.capacity
            assert statistics.pktSndBuf <= end.connection.capacity


TestTwoEnds = TwoEnds.TestCase
TestTwoEnds.settings = settings(
    max_examples=60,
    stateful_step_count=30,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)


@pytest.mark.parametrize("mode", [None, *Mode])
@pytest.mark.parametrize("sequence", [1000, MASK - 100])
@pytest.mark.parametrize("stamp", [0, (1 << 32) - 200_000])
def test_what_is_only_held_up_comes_whole_and_in_time(mode: Mode | None, sequence: int, stamp: int) -> None:
    """Reordered by 30 ms and doubled, over both wraps."""
    link = Link(Weather(duplicate=0.2, jitter=30), Random(1))
    pair = Pair(link, Settings(), sequence, stamp, None if mode is None else rings(mode))
    began = link.now
    play(pair, 500, 1)
    left, right = pair.ends
    assert right.received == [payload(n) for n in range(500)]
    assert right.dropped == 0
    for n, time in enumerate(right.times):
        due = began + (n + 20 + 120) * MS
        # Stamps are of whole us, and payloads are let out at most a tick late.
        assert due - MS // 100 <= time <= due + 10 * MS
    assert left.connection.statistics.pktSndBuf == 0


@pytest.mark.parametrize(("loss", "burst"), [(0.01, 0), (0.05, 0), (0.1, 0), (0.05, 10)])
def test_what_is_lost_is_sent_again_within_the_budget(loss: float, burst: float) -> None:
    """RTT 40 ms, latency 120 ms."""
    link = Link(Weather(loss=loss, burst=burst), Random(5))
    pair = Pair(link, Settings())
    play(pair, 6000, 1)
    left, right = pair.ends
    # Nobody knows of the very last ones, if they are lost.
    last = int.from_bytes(right.received[-1][:8], "big")
    assert last >= 5990
    assert len(right.received) + right.dropped == last + 1
    assert right.dropped <= 6000 * (0.01 if loss == 0.1 or burst else 0.002)
    assert left.connection.statistics.pktRetrans <= 6000 * (1.65 * loss + 0.02)


def test_where_packets_overtake_each_other_what_is_lost_is_still_sent_again() -> None:
    """By 10 ms: a report asks for half of all that is sent, of which a tenth is lost."""
    pair = Pair(Link(Weather(loss=0.05, burst=5, jitter=10), Random(5)), Settings())
    play(pair, 4000, 1)
    left, right = pair.ends
    assert left.connection.statistics.pktRetrans > 0.5 * 4000
    assert right.dropped <= 0.002 * 4000


def test_a_gap_longer_than_the_buffer_is_survived() -> None:
    link = Link(Weather(), Random(1))
    pair = Pair(link, Settings(window=64))
    play(pair, 100, 4)
    link.weather.loss = 1.0
    play(pair, 300, 4)
    link.weather.loss = 0.0
    play(pair, 100, 4)
    right = pair.ends[1]
    assert len(right.received) == 200
    assert right.connection.statistics.pktRcvDrop == 300


def test_clocks_that_drift_apart_are_followed() -> None:
    """The sender's clock is 200 ppm slow: 24 ms in two minutes, of which at most five are left."""
    link = Link(Weather(), Random(1))
    pair = Pair(link, Settings())
    left, right = pair.ends
    sender = left.connection
    began = link.now
    for n in range(12_000):
        slow = began + (link.now - began) * 9998 // 10_000
        link.put(1, sender.send([payload(n)], slow))
        pair.run(10)
    late = right.times[-1] - link.now
    assert right.dropped == 0
    assert abs(right.connection.statistics.msDrift) <= 6
    assert late <= 0


def test_silence_ends_a_connection_and_keep_alives_prevent_it() -> None:
    link = Link(Weather(), Random(1))
    pair = Pair(link, Settings())
    pair.run(20_000)
    assert [end.closed for end in pair.ends] == ["", ""]
    link.weather.loss = 1.0
    pair.run(6_100)
    assert all("nothing was heard" in end.closed for end in pair.ends)


def test_a_close_is_told() -> None:
    pair = Pair(Link(Weather(), Random(1)), Settings())
    pair.close(0)
    pair.run(100)
    assert [end.closed for end in pair.ends] == ["done", "the peer closed the connection"]
    pair.send(0, [b"x"])
    assert pair.ends[1].connection.statistics.pktRecv == 0


@pytest.mark.parametrize("mode", list(Mode))
def test_keys_are_renewed_both_ways_in_mid_stream(mode: Mode) -> None:
    """Each 300 packets, over a link that loses some of the announcements as well."""
    link = Link(Weather(loss=0.03, duplicate=0.1, jitter=5), Random(3))
    pair = Pair(link, Settings(latency=400, refresh_packets=300, announce_packets=250), keys=rings(mode))
    for n in range(1500):
        pair.send(0, [payload(n)])
        pair.send(1, [payload(n)])
        pair.run(2)
    pair.run(1000)
    for end in pair.ends:
        assert end.received == [payload(n) for n in range(1500)]
        assert end.connection.statistics.pktRcvUndecrypt == 0


@pytest.mark.parametrize("mode", list(Mode))
def test_what_lay_unread_is_decrypted_with_the_key_that_came_in_its_midst(mode: Mode) -> None:
    """A receiver that did not run for a while finds the new key, and what is encrypted with it, in one batch."""
    pair = Pair(
        Link(Weather(), Random(3)), Settings(refresh_packets=50, announce_packets=20), keys=rings(mode)
    )
    left, right = (end.connection for end in pair.ends)
    lain: list[bytes] = []
    for n in range(80):
        pair.link.now += 2 * MS
        lain += [*left.send([payload(n)], pair.link.now), *left.datagrams_to_send(pair.link.now)]
    right.receive_datagrams(lain, pair.link.now)
    pair.run(200)
    assert pair.ends[1].received == [payload(n) for n in range(80)]
    assert right.statistics.pktRcvUndecrypt == 0


@pytest.mark.parametrize("ahead", [0, 30])
def test_nothing_comes_out_late_for_who_looks_ahead(ahead: int) -> None:
    """A packet each 5 ms: whoever wakes when it asks to be has each within `ahead` ms, or within a tick after it was due."""
    link = Link(Weather(), Random(1))
    pair = Pair(link, Settings(latency=120))
    pair.ends[1].connection.ahead = ahead * MS
    due: list[float] = []
    for n in range(100):
        due.append(link.now + (link.weather.delay + 120) * MS)
        pair.send(0, [payload(n)])
        pair.run(5)
    pair.run(500)
    late = [(came - at) / MS for came, at in zip(pair.ends[1].times, due, strict=True)]
    assert min(late) >= -ahead
    assert max(late) <= 6 - ahead


def test_what_is_too_late_is_not_pressed_for() -> None:
    """The peer is gone: what was sent last is sent again while that is of use, and no longer."""
    link = Link(Weather(), Random(1))
    pair = Pair(link, Settings(latency=200))
    play(pair, 200, 5)
    link.weather.loss = 1.0
    pair.send(0, [payload(n) for n in range(10)])
    connection = pair.ends[0].connection
    counts: list[float] = []
    for _ in range(50):
        pair.run(20)
        connection.press(link.now)
        link.put(1, connection.datagrams_to_send(link.now))
        counts.append(connection.statistics.pktSndLoss)
    assert counts[8] >= 10, "nothing was sent again"
    assert counts[10] == counts[-1], counts
