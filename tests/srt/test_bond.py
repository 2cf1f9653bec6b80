"""Several connections that carry one stream, ours at both ends."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import ClassVar

import pytest

from penstock_srt.bond import Bond, Joined
from penstock_srt.caller import Rejected
from penstock_srt.cipher import Mode
from penstock_srt.connection import Connection, Received
from penstock_srt.extension import GroupType
from penstock_srt.group_caller import GroupCaller, Way
from penstock_srt.handshake import RejectReason
from penstock_srt.listener import Accepted, Listener, Request, Requested
from penstock_srt.packet import CONTROL, HEADER, HEADER_SIZE, KEYS, RETRANSMITTED
from penstock_srt.settings import MS, Address, Settings
from tests.srt.link import Link, Weather

OURS = [("192.0.2.1", 1), ("198.51.100.1", 1)]
THEIRS = [("192.0.2.2", 9000), ("198.51.100.2", 9000)]


class Bonded:
    """A caller and a listener with two ways between them, which have their own weather."""

    def __init__(
        self,
        type: GroupType,
        weather: Sequence[Weather],
        settings: Settings | None = None,
        passphrase: str = "",
        listening: Settings | None = None,
    ) -> None:
        settings = settings or Settings(latency=500, peer_latency=500)
        self.ways = [Link(each, Random(n)) for n, each in enumerate(weather)]
        self.now = self.ways[0].now
        self.passphrase = passphrase
        self.listener = Listener(listening or settings, Random(7))
        self.caller = GroupCaller(
            settings,
            [Way(THEIRS[0], 10), Way(THEIRS[1], 5)],
            type,
            b"live/stream",
            passphrase,
            Random(8),
            self.now,
        )
        self.bonds: list[Bond | None] = [None, None]
        self.links: tuple[list[Connection], list[Connection]] = ([], [])
        self.received: tuple[list[bytes], list[bytes]] = ([], [])
        self.dropped = 0
        self.rejected: list[int] = []
        self.asked: list[Request] = []
        self.decides = True

    def send(self, by: int, payloads: list[bytes]) -> None:
        bond = self.bonds[by]
        assert bond is not None
        for link, datagrams in bond.send(payloads, self.now):
            self._put(by, [(data, link.address) for data in datagrams])

    def run(self, ms: int) -> None:
        for _ in range(ms):
            self.now += MS
            for n, way in enumerate(self.ways):
                way.now = self.now
                for end, datagrams in enumerate(way.arrived()):
                    for data in datagrams:
                        self._take(end, data, (THEIRS, OURS)[end][n])
            for end in (0, 1):
                self._serve(end)

    def _take(self, end: int, data: bytes, addr: Address) -> None:
        for link in self.links[end]:
            if data[12:16] == link.id.to_bytes(4, "big"):
                link.receive_datagrams((data,), self.now)
                return
        (self.caller, self.listener)[end].receive_datagram(data, addr, self.now)

    def _serve(self, end: int) -> None:
        negotiator = (self.caller, self.listener)[end]
        timeout = negotiator.next_timeout()
        if timeout is not None and timeout <= self.now:
            negotiator.handle_timeout(self.now)
        while (event := negotiator.next_event()) is not None:
            match event:
                case Requested(request):
                    self.asked.append(request)
                    if self.decides:
                        request.accept(self.now, self.passphrase)
                case Accepted(connection, bond) | Joined(connection, bond):
                    self.links[end].append(connection)
                    self.bonds[end] = bond
                case Rejected(reason):
                    self.rejected.append(reason)
                case _:
                    pass
        self._put(end, negotiator.datagrams_to_send(self.now))
        for link in self.links[end]:
            due = link.next_timeout()
            if due is not None and due <= self.now:
                link.handle_timeout(self.now)
            self._put(end, [(data, link.address) for data in link.datagrams_to_send(self.now)])
            later = link.next_timeout()
            assert later is None or later > self.now, "who does what is due is called again without end"
            while (given := link.next_event()) is not None:
                if isinstance(given, Received):
                    self.received[end].extend(given.payloads)
                    self.dropped += given.dropped

    def _put(self, by: int, datagrams: Sequence[tuple[bytes, Address]]) -> None:
        for data, addr in datagrams:
            self.ways[(THEIRS, OURS)[by].index(addr)].put(1 - by, [data])


def payload(n: int) -> bytes:
    return n.to_bytes(8, "big") * 2


def play(bonded: Bonded, first: int, count: int, both: bool = False) -> None:
    for n in range(first, first + count):
        bonded.send(0, [payload(n)])
        if both:
            bonded.send(1, [payload(n)])
        bonded.run(2)


@pytest.mark.parametrize("passphrase", ["", "a long passphrase"])
def test_broadcast_loses_nothing_where_one_way_or_the_other_is_bad(passphrase: str) -> None:
    """One way loses a third and then all, while the other is 40 ms longer."""
    bonded = Bonded(
        GroupType.BROADCAST, [Weather(loss=0.3), Weather(delay=60, jitter=5)], passphrase=passphrase
    )
    bonded.run(2000)
    assert [len(links) for links in bonded.links] == [2, 2]
    play(bonded, 0, 300, both=True)
    bonded.ways[0].weather.loss = 1.0
    play(bonded, 300, 300, both=True)
    bonded.run(1000)
    expected = [payload(n) for n in range(600)]
    assert bonded.received == (expected, expected)
    assert bonded.dropped == 0


def test_backup_uses_the_better_way_until_it_fails_and_again_when_it_is_back() -> None:
    bonded = Bonded(GroupType.BACKUP, [Weather(), Weather(delay=40)])
    bonded.run(1500)
    play(bonded, 0, 300)
    carried = bonded.ways[1].carried
    assert carried < 30, "the way of less weight has handshakes and keep-alives only"
    bonded.ways[0].weather.loss = 1.0
    play(bonded, 300, 300)
    assert bonded.ways[1].carried > carried + 300
    bonded.ways[0].weather.loss = 0.0
    bonded.run(1500)
    carried = bonded.ways[1].carried
    play(bonded, 600, 300)
    assert bonded.ways[1].carried < carried + 100
    bonded.run(1000)
    assert bonded.received[1] == [payload(n) for n in range(900)]
    assert bonded.dropped == 0


def test_what_goes_once_more_by_the_same_link_is_the_same_packet() -> None:
    """GCM's nonce is the sequence number: with another header, and that is authenticated, none may be used again."""

    class Tapped(Bonded):
        packets: ClassVar[dict[tuple[int, int, int], set[bytes]]] = {}
        again = 0

        def _put(self, by: int, datagrams: Sequence[tuple[bytes, Address]]) -> None:
            for data, _ in datagrams:
                sequence, message, stamp, destination = HEADER.unpack_from(data)
                if not sequence & CONTROL:
                    sent = self.packets.setdefault((destination, message & KEYS, sequence), set())
                    self.again += bool(sent) and not message & RETRANSMITTED
                    message &= ~RETRANSMITTED
                    sent.add(HEADER.pack(sequence, message, stamp, destination) + data[HEADER_SIZE:])
            super()._put(by, datagrams)

    settings = Settings(latency=2000, peer_latency=2000, mode=Mode.GCM)
    bonded = Tapped(GroupType.BACKUP, [Weather(), Weather()], settings, passphrase="a long passphrase")
    bonded.run(1500)
    play(bonded, 0, 100)
    bonded.ways[0].weather.loss = 1.0
    count, carried = 100, bonded.ways[1].carried
    while bonded.ways[1].carried < carried + 100:
        play(bonded, count, 1)
        count += 1
    # The other one fails as soon as it is used, and the first is back.
    bonded.ways[0].weather.loss, bonded.ways[1].weather.loss = 0.0, 1.0
    play(bonded, count, 400)
    bonded.run(3000)
    assert bonded.received[1] == [payload(n) for n in range(count + 400)]
    assert bonded.again > 100
    assert all(len(sent) == 1 for sent in bonded.packets.values())


def test_a_way_that_was_given_up_is_tried_again() -> None:
    bonded = Bonded(GroupType.BROADCAST, [Weather(), Weather()])
    bonded.run(500)
    bonded.ways[1].weather.loss = 1.0
    bonded.run(7000)
    assert [link.closed == "" for link in bonded.links[0]] == [True, False]
    bonded.ways[1].weather.loss = 0.0
    bonded.run(4500)
    assert bonded.caller.bond is not None
    assert len(bonded.caller.bond.open) == 2
    bonded.ways[0].weather.loss = 1.0
    play(bonded, 0, 100)
    bonded.run(1000)
    assert bonded.received[1] == [payload(n) for n in range(100)]
    for link in bonded.links[1]:
        link.close("done")
        bonded.listener.release(link)
    bonded.run(500)
    assert len(bonded.listener.connections) == 0


@pytest.mark.parametrize("passphrase", ["", "a long passphrase", None])
def test_links_that_call_together_wait_for_the_first_one(passphrase: str | None) -> None:
    """They are asked for once that is let in, or refused with it, where the passphrase is another one or nobody is let in."""
    bonded = Bonded(GroupType.BROADCAST, [Weather()] * 2, passphrase="a long passphrase")
    bonded.decides = False
    bonded.run(200)
    (request,) = bonded.asked
    if passphrase is None:
        request.reject(1403)
    else:
        request.accept(bonded.now, passphrase)
    bonded.run(100)
    if passphrase:
        assert len(bonded.links[1]) == 1
        _, other = bonded.asked
        assert other.bond is bonded.bonds[1]
        other.accept(bonded.now)
        bonded.run(100)
        assert [len(links) for links in bonded.links] == [2, 2]
        play(bonded, 0, 50)
        bonded.run(1000)
        assert bonded.received[1] == [payload(n) for n in range(50)]
    else:
        assert len(bonded.asked) == 1
        assert bonded.rejected == [1403 if passphrase is None else RejectReason.UNSECURE]


def test_a_listener_that_takes_no_groups_says_so() -> None:
    settings = Settings(groups=False)
    bonded = Bonded(GroupType.BROADCAST, [Weather(), Weather()], Settings(), listening=settings)
    bonded.run(500)
    assert bonded.rejected == [RejectReason.GROUP]
    assert bonded.caller.next_timeout() is None
