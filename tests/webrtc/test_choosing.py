"""Which layer a viewer gets over links of any width, in virtual time: each packet goes through a queue in front of the link."""

from __future__ import annotations

from random import Random

import pytest
from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.media import NS, Track
from penstock.registry import Registry
from penstock_codecs.vp8 import VP8, Vp8Config
from penstock_codecs.vp8 import plugin as vp8
from penstock_formats.rtcp import ReceiverReport, encode_rtcp
from penstock_formats.transport_cc import MAX_STATUSES, Arrivals, TransportFeedback
from penstock_webrtc.choosing import Choosing
from penstock_webrtc.estimator import Estimator
from penstock_webrtc.layers import ALIVE_NS, Layers
from penstock_webrtc.muxer import MAX_PAYLOAD
from penstock_webrtc.numbering import MAX_SENT, Arrival, Numbering, flow
from penstock_webrtc.probe import LAST_NS, PROBE_NS, Prober
from penstock_webrtc.units import PayloadUnit
from tests.webrtc.test_srtp import pair

MS = NS // 1000
TICK = 20 * MS
FRAME = 40 * MS
FEEDBACK = 100 * MS
KEY_EVERY = 100
"""Pictures from one key frame to the next, where nobody asks."""
RATES = {1: 150_000, 2: 600_000, 3: 2_000_000}
"""Bits a second of each layer, by the ids of their tracks."""
KBIT = 1000


def _registry() -> Registry:
    registry = Registry()
    vp8.register(registry)
    return registry


TRACKS = [Track(n, VP8, 90_000, Vp8Config(160 * 2**n, 90 * 2**n), group="g") for n in RATES]


@define(eq=False)
class World:
    """A publisher of three layers, the link to one viewer, and what chooses between them. `width` is in bits a second."""

    width: float
    queue: int = 60_000
    delay: int = 20 * MS
    loss: float = 0.0
    stalls: bool = False
    """Whether the viewer's machine is so busy that it looks at what came only now and then: up to 80 ms later."""
    repairs: bool = True
    now: int = 10 * NS
    choosing: Choosing = field(init=False)
    layers: Layers = field(factory=lambda: Layers(_registry(), TRACKS))
    sent: set[int] = field(factory=lambda: set(RATES))
    """The layers that the publisher sends."""
    history: list[tuple[int, int | None]] = field(factory=list[tuple[int, "int | None"]])
    lost: int = 0
    _free: int = 0
    _awake: int = 0
    _frames: int = 0
    _coming: list[tuple[int, int]] = field(factory=list[tuple[int, int]])
    _told: Arrivals = field(factory=Arrivals)
    _feedbacks: list[tuple[int, TransportFeedback]] = field(factory=list[tuple[int, TransportFeedback]])
    _random: Random = field(factory=lambda: Random(1))

    def __attrs_post_init__(self) -> None:
        self.choosing = Choosing(Numbering(3, lambda: self.now), self.repairs)

    def run(self, seconds: float) -> None:
        end = self.now + int(seconds * NS)
        while self.now < end:
            self.now += TICK
            self._receive()
            if self.now % FRAME == 0:
                self._picture()
            octets = self.choosing.tick(self.layers.alive, self.now)
            while octets > 0:
                self._send(min(octets, MAX_PAYLOAD))
                octets -= MAX_PAYLOAD
            self.history.append((self.now, self.choosing.current))

    def _picture(self) -> None:
        self._frames += 1
        for track in TRACKS:
            if track.id not in self.sent:
                continue
            size = RATES[track.id] // 8 // 25
            wanted = track.id == self.choosing.wanted
            key = self._frames % KEY_EVERY == 1 or wanted
            if key:
                size *= 4
            payloads = tuple(bytes(min(MAX_PAYLOAD, size - at)) for at in range(0, size, MAX_PAYLOAD))
            self.layers.frame(track, payloads, self.now)
            unit = _Unit(track.id, key)
            begun = self.choosing.track is not None
            if track.id != self.choosing.current and (begun or track.id == max(self.sent)):
                self.choosing.takes(unit)  # type: ignore[arg-type]
            if track.id == self.choosing.current:
                for payload in payloads:
                    self._send(len(payload))

    def _send(self, size: int) -> None:
        numbering = self.choosing.numbering
        number = numbering.next
        numbering.extensions(1)
        numbering.sent([bytes(size)])
        waits = max(0, self._free - self.now)
        if waits * self.width / 8 / NS > self.queue or self._random.random() < self.loss:
            self.lost += 1
            return
        self._free = max(self._free, self.now) + int(size * 8 * NS / self.width)
        self._coming.append((self._free + self.delay, number))

    def _receive(self) -> None:
        while self.now >= self._awake and self._coming and self._coming[0][0] <= self.now:
            at, number = self._coming.pop(0)
            at = self.now if self.stalls else at
            # The viewer's clock is another one.
            self._told.add(number & 0xFFFF, at + 12_345 * NS)
        if self.stalls and self.now >= self._awake:
            self._awake = self.now + int(self._random.random() * 80 * MS)
        if self.now % FEEDBACK == 0 and (told := self._told.feedback()) is not None:
            again = TransportFeedback.parse(told.encode(1, 2).data)
            self._feedbacks.append((self.now + self.delay, again))
        while self._feedbacks and self._feedbacks[0][0] <= self.now:
            self.choosing.told(self._feedbacks.pop(0)[1], self.layers.alive, self.now)

    def share(self, layer: int, seconds: float) -> float:
        """Of the last seconds that in which the viewer got `layer`."""
        seen = [current for at, current in self.history if at > self.now - seconds * NS]
        return seen.count(layer) / len(seen)


@define
class _Unit:
    """What `Choosing.takes` looks at of a `PayloadUnit`."""

    of: int
    begins: bool


assert {"begins"} <= set(PayloadUnit.__slots__)


def fitting(width: float) -> tuple[int, int]:
    """The layers between which the choice may be: what surely fits, and what might."""
    sure = max((n for n, rate in RATES.items() if rate * 1.5 <= width), default=1)
    most = max((n for n, rate in RATES.items() if rate <= width), default=1)
    return sure, most


@settings(max_examples=12, deadline=None)
@given(
    width=st.integers(100, 4000),
    queue=st.integers(50_000, 200_000),
    delay=st.integers(5, 120),
)
def test_a_link_of_any_width_and_queue(width: int, queue: int, delay: int) -> None:
    world = World(width * KBIT, queue, delay * MS)
    world.run(40)
    sure, most = fitting(world.width)
    share = sum(world.share(n, 15) for n in range(sure, most + 1))
    assert share > 0.85, (sure, most, [world.share(n, 15) for n in RATES], world.choosing.estimator)


@settings(max_examples=8, deadline=None)
@given(width=st.integers(700, 1900), queue=st.integers(50_000, 150_000), delay=st.integers(5, 80))
def test_what_gets_through_while_a_queue_stands_is_what_the_link_carries(
    width: int, queue: int, delay: int
) -> None:
    world = World(width * KBIT, queue, delay * MS)
    while world.choosing.estimator.rate is None:
        world.run(0.1)
    world.run(0.3)
    rate = world.choosing.estimator.rate
    assert 0.75 * world.width <= rate <= 1.1 * world.width


def test_without_a_bound_it_is_the_best_from_the_start_and_nothing_is_tried() -> None:
    world = World(50_000 * KBIT)
    world.run(10)
    assert world.share(3, 9.9) == 1
    assert world.choosing.estimator.rate is None
    assert world.choosing.numbering.octets < 1.3 * 2_000_000 / 8 * 10


def test_it_falls_quickly_where_the_link_gets_narrow_and_rises_again() -> None:
    world = World(5_000 * KBIT)
    world.run(5)
    assert world.choosing.current == 3
    world.width = 800 * KBIT
    world.run(2)
    assert world.choosing.current in (1, 2)
    world.run(20)
    assert world.share(2, 10) > 0.9
    assert world.share(3, 15) == 0
    world.width = 5_000 * KBIT
    world.run(LAST_NS / NS + 3)
    assert world.choosing.current == 3


def test_it_rises_again_to_a_viewer_whose_machine_is_busy() -> None:
    world = World(800 * KBIT, stalls=True)
    world.run(6)
    assert world.choosing.current in (1, 2)
    world.width = 5_000 * KBIT
    world.run(LAST_NS / NS + 3)
    assert world.choosing.current == 3


def test_a_probe_of_which_only_the_end_was_held_up_got_through() -> None:
    prober = Prober()
    prober.begin(0, 1_000_000, 0, 0)
    sent = [(n, n // 2 * 20 * MS) for n in range(10)]
    assert prober.told([Arrival(n, at, at + 5 * MS + n // 8 * 40 * MS, 1250) for n, at in sent], NS) is None
    assert prober.due(PROBE_NS, 12_500, 10) == 0
    found = prober.told([Arrival(10, PROBE_NS, PROBE_NS + 45 * MS, 100)], NS)
    assert found == pytest.approx(1_000_000)
    assert prober.ready(NS)


def test_a_probe_that_was_not_told_of_is_none_that_failed() -> None:
    prober = Prober()
    for _ in range(5):
        prober.begin(0, 1_000_000, 0, 0)
        assert prober.due(PROBE_NS, 12_500, 10) == 0
        assert prober.told([Arrival(10, PROBE_NS, PROBE_NS, 100)], NS) == 0
        assert prober.ready(3 * NS)


def test_probes_that_fail_come_more_and_more_seldom_and_hurt_little() -> None:
    world = World(1_000 * KBIT, 40_000)
    world.run(30)
    lost = world.lost
    world.run(60)
    assert world.share(2, 60) > 0.95
    assert world.lost - lost < 30


def test_random_loss_alone_is_no_bound() -> None:
    world = World(50_000 * KBIT, loss=0.04)
    world.run(20)
    assert world.share(3, 19) == 1


def test_who_cannot_be_sent_repetitions_tries_the_next_layer_itself() -> None:
    world = World(800 * KBIT, repairs=False)
    world.run(10)
    assert world.choosing.current in (1, 2)
    world.width = 5_000 * KBIT
    world.run(LAST_NS / NS + 3)
    assert world.choosing.current == 3


def test_a_layer_that_is_not_sent_any_more_is_not_waited_for() -> None:
    world = World(50_000 * KBIT)
    world.run(3)
    assert world.choosing.current == 3
    world.sent = {1, 2}
    world.run(ALIVE_NS / NS + 0.2)
    assert world.choosing.current == 2
    world.sent = {1, 2, 3}
    world.run(0.5)
    assert world.choosing.current == 3


def test_pictures_are_shown_one_after_the_other_whatever_their_layers_say() -> None:
    choosing = Choosing(Numbering(1, lambda: 0), True)
    # The last key frame of another layer may be a second old, and what comes late is later still: only then it is a new time.
    times = [choosing.shown(at * MS) for at in (4000, 4040, 3990, 4030, 4080, 3020, 2900, 2000, 2040)]
    assert times == [at * MS for at in (4000, 4040, 4041, 4042, 4080, 4081, 4082, 2000, 2040)]


@settings(max_examples=30, deadline=None)
@given(
    base=st.integers(0, 0xFFFF),
    reference=st.integers(-(1 << 23), (1 << 23) - 1),
    steps=st.lists(st.none() | st.integers(-0x8000, 0x7FFF), min_size=1, max_size=MAX_STATUSES // 8),
    sizes=st.lists(st.integers(20, 1400), max_size=100),
)
def test_whatever_a_viewer_says_something_is_chosen(
    base: int, reference: int, steps: list[int | None], sizes: list[int]
) -> None:
    world = World(5_000 * KBIT)
    world.run(1)
    for size in sizes:
        world._send(size)  # pyright: ignore[reportPrivateUsage]
    told = TransportFeedback(base, reference, 0, tuple(steps))
    for _ in range(3):
        world.choosing.told(told, world.layers.alive, world.now)
    world.run(0.2)
    assert world.choosing.current in RATES
    rate = world.choosing.estimator.rate
    assert rate is None or rate >= 0


@pytest.mark.parametrize("late", [False, True])
def test_numbers_wrap_and_times_do(late: bool) -> None:
    now = 0
    numbering = Numbering(5, lambda: now, next=0xFFFF)
    assert numbering.extensions(2) == [b"\xbe\xde\0\1\x51\xff\xff\0", b"\xbe\xde\0\1\x51\0\0\0"]
    assert numbering.extensions(1, b"\xbe\xde\0\1\x72abc") == [b"\xbe\xde\0\2\x72abc\x51\0\1\0"]
    numbering.sent([bytes(100), bytes(200), bytes(300)])
    first = numbering.arrivals(TransportFeedback(0xFFFF, (1 << 23) - 1, 0, (0, 4)))
    assert [(a.number, a.size) for a in first] == [(0xFFFF, 100), (0x10000, 200)]
    again = numbering.arrivals(TransportFeedback(1, -(1 << 23), 0, (None if late else 256,)))
    (third,) = again
    assert third.number == 0x10001
    assert first[1].arrived is not None
    assert third.arrived == (None if late else first[1].arrived + 64 * MS - MS + 64 * MS)
    assert numbering.octets == 600


def test_what_waits_is_not_lost_and_leaves_when_it_leaves() -> None:
    now = 5 * NS
    sender, _ = pair("SRTP_AEAD_AES_128_GCM")
    numbering = Numbering(5, lambda: now, next=0xFFFE)
    packets = numbering.seal(sender, 1, (96, 224), 0, [bytes(100)] * 4, 0)
    numbering.left(packets[:1], packets[1:])
    told = TransportFeedback(0xFFFE, 0, 0, (0, None, None, None))
    assert [a.number for a in numbering.arrivals(told)] == [0xFFFE]
    now += 70 * MS
    numbering.left([*packets[1:], sender.protect_rtcp(encode_rtcp([ReceiverReport(1)]))], ())
    found = numbering.arrivals(told)
    assert [(a.sent - 5 * NS) // MS for a in found] == [0, 70, 70, 70]
    assert [a.arrived is None for a in found] == [False, True, True, True]


def test_what_came_in_no_time_tells_nothing() -> None:
    assert flow([]) == flow([Arrival(n, 5, 7, 1000) for n in range(9)]) == 0
    assert flow([Arrival(0, 5, None, 1000), Arrival(1, NS, 7, 1000)]) == 0
    assert flow([Arrival(n, 5, 7 + n * NS, 1000) for n in range(3)]) == 8000
    assert flow([Arrival(n, n * NS, 7 + n, 1000) for n in range(3)]) == 8000


def test_only_the_last_packets_are_known() -> None:
    numbering = Numbering(1, lambda: 0)
    for _ in range(3):
        numbering.extensions(MAX_SENT)
        numbering.sent([b"a"] * MAX_SENT)
    told = TransportFeedback(0, 1, 0, (0,) * MAX_STATUSES)
    assert not numbering.arrivals(told)
    told = TransportFeedback(2 * MAX_SENT - 1 & 0xFFFF, 1, 0, (0,) * MAX_STATUSES)
    assert len(numbering.arrivals(told)) == MAX_SENT


def test_what_another_sender_sends_has_no_number() -> None:
    """A second section of pictures goes by the same pacer; where our number would be is ciphertext, or another extension."""
    now = 5 * NS
    srtp, _ = pair("SRTP_AEAD_AES_128_GCM")
    numbering = Numbering(5, lambda: now)
    packets = numbering.seal(srtp, 1, (96, 224), 0, [bytes(100)] * 4, 0)
    others = [
        srtp.seal(2, (97, 225), 0, [bytes([n]) * 100], n, b"\xbe\xde\0\1\x72\0\0\0" if n % 2 else b"")[0]
        for n in range(128)
    ]
    now += 70 * MS
    numbering.left(others, [*others, *packets[2:]])
    told = TransportFeedback(0, 0, 0, (0, 0, None, None))
    assert [(a.number, a.sent, a.size) for a in numbering.arrivals(told)] == [
        (n, 5 * NS, len(packets[n])) for n in range(2)
    ], "what waits behind another's packets is not lost"  # fmt: skip


def arrivals(*found: tuple[int, int | None], size: int = 1250) -> list[Arrival]:
    """When each was sent, and how long it took, in ms."""
    return [
        Arrival(n, sent * MS, None if took is None else (sent + took) * MS, size)
        for n, (sent, took) in enumerate(found)
    ]


def test_two_late_packets_tell_no_rate() -> None:
    """Four are in the window, but two only are of late: nothing is known of a queue by them."""
    estimator = Estimator()
    estimator.told(arrivals((0, 20), (10, 20), (300, 150), (370, 250)))
    assert estimator.delay > 0
    assert not estimator.bounded
    # Four that say the same do.
    estimator = Estimator()
    estimator.told(arrivals((0, 20), (10, 20), (300, 150), (320, 180), (340, 210), (370, 250)))
    assert estimator.bounded


def test_a_queue_that_is_gone_is_no_delay_however_little_was_sent_since() -> None:
    estimator = Estimator()
    estimator.told(arrivals((0, 20), *((300 + 20 * n, 150 + 30 * n) for n in range(4))))
    assert estimator.delay > 0
    estimator.settle(5)
    estimator.told([Arrival(5, 1000 * MS, 1021 * MS, 1250)])
    assert estimator.delay == 0
