"""A link that becomes narrow under a viewer of simulcast, in virtual time: how long it is without a picture until a smaller layer
comes. The server is a real one; in front of the viewer is a queue of so many packets.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import pairwise

import anyio
from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock import NS, Publisher, Track
from penstock_codecs.vp8.header import VP8 as VP8_CODEC
from penstock_codecs.vp8.header import Vp8Config
from penstock_formats.rtcp import Nack, ReceiverReport, RtcpPacket
from penstock_formats.rtp.packet import RtpPacket, extension_elements
from penstock_formats.transport_cc import Arrivals
from penstock_webrtc.missing import Missing
from penstock_webrtc.repair import parse_repair
from tests.webrtc.client import Client, rig
from tests.webrtc.test_whep import playing
from tests.webrtc.virtual import Clock, run

MS = NS // 1000
STEP = 2 * MS
FRAME = 40 * MS
RATES = (150_000, 600_000, 2_000_000)
WIDTHS = (16, 32, 64)
WIDE = 50e6
"""Bits a second of a link that carries everything."""
KEY_FACTOR = 4
"""So many times larger than others are key frames."""
ENCODE = 60 * MS
"""From the wish for a key frame until one is made."""
FEEDBACK = 50 * MS
ASK = 20 * MS
SECONDS = 4.0
"""After the link became narrow, in which the smaller layer must have come and stayed."""
GAP = 0.6
"""Seconds: of what is sent while nothing is known of it some is lost, and what is behind that in the queue is not shown."""


@define(eq=False)
class Link:
    """`width` in bits a second, a queue of `most` packets in front, and `delay` each way."""

    width: float
    most: int
    delay: int
    dropped: int = 0
    _free: int = 0
    _leaving: list[int] = field(factory=list[int])
    coming: list[tuple[int, RtpPacket]] = field(factory=list[tuple[int, RtpPacket]])

    def put(self, packet: RtpPacket, now: int) -> None:
        self._leaving = [at for at in self._leaving if at > now]
        if len(self._leaving) >= self.most:
            self.dropped += 1
            return
        size = len(packet.payload) + 60
        self._free = max(self._free, now) + int(size * 8 * NS / self.width)
        self._leaving.append(self._free)
        self.coming.append((self._free + self.delay, packet))


def begins(packet: RtpPacket) -> bool:
    """Whether it is the first of a key frame (RFC 7741 4.2, 4.3)."""
    return packet.payload[0] & 0x10 > 0 and packet.payload[4] & 1 == 0


@define(eq=False)
class Decoder:
    """Shows what is whole, each picture after the one before it or from a key frame on."""

    shown: list[tuple[int, int]] = field(factory=list[tuple[int, int]])
    """When, and how wide."""
    _packets: dict[int, RtpPacket] = field(factory=dict[int, RtpPacket])
    _next: int | None = None
    _wide: int = 0

    def take(self, packet: RtpPacket, now: int) -> None:
        if self._next is None or (packet.sequence - self._next & 0xFFFF) < 0x8000:
            self._packets.setdefault(packet.sequence, packet)
        while (first := self._first()) is not None:
            begin, size = first
            payload = self._packets[begin].payload
            if payload[4] & 1 == 0:
                self._wide = payload[10]
            self._next = begin + size & 0xFFFF
            self._packets = {n: p for n, p in self._packets.items() if (n - self._next & 0xFFFF) < 0x8000}
            self.shown.append((now, self._wide))

    def _first(self) -> tuple[int, int] | None:
        """The next picture that can be shown: the number of its first packet, and how many it has."""
        keys = [n for n, p in self._packets.items() if begins(p)]
        # The newest key frame that is whole, for who waits for something that never comes.
        for begin in [*([] if self._next is None else [self._next]), *keys[::-1]]:
            size = self._whole(begin)
            if size:
                return begin, size
        return None

    def _whole(self, begin: int) -> int:
        size = 0
        while (packet := self._packets.get(begin + size & 0xFFFF)) is not None:
            size += 1
            if packet.marker:
                return size
        return 0


@define(eq=False)
class Show:
    """A publisher of three layers, with a key frame each `key_every` pictures besides those that are wanted, and a viewer."""

    clock: Clock
    publisher: Publisher
    tracks: Sequence[Track]
    client: Client
    link: Link
    key_every: int = 0
    decoder: Decoder = field(factory=Decoder)
    asked: list[int] = field(factory=list[int])
    """The tracks of which key frames were asked for."""
    deaf: bool = False
    """Whether the publisher makes none when it is asked."""
    pictures: int = 0
    """How many were published of each layer."""
    stale: int = 0
    """Packets that were sent again, of pictures in front of the last key frame that was sent."""
    _key: int = 0
    _began: int = 0
    _wanted: dict[int, int] = field(factory=dict[int, int])
    _taken: int = 0
    _arrivals: Arrivals = field(factory=Arrivals)
    _missing: Missing = field(factory=Missing)
    _saying: list[tuple[int, list[RtcpPacket]]] = field(factory=list[tuple[int, list[RtcpPacket]]])
    _told_at: int = 0
    _asked_at: int = 0

    def ask(self, track: Track) -> None:
        self.asked.append(track.id)
        if not self.deaf:
            self._wanted.setdefault(track.id, self.clock.now + ENCODE)

    async def run(self, seconds: float) -> None:
        self._began = self._began or self.clock.now
        end = self.clock.now + int(seconds * NS)
        while self.clock.now < end:
            if self.clock.now >= self.pictures * FRAME + self._began:
                await self.picture()
            await anyio.sleep(STEP / NS)
            while self.client.receive():
                pass
            now = self.clock.now
            for packet in self.client.packets[self._taken :]:
                self._note(packet)
                self.link.put(packet, now)
            self._taken = len(self.client.packets)
            self._view(now)

    def _note(self, packet: RtpPacket) -> None:
        if packet.payload_type == 97:
            found = parse_repair(packet.payload)
            assert found is not None
            self.stale += found[0] - self._key & 0xFFFF >= 0x8000
        elif begins(packet):
            self._key = packet.sequence

    async def picture(self) -> None:
        for track, wide, rate in zip(self.tracks, WIDTHS, RATES, strict=True):
            due = self.key_every and self.pictures % self.key_every == 0
            key = (
                self.pictures == 0 or due or self._wanted.get(track.id, self.clock.now + 1) <= self.clock.now
            )
            size = rate // 8 // 25 * (KEY_FACTOR if key else 1)
            head = b"\x11"
            if key:
                self._wanted.pop(track.id, None)
                head = b"\x10\x00\x00\x9d\x01\x2a" + bytes((wide, 0, wide, 0))
            data = head + bytes(size - len(head))
            self.publisher.write(track.id, (data,), pts=self.pictures * NS // 25, key=key)
        self.pictures += 1
        await self.publisher.flush()

    def _view(self, now: int) -> None:
        coming = self.link.coming
        while coming and coming[0][0] <= now:
            at, packet = coming.pop(0)
            assert packet.extension is not None
            number = next(value for n, value in extension_elements(packet.extension) if n == 3)
            self._arrivals.add(int.from_bytes(number, "big"), at)
            if packet.payload_type == 97:
                found = parse_repair(packet.payload)
                assert found is not None
                packet = RtpPacket(96, packet.marker, found[0], packet.timestamp, 1, found[1])
            self._missing.received(packet.sequence, now)
            self.decoder.take(packet, now)
        if now >= self._told_at and (told := self._arrivals.feedback()) is not None:
            self._told_at = now + FEEDBACK
            self._say(told.encode(1, 2), now=now)
        if now >= self._asked_at and (due := self._missing.due(now)):
            self._asked_at = now + ASK
            self._say(Nack.of(1, self.client.packets[0].ssrc, due), now=now)
        while self._saying and self._saying[0][0] <= now:
            self.client.send_rtcp(ReceiverReport(1), *self._saying.pop(0)[1])

    def _say(self, *packets: RtcpPacket, now: int) -> None:
        self._saying.append((now + self.link.delay, list(packets)))

    def gap(self, since: int) -> float:
        """The longest time without a picture, in seconds."""
        at = [when for when, _ in self.decoder.shown if when >= since - FRAME]
        return max(b - a for a, b in pairwise([*at, self.clock.now])) / NS

    def widths(self, since: int) -> list[int]:
        """Those of the pictures that were shown, one after the other."""
        wide = [wide for at, wide in self.decoder.shown if at >= since]
        return [b for a, b in pairwise([0, *wide]) if a != b]


@asynccontextmanager
async def watching(clock: Clock, link: Link, key_every: int = 0) -> AsyncGenerator[Show]:
    """A viewer of the largest layer, over a link that carries everything."""
    layers = [(VP8_CODEC, 90_000, Vp8Config(wide, wide)) for wide in WIDTHS]
    async with rig() as served:
        publisher, tracks = await served.publish("live/one", *layers, group="layers")
        client = Client(("VP8/90000",))
        show = Show(clock, publisher, tracks, client, link, key_every)
        publisher.on_key_frame_request = show.ask
        await show.picture()
        await playing(served, client)
        with clock.virtual():
            yield show


async def narrowed(clock: Clock, factor: float, most: int, delay: int, before: float) -> tuple[Show, int]:
    """One whose link becomes so many times narrower than the layer after `before` seconds, and when that was."""
    async with watching(clock, Link(WIDE, most, delay * MS)) as show:
        await show.run(before)
        show.link.width = RATES[-1] / factor
        since = clock.now
        await show.run(SECONDS)
    return show, since


@settings(max_examples=8, deadline=None)
@given(
    factor=st.floats(1.3, 5),
    most=st.integers(30, 100),
    delay=st.integers(5, 40),
    before=st.floats(1, 2),
)
def test_a_smaller_layer_comes_without_a_break(factor: float, most: int, delay: int, before: float) -> None:
    show, since = run(partial(narrowed, factor=factor, most=most, delay=delay, before=before))
    first, *others = show.widths(since)
    assert first == WIDTHS[-1]
    assert others, "no smaller layer"
    assert others == sorted(others, reverse=True)
    assert RATES[WIDTHS.index(others[-1])] * factor <= RATES[-1]
    assert show.gap(since) <= GAP
    assert show.tracks[-1].id not in show.asked
    assert not show.stale


def test_its_last_key_frame_is_enough_where_that_is_not_long_ago() -> None:
    """As where it was asked for another viewer just before: the publisher is asked at most once a second."""

    async def work(clock: Clock) -> None:
        async with watching(clock, Link(WIDE, 60, 10 * MS), key_every=100) as show:
            show.deaf = True
            await show.run(100 * FRAME / NS)
            show.link.width = RATES[-1] / 2
            since = clock.now
            await show.run(2)
            assert show.widths(since) == [64, 32]
            assert show.gap(since) <= GAP
            assert show.asked
            # All since the key frame, but for what is on its way.
            smaller = [wide for _, wide in show.decoder.shown if wide == 32]
            assert show.pictures - 100 - 16 <= len(smaller) <= show.pictures - 100

    run(work)


def test_who_cannot_be_asked_changes_at_its_next_key_frame() -> None:
    async def work(clock: Clock) -> None:
        async with watching(clock, Link(WIDE, 60, 10 * MS), key_every=100) as show:
            show.publisher.on_key_frame_request = None
            await show.run(2)
            show.link.width = RATES[-1] / 1.5
            since = clock.now
            await show.run(1.9)
            assert show.widths(since) == [64]
            assert show.decoder.shown[-1][0] > since + NS
            await show.run(1.5)
            assert show.widths(since) == [64, 32]

    run(work)
