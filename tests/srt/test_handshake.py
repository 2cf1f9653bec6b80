"""Callers, listeners and rendezvous over a bad link; what a listener does with strangers (group S of the bad inputs)."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from penstock_srt.allowance import ALL, EACH, MAX_SITES
from penstock_srt.caller import RETRY, Caller, Connected, Rejected
from penstock_srt.cipher import Mode
from penstock_srt.connection import Connection
from penstock_srt.extension import Extensions, Group, Hello
from penstock_srt.handshake import REFUSAL, Handshake, Kind, RejectReason, meaning
from penstock_srt.key_material import KeyMaterial
from penstock_srt.listener import (
    MAX_REQUESTS,
    MAX_REQUESTS_EACH,
    Accepted,
    Listener,
    PutOff,
    Refused,
    Request,
    Requested,
)
from penstock_srt.negotiation import MAX_ID
from penstock_srt.packet import ControlPacket, ControlType
from penstock_srt.rejection import Rejection
from penstock_srt.rendezvous import Rendezvous, contest
from penstock_srt.settings import MS, Address, Settings
from tests.srt.link import LEFT, RIGHT, Link, Weather

PASSPHRASE = "a long passphrase"
STRANGER = ("192.0.2.66", 666)
End = Caller | Listener | Rendezvous


class Meeting:
    """Two ends that shake hands over a link, left at LEFT and right at RIGHT."""

    def __init__(self, left: End, right: End, link: Link) -> None:
        self.ends, self.link = (left, right), link
        self.found: tuple[list[object], list[object]] = ([], [])
        self.passphrase = ""
        self.reject = 0

    def run(self, ms: int) -> None:
        until = self.link.now + ms * MS
        while self.link.now < until:
            self.link.now += 5 * MS
            for n, datagrams in enumerate(self.link.arrived()):
                end, addr = self.ends[n], (RIGHT, LEFT)[n]
                for data in datagrams:
                    end.receive_datagram(data, addr, self.link.now)
                timeout = end.next_timeout()
                if timeout is not None and timeout <= self.link.now:
                    end.handle_timeout(self.link.now)
                while (event := end.next_event()) is not None:
                    self.found[n].append(event)
                    if isinstance(event, Requested):
                        self.answer(event.request)
                self.link.put(1 - n, [data for data, _ in end.datagrams_to_send(self.link.now)])

    def answer(self, request: Request) -> None:
        if self.reject:
            request.reject(self.reject)
        else:
            request.accept(self.link.now, self.passphrase)

    def connections(self) -> list[Connection]:
        return [
            event.connection
            for events in self.found
            for event in events
            if isinstance(event, Accepted | Connected)
        ]


def call(
    link: Link, settings: Settings | None = None, ours: str = "", theirs: str = "", reject: int = 0
) -> Meeting:
    settings = settings or Settings(connect_timeout=10_000)
    caller = Caller(settings, RIGHT, "live/strøm".encode(), ours, Random(3), link.now)
    meeting = Meeting(caller, Listener(Settings(latency=200), Random(4)), link)
    meeting.passphrase, meeting.reject = theirs, reject
    return meeting


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("mode", [None, *Mode])
def test_a_call_gets_through_a_bad_link_once(seed: int, mode: Mode | None) -> None:
    link = Link(Weather(loss=0.4, duplicate=0.5, jitter=300), Random(seed))
    secret = PASSPHRASE if mode else ""
    meeting = call(
        link, Settings(connect_timeout=20_000, mode=mode or Mode.CTR, key_length=32), secret, secret
    )
    meeting.run(20_000)
    left, right = meeting.connections()
    assert left.stream_id == right.stream_id == "live/strøm".encode()
    assert left.terms.peer_id == right.id
    assert right.terms.peer_id == left.id
    assert left.terms.latency == right.terms.peer_latency == 120
    assert right.terms.latency == left.terms.peer_latency == 200
    for sender, receiver in ((left, right), (right, left)):
        receiver.receive_datagrams(sender.send([b"payload"], link.now), link.now)
        receiver.handle_timeout(link.now + 2_000 * MS)
        received = receiver.next_event()
        assert getattr(received, "payloads", None) == [b"payload"]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("secret", ["", PASSPHRASE])
def test_a_rendezvous_is_kept_over_a_bad_link(seed: int, secret: str) -> None:
    link = Link(Weather(loss=0.3, duplicate=0.3, jitter=200), Random(seed))
    left, right = (
        Rendezvous(Settings(), addr, b"", secret, Random(seed + n), link.now)
        for n, addr in enumerate((RIGHT, LEFT))
    )
    meeting = Meeting(left, right, link)
    meeting.run(5_000)
    connections = meeting.connections()
    # One of the two knows only of what the other says next: the agreement may be lost.
    assert connections
    if len(connections) == 1:
        connection = connections[0]
        other = right if connection.id == left.socket_id else left
        link.now += 1000 * MS
        for data in connection.datagrams_to_send(link.now):
            other.receive_datagram(data, LEFT if other is right else RIGHT, link.now)
        event = other.next_event()
        assert isinstance(event, Connected)
        connections.append(event.connection)
    one, two = connections
    two.receive_datagrams(one.send([b"payload"], link.now), link.now)
    two.handle_timeout(link.now + 2_000 * MS)
    assert getattr(two.next_event(), "payloads", None) == [b"payload"]


def test_an_agreement_that_was_lost_is_said_again_by_the_connection() -> None:
    """Who waits for it asks each quarter of a second: without an answer, it would not know before the next keep-alive."""
    link = Link(Weather(delay=1), Random(1))
    left, right = (
        Rendezvous(Settings(), addr, b"", "", Random(n), link.now) for n, addr in enumerate((RIGHT, LEFT))
    )
    meeting = Meeting(left, right, link)
    while not (connections := meeting.connections()):
        meeting.run(5)
    (connection,) = connections
    other = right if connection.id == left.socket_id else left
    agreed = link.now
    link.now += 1 * MS
    assert sum(map(len, link.arrived())) == 1, "the agreement, which nobody gets"
    assert other.next_event() is None
    link.now = agreed + RETRY
    asked = [data for data, _ in other.datagrams_to_send(link.now)]
    connection.receive_datagrams(asked, link.now)
    (answer,) = connection.datagrams_to_send(link.now)
    other.receive_datagram(answer, other.address, link.now)
    assert isinstance(other.next_event(), Connected)
    connection.receive_datagrams([answer], link.now)
    assert connection.datagrams_to_send(link.now) == [], "an agreement needs no answer"


@pytest.mark.parametrize(
    ("ours", "theirs", "reason"),
    [
        ("", PASSPHRASE, RejectReason.UNSECURE),
        (PASSPHRASE, "", RejectReason.UNSECURE),
        (PASSPHRASE, "another passphrase", RejectReason.BAD_SECRET),
    ],
)
def test_passphrases_that_differ_are_refused(ours: str, theirs: str, reason: RejectReason) -> None:
    meeting = call(Link(Weather(), Random(1)), ours=ours, theirs=theirs)
    meeting.run(500)
    assert meeting.found[0] == [Rejected(reason)]
    assert meeting.found[1][1:] == [Refused(LEFT, "live/strøm".encode(), reason)]


def test_a_refusal_of_the_application_is_told_with_its_number() -> None:
    meeting = call(Link(Weather(), Random(1)), reject=Rejection.NOT_FOUND)
    meeting.run(500)
    assert meeting.found[0] == [Rejected(1404)]
    assert meeting.connections() == []
    assert "no such stream" in meaning(1404)
    assert "calls itself" in meaning(RejectReason.RENDEZVOUS_COOKIE)
    assert meaning(4711) == "reason 4711"


def test_a_caller_that_nobody_answers_says_so() -> None:
    meeting = call(Link(Weather(loss=1.0), Random(1)), Settings(connect_timeout=3000))
    meeting.run(3100)
    assert meeting.found[0] == [Rejected(RejectReason.TIMEOUT)]
    assert meeting.link.carried == 12


def test_cookies_are_compared_as_libsrt_does() -> None:
    assert contest(5, 4) == 1
    assert contest(4, 5) == -1
    assert contest(5, 5) == 0
    assert contest(0x80000000, 0x7FFFFFFF) == 1
    assert contest(0, 0x80000000) == 1
    assert contest(0x80000000, 0) == -1


class Stranger:
    """Sends a listener handshakes of any kind."""

    def __init__(self) -> None:
        self.listener = Listener(Settings(), Random(1))
        self.now = 10**12

    def say(self, addr: Address = STRANGER, **fields: object) -> list[Handshake]:
        """What the listener answers to a conclusion, or what else `fields` make of it."""
        given = {
            "version": 5,
            "encryption": 0,
            "extension": 1,
            "initial_sequence": 1,
            "mtu": 1500,
            "window": 8192,
            "kind": Kind.CONCLUSION,
            "socket_id": 7,
            "cookie": 0,
            "extensions": Extensions(request=Hello(0x010501, 0x3F, 120, 120)).build(),
        } | fields
        handshake = Handshake(**given)  # type: ignore[arg-type]
        self.listener.receive_datagram(
            ControlPacket(ControlType.HANDSHAKE, 0, 0, 0, 0, handshake.build()).build(), addr, self.now
        )
        return self.replies()

    def cookie(self, addr: Address = STRANGER) -> int:
        return self.say(addr, kind=Kind.INDUCTION)[0].cookie

    def replies(self) -> list[Handshake]:
        found = [ControlPacket.parse(data) for data, _ in self.listener.datagrams_to_send(self.now)]
        return [Handshake.parse(packet.body) for packet in found if packet.type == ControlType.HANDSHAKE]


@pytest.mark.parametrize("version", [3, 4, 5, 255])
def test_s2_inductions_are_answered_in_kind_and_leave_nothing(version: int) -> None:
    stranger = Stranger()
    (answer,) = stranger.say(version=version, kind=Kind.INDUCTION, cookie=99, extensions=b"")
    assert (answer.version, answer.extension, answer.socket_id) == (5, 0x4A17, 7)
    # Never more than came: 64 bytes for 64.
    assert len(answer.build()) == 48
    assert stranger.listener.next_event() is None
    assert stranger.listener.next_timeout() is None


def test_s3_a_cookie_is_good_for_its_address_and_a_minute_or_two() -> None:
    stranger = Stranger()
    cookie = stranger.cookie()
    assert stranger.say(cookie=cookie ^ 1) == []
    assert stranger.say(("192.0.2.66", 667), cookie=cookie) == []
    stranger.now += 200_000 * MS
    assert stranger.say(cookie=cookie) == []
    assert stranger.listener.next_event() is None
    assert stranger.say(cookie=stranger.cookie()) == []
    assert isinstance(stranger.listener.next_event(), Requested)


@pytest.mark.parametrize(
    "wrong",
    [
        {"mtu": 0},
        {"mtu": 28},
        # Enough for a packet of MPEG-TS, and not where that is encrypted with GCM.
        {"mtu": 247},
        {"window": 0},
        {"socket_id": 0},
        {"initial_sequence": 1 << 31},
        {"extensions": b""},
        {"extensions": b"\0\1\0\0"},
        {"extensions": b"\0\1\xff\xff" + bytes(40)},
        {"extensions": Extensions(request=Hello(1, 0, 0, 0)).build() * 2},
    ],
)
def test_s3_s4_a_conclusion_without_sense_is_refused(wrong: dict[str, object]) -> None:
    stranger = Stranger()
    (answer,) = stranger.say(STRANGER, **{"cookie": stranger.cookie()} | wrong)
    assert answer.refusal == RejectReason.ROGUE
    event = stranger.listener.next_event()
    assert isinstance(event, Refused)


def test_s4_callers_of_before_srt_1_3_are_refused_so_that_they_understand() -> None:
    stranger = Stranger()
    cookie = stranger.cookie()
    handshake = Handshake(4, 0, 2, 1, 1500, 8192, Kind.CONCLUSION, 7, cookie)
    stranger.listener.receive_datagram(
        ControlPacket(ControlType.HANDSHAKE, 0, 0, 0, 0, handshake.build()).build(), STRANGER, stranger.now
    )
    refusal, shutdown = (
        ControlPacket.parse(data) for data, _ in stranger.listener.datagrams_to_send(stranger.now)
    )
    assert Handshake.parse(refusal.body).kind == REFUSAL + RejectReason.VERSION
    assert shutdown.type == ControlType.SHUTDOWN
    assert shutdown.destination == 7


def test_s6_a_stream_id_is_handed_on_as_it_was_sent() -> None:
    stranger = Stranger()
    stream_id = b"\xff\xfe" + bytes(range(1, 200)) * 4
    hello = Hello(0x010501, 0x3F, 120, 120)
    extensions = Extensions(request=hello, stream_id=stream_id).build()
    assert stranger.say(cookie=stranger.cookie(), extensions=extensions) == []
    event = stranger.listener.next_event()
    assert isinstance(event, Requested)
    assert event.request.stream_id == stream_id


def test_s9_ten_thousand_half_handshakes_do_not_keep_a_caller_out() -> None:
    stranger = Stranger()
    for port in range(10_000):
        stranger.say((STRANGER[0], port), kind=Kind.INDUCTION)
    assert stranger.listener.next_event() is None
    stranger.say(cookie=stranger.cookie())
    event = stranger.listener.next_event()
    assert isinstance(event, Requested)
    event.request.accept(stranger.now)
    assert isinstance(stranger.listener.next_event(), Accepted)


def test_s9_unanswered_requests_are_bounded_for_each_site_and_forgotten() -> None:
    """Those of one network of IPv6 count as those of an address: they do not keep the others out."""
    stranger = Stranger()
    for port in range(MAX_REQUESTS_EACH):
        addr = (f"2001:db8::{port:x}", port)
        assert stranger.say(addr, cookie=stranger.cookie(addr)) == []
    addr = ("2001:db8::ffff", 1)
    (answer,) = stranger.say(addr, cookie=stranger.cookie(addr))
    assert answer.refusal == RejectReason.BACKLOG
    for n in range(MAX_REQUESTS_EACH, MAX_REQUESTS):
        addr = (f"198.51.100.{n // MAX_REQUESTS_EACH}", n)
        assert stranger.say(addr, cookie=stranger.cookie(addr)) == []
    (answer,) = stranger.say(cookie=stranger.cookie())
    assert answer.refusal == RejectReason.BACKLOG
    first = stranger.listener.next_event()
    assert isinstance(first, Requested)
    first.request.reject(Rejection.NOT_FOUND)
    stranger.replies()
    addr = ("2001:db8::ffff", 1)
    assert stranger.say(addr, cookie=stranger.cookie(addr)) == [], "there is a place again"
    timeout = stranger.listener.next_timeout()
    assert timeout is not None
    stranger.now = timeout
    stranger.listener.handle_timeout(stranger.now)
    assert stranger.listener.next_timeout() is None
    second = stranger.listener.next_event()
    while not isinstance(second, Requested):
        second = stranger.listener.next_event()
    second.request.accept(stranger.now)
    assert stranger.replies() == []
    for port in range(MAX_REQUESTS_EACH):
        addr = ("2001:db8::1", port)
        assert stranger.say(addr, cookie=stranger.cookie(addr)) == []


def keyed(size: int = 16, **others: Any) -> bytes:
    """What a caller asks that has keys of that size."""
    material = KeyMaterial(1, Mode.CTR, size, bytes(16), bytes(size + 8)).build()
    return Extensions(request=Hello(0x010501, 0x3F, 120, 120), key_material=material, **others).build()


class Crowd(Stranger):
    """Many callers with keys, of which none is right; `passphrase` is the listener's."""

    passphrase = PASSPHRASE
    put_off = 0

    def let_in(self, host: str, count: int, size: int = 16) -> int:
        """How many of so many callers of a host had their keys looked at."""
        looked_at = 0
        for port in range(count):
            addr = (host, port)
            said = self.say(
                addr, cookie=self.cookie(addr), extension=3, extensions=keyed(size), socket_id=port + 1
            )
            assert said == []
            while (event := self.listener.next_event()) is not None:
                match event:
                    case Requested(request):
                        request.accept(self.now, self.passphrase)
                        self.replies()
                    case Refused():
                        looked_at += 1
                    case PutOff(address):
                        assert address == addr
                        self.put_off += 1
                    case _:
                        raise AssertionError(event)
        return looked_at


def test_s5_callers_with_keys_are_let_in_as_fast_as_keys_can_be_made_and_no_faster() -> None:
    """Those of one address get their share, and take nothing of the others'; who is put off is heard when it asks again."""
    crowd = Crowd()
    assert crowd.let_in("192.0.2.1", 1000) == EACH
    assert crowd.put_off == 1000 - EACH
    crowd.now += 1000 * MS
    # A longer key takes two blocks.
    assert crowd.let_in("192.0.2.2", 1000, 32) == EACH // 2
    crowd.now += 500 * MS
    assert crowd.let_in("192.0.2.2", 1000) == EACH // 2
    # Many addresses share what there is for all, and nobody is remembered for ever.
    crowd.now += 1000 * MS
    assert sum(crowd.let_in(f"198.51.{n // 200}.{n % 200}", 1) for n in range(2 * MAX_SITES)) == ALL
    assert crowd.say(cookie=crowd.cookie()) == []
    assert isinstance(crowd.listener.next_event(), Requested), "who asks for no key is not put off"


def test_s5_a_few_sites_with_many_keys_do_not_keep_others_out() -> None:
    crowd = Crowd()
    others = ("192.0.2.3", "192.0.2.4")
    assert crowd.let_in("2001:db8::1", EACH) == EACH
    assert crowd.let_in("2001:db8::2", EACH) == 0, "it is the same network"
    for _ in range(10):
        for host in ("2001:db8::1", "2001:db8::2", *others):
            crowd.let_in(host, EACH)
        assert crowd.let_in("192.0.2.9", 1) == 1
        crowd.now += 1000 * MS


def test_s5_where_no_key_is_made_nobody_is_put_off() -> None:
    crowd = Crowd()
    crowd.passphrase = ""
    assert crowd.let_in("192.0.2.1", 1000) == 1000
    # And where a caller is refused before anybody looks at its keys.
    for port in range(2 * EACH):
        addr = ("192.0.2.2", port)
        crowd.say(addr, cookie=crowd.cookie(addr), extension=3, extensions=keyed(), socket_id=port + 1)
        event = crowd.listener.next_event()
        assert isinstance(event, Requested)
        event.request.reject(Rejection.FORBIDDEN)
        crowd.replies()
        assert isinstance(crowd.listener.next_event(), Refused)


def test_s5_who_is_put_off_once_it_is_authorized_asks_again_with_its_whole_group() -> None:
    crowd, group = Crowd(), Group(MAX_ID | 5, 1, 0, 10)

    def ask(port: int, **others: Any) -> None:
        addr = ("192.0.2.1", port)
        assert crowd.say(
            addr, cookie=crowd.cookie(addr), extension=7, extensions=keyed(32, **others), socket_id=port
        ) == []  # fmt: skip

    # All are asked about before the first is answered.
    for port in range(1, EACH // 2 + 1):
        ask(port)
    for port in (EACH, EACH + 1):
        ask(port, group=group)
    requests: list[Request] = []
    while isinstance(event := crowd.listener.next_event(), Requested):
        requests.append(event.request)
    assert len(requests) == EACH // 2 + 1, "the second link waits for the first one"
    for request in requests:
        request.accept(crowd.now, PASSPHRASE)
    assert {answer.refusal for answer in crowd.replies()} == {RejectReason.BAD_SECRET}
    found: list[object] = []
    while (event := crowd.listener.next_event()) is not None:
        found.append(event)
    assert found[-1] == PutOff(("192.0.2.1", EACH))
    assert sum(isinstance(event, Refused) for event in found) == EACH // 2
    assert crowd.listener.next_timeout() is None, "nobody is waited for"
    crowd.now += 1000 * MS
    ask(EACH, group=group)
    assert isinstance(crowd.listener.next_event(), Requested)


def test_s10_a_shutdown_from_elsewhere_is_dropped() -> None:
    link = Link(Weather(), Random(1))
    meeting = call(link)
    meeting.run(500)
    listener = meeting.ends[1]
    assert isinstance(listener, Listener)
    right = meeting.connections()[1]
    shutdown = ControlPacket(ControlType.SHUTDOWN, 0, 0, 0, right.id, bytes(4)).build()
    listener.receive_datagram(shutdown, STRANGER, link.now)
    listener.receive_datagram(shutdown[:12] + bytes((1, 2, 3, 4)) + bytes(4), LEFT, link.now)
    assert right.closed == ""
    assert listener.malformed == 2
    listener.receive_datagram(shutdown, LEFT, link.now)
    assert right.closed
    listener.release(right)
    listener.receive_datagram(shutdown, LEFT, link.now)
    assert listener.malformed == 3


def test_s12_who_wants_to_meet_a_listener_is_refused_and_leaves_nothing() -> None:
    stranger = Stranger()
    (answer,) = stranger.say(kind=Kind.WAVE_A_HAND, extensions=b"")
    assert answer.refusal == RejectReason.ROGUE
    assert stranger.listener.next_event() is None
