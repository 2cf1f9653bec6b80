"""The TURN server by itself: who may ask, what for, for how long, and where it leads. Nothing here needs a socket."""

from __future__ import annotations

from random import Random

import pytest
from attrs import frozen

from penstock_webrtc import turn
from penstock_webrtc.allocation import MAX_PEERS, Allocation
from penstock_webrtc.reach import Reach
from penstock_webrtc.stun import BINDING, Attribute, Kind, StunMessage, parse_xor_address
from penstock_webrtc.timed import VALID_SECONDS, TimedCredentials
from penstock_webrtc.turn import ALLOCATE, CONNECT, Relayed, TurnServer

from .turn import UDP, Peer, TurnClient, code, lifetime, relayed, unwrapped

WALL = 1_800_000_000
OWN = ("203.0.113.5", 8000)
CREDENTIALS = TimedCredentials(b"secret")


@frozen
class Place:
    """A client's five-tuple."""

    address: tuple[str, int] = ("198.51.100.7", 5000)
    proven: bool = True


class Rig:
    """A server, and one client of it that knows realm and nonce."""

    def __init__(self, place: Place | None = None) -> None:
        reach = Reach(["203.0.113.5", "2001:db8::5"], 8000, 8888)
        self.server = TurnServer[Place](CREDENTIALS, lambda c: reach.places(c.address[0]), Random(1))
        self.place = place or Place()
        self.now = 1000.0
        self.wall = float(WALL)
        self.client = self.another("one")

    def another(self, token: str) -> TurnClient:
        client = TurnClient(*CREDENTIALS.issue(WALL, token), Random(token))
        client.learn(self.ask(client.request(ALLOCATE, UDP, signed=False)))
        return client

    def take(self, data: bytes, place: Place | None = None) -> bytes | Relayed[Place] | None:
        return self.server.receive(data, place or self.place, self.now, self.wall)

    def ask(self, data: bytes, place: Place | None = None) -> bytes:
        answer = self.take(data, place)
        assert isinstance(answer, bytes)
        return answer

    def code(self, data: bytes, place: Place | None = None) -> int:
        return code(self.ask(data, place))

    def allocation(self) -> Allocation[Place]:
        assert self.code(self.client.allocate()) == 0
        return self.server.allocations[self.place]


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_who_asks_has_to_sign(rig: Rig) -> None:
    client = rig.client
    answer = rig.ask(client.request(ALLOCATE, UDP, signed=False))
    assert code(answer) == 401
    assert StunMessage.parse(answer).integrity is None
    signed = client.allocate()
    assert rig.code(signed, Place(("198.51.100.8", 5000))) == 438  # a nonce is of no use at another address
    wrong = TurnClient(client.name, "wrong", client.random, client.realm, client.nonce)
    assert rig.code(wrong.allocate()) == 401
    assert rig.code(StunMessage(Kind.REQUEST, ALLOCATE, bytes(12), (UDP,)).encode(client.key)) == 400
    client.nonce = b"nonsense"
    assert rig.code(client.allocate()) == 438
    rig.now += turn.NONCE_SECONDS + 1
    assert rig.code(signed) == 438
    assert not rig.server.allocations


def test_an_allocation_is_made_refreshed_and_ended(rig: Rig) -> None:
    asked = rig.client.allocate()
    answer = rig.ask(asked)
    assert (code(answer), lifetime(answer)) == (0, 600)
    host, port = relayed(answer)
    assert host == OWN[0]
    assert 49_152 < port < 65_536
    message = StunMessage.parse(answer)
    assert message.verify(rig.client.key)
    mapped = message.get(Attribute.XOR_MAPPED_ADDRESS) or b""
    assert parse_xor_address(mapped, message.transaction) == rig.place.address
    assert rig.ask(asked) == answer  # it was sent again
    assert rig.code(rig.client.allocate()) == 437
    for wanted, given in ((0, 0), (1, 600), (1200, 1200), (1 << 31, 3600)):
        if not wanted:
            assert lifetime(rig.ask(rig.client.refresh(0))) == given
            assert rig.code(rig.client.refresh(600)) == 437
            rig.ask(rig.client.allocate())
            continue
        assert lifetime(rig.ask(rig.client.refresh(wanted))) == given
    rig.now += 3599
    assert rig.server.handle_timeout(rig.now) == []
    rig.now += 1
    assert rig.code(rig.client.refresh(600)) == 438
    assert rig.server.handle_timeout(rig.now) == [rig.place]
    assert not rig.server.allocations


def test_what_has_expired_is_made_anew(rig: Rig) -> None:
    rig.allocation()
    rig.now += 600
    assert rig.code(rig.client.refresh(600)) == 437
    assert rig.code(rig.client.allocate()) == 0


def test_credentials_expire_and_what_was_made_with_them_goes_on(rig: Rig) -> None:
    rig.allocation()
    rig.wall += VALID_SECONDS
    assert rig.code(rig.client.refresh(600)) == 0
    other = Place(("198.51.100.7", 5001))
    rig.client.learn(rig.ask(rig.client.request(ALLOCATE, signed=False), other))
    assert rig.code(rig.client.allocate(), other) == 401
    for name in ("", "x", "1:x", "9999999999999:x", "-5:x"):
        client = TurnClient(name, CREDENTIALS.password(name.encode()).decode(), Random(1))
        client.learn(rig.ask(client.request(ALLOCATE, signed=False), other))
        assert rig.code(client.allocate(), other) == 401


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ((), 400),
        (((Attribute.REQUESTED_TRANSPORT, b"\x11"),), 400),
        (((Attribute.REQUESTED_TRANSPORT, b"\6\0\0\0"),), 442),
        ((UDP, (Attribute.EVEN_PORT, b"\x80")), 508),
        ((UDP, (Attribute.RESERVATION_TOKEN, bytes(8))), 508),
        ((UDP, (Attribute.REQUESTED_ADDRESS_FAMILY, b"\3\0\0\0")), 440),
        ((UDP, (Attribute.LIFETIME, b"\0")), 400),
        ((UDP, (0x7F00, b"")), 420),
        ((UDP, (Attribute.DONT_FRAGMENT, b"")), 0),
        ((UDP, (Attribute.REQUESTED_ADDRESS_FAMILY, b"\2\0\0\0")), 0),
    ],
)
def test_what_allocate_may_ask_for(
    attributes: tuple[tuple[int, bytes], ...], expected: int, rig: Rig
) -> None:
    answer = rig.ask(rig.client.request(ALLOCATE, *attributes))
    assert code(answer) == expected
    assert StunMessage.parse(answer).verify(rig.client.key)


def test_of_which_family_it_is(rig: Rig) -> None:
    answer = rig.ask(rig.client.allocate(UDP, (Attribute.REQUESTED_ADDRESS_FAMILY, b"\2\0\0\0")))
    assert relayed(answer)[0] == "2001:db8::5"
    assert rig.code(rig.client.permit(("2001:db8::5", 8000))) == 0
    assert rig.code(rig.client.permit(OWN)) == 443
    assert rig.code(rig.client.bind(0x4000, OWN)) == 443
    family = (Attribute.REQUESTED_ADDRESS_FAMILY, b"\1\0\0\0")
    assert rig.code(rig.client.request(turn.REFRESH, family)) == 443
    assert rig.code(rig.client.request(turn.REFRESH)) == 0


def test_there_are_only_so_many(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turn, "MAX_EACH_USER", 2)
    monkeypatch.setattr(turn, "MAX_EACH_SITE", 3)
    monkeypatch.setattr(turn, "MAX_ALLOCATIONS", 7)

    def allocate(token: str, host: str, port: int) -> int:
        place = Place((host, port))
        client = TurnClient(*CREDENTIALS.issue(WALL, token), Random(port))
        client.learn(rig.ask(client.request(ALLOCATE, signed=False), place))
        return rig.code(client.allocate(), place)

    assert [allocate("one", "198.51.100.1", port) for port in (1, 2, 3)] == [0, 0, 486]
    assert [allocate("two", "198.51.100.1", port) for port in (4, 5)] == [0, 486]
    # A network of IPv6 is one address: its machines have as many as they like.
    assert [allocate(f"six {n}", f"2001:db8::{n}:{n}", 8) for n in range(1, 5)] == [0, 0, 0, 486]
    assert [allocate("three", "198.51.100.2", port) for port in (6, 7)] == [0, 508]
    ports = {a.relayed[1] for a in rig.server.allocations.values()}
    assert len(ports) == 7
    rig.now += 600
    assert len(rig.server.handle_timeout(rig.now)) == 7
    assert allocate("three", "198.51.100.2", 8) == 0


def test_it_leads_to_the_media_port_and_back(rig: Rig) -> None:
    allocation = rig.allocation()
    client = rig.client
    assert rig.take(client.send(OWN, b"too early")) is None
    assert allocation.wrap([b"back"], OWN, rig.now) == []
    assert rig.code(client.permit(OWN)) == 0
    assert rig.take(client.send(OWN, b"there")) == Relayed(allocation, b"there", OWN)
    assert rig.take(client.send((OWN[0], 22), b"not there")) is None
    (back,) = allocation.wrap([b"back"], OWN, rig.now)
    assert unwrapped(back) == (OWN, b"back")
    assert rig.code(client.bind(0x4001, OWN)) == 0
    assert rig.take(b"\x40\x01\0\5there\0\0\0") == Relayed(allocation, b"there", OWN)
    assert rig.take(b"\x40\x02\0\5there\0\0\0") is None
    assert allocation.wrap([b"back", b"again"], OWN, rig.now) == [
        b"\x40\x01\0\4back",
        b"\x40\x01\0\5again\0\0\0",
    ]
    rig.now += 301
    # The permission has run out, the channel has not.
    assert rig.take(b"\x40\x01\0\5there") is None
    assert rig.code(client.bind(0x4001, OWN)) == 0
    assert isinstance(rig.take(b"\x40\x01\0\5there"), Relayed)
    rig.now += 301
    assert rig.take(b"\x40\x01\0\5there") is None  # and now the allocation
    assert allocation.wrap([b"back"], OWN, rig.now) == []


def test_channels(rig: Rig) -> None:
    rig.allocation()
    near = Place(("127.0.0.1", 1))
    client = TurnClient(*CREDENTIALS.issue(WALL, "near"), Random(2))
    client.learn(rig.ask(client.request(ALLOCATE, signed=False), near))
    assert rig.code(client.allocate(), near) == 0
    loopback = ("127.0.0.1", 8000)

    def bind(number: int, peer: Peer) -> int:
        return rig.code(client.bind(number, peer), near)

    assert [bind(0x4000, OWN), bind(0x4000, OWN), bind(0x4FFF, loopback)] == [0, 0, 0]
    assert [bind(0x4000, loopback), bind(0x4002, OWN)] == [400, 400]
    assert [bind(n, OWN) for n in (0, 0x3FFF, 0x5000, 0xFFFF)] == [400] * 4
    assert rig.code(client.to_peers(turn.CHANNEL_BIND, OWN), near) == 400
    assert rig.code(client.request(turn.CHANNEL_BIND, (Attribute.CHANNEL_NUMBER, b"\x40\0\0\0")), near) == 400
    rig.now += 601
    assert rig.take(b"\x40\0\0\1x", near) is None


def test_permissions(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    allocation = rig.allocation()
    assert rig.code(rig.client.request(turn.CREATE_PERMISSION)) == 400
    bad = (int(Attribute.XOR_PEER_ADDRESS), b"\0\3\0\0abcd")
    assert rig.code(rig.client.request(turn.CREATE_PERMISSION, bad)) == 400
    allocation.permissions = {str(n): 2000.0 for n in range(MAX_PEERS)}
    assert rig.code(rig.client.permit(OWN)) == 508


def test_another_user_gets_nothing_of_it(rig: Rig) -> None:
    allocation = rig.allocation()
    until = allocation.expires
    other = rig.another("two")
    for asked in (other.refresh(0), other.refresh(3600), other.permit(OWN), other.bind(0x4000, OWN)):
        assert rig.code(asked) == 441
    assert allocation.expires == until
    assert not allocation.permissions


def test_what_is_not_answered(rig: Rig) -> None:
    assert rig.take(StunMessage(Kind.INDICATION, BINDING, bytes(12)).encode()) is None
    assert rig.take(StunMessage(Kind.SUCCESS, ALLOCATE, bytes(12)).encode()) is None
    assert rig.take(StunMessage(Kind.REQUEST, 0x3F, bytes(12)).encode()) is None
    assert rig.take(StunMessage(Kind.INDICATION, turn.SEND, bytes(12)).encode()) is None
    assert rig.take(b"\x40\0\0\1x") is None
    assert rig.take(rig.client.send(OWN, b"x")) is None
    rig.allocation()
    assert rig.code(rig.client.request(CONNECT)) == 403
    answer = rig.ask(StunMessage(Kind.REQUEST, BINDING, bytes(12)).encode())
    mapped = StunMessage.parse(answer).get(Attribute.XOR_MAPPED_ADDRESS) or b""
    assert parse_xor_address(mapped, bytes(12)) == rig.place.address


def test_who_may_be_somebody_else_is_answered_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig()
    asked = rig.client.request(ALLOCATE, UDP, signed=False)
    unsure = Place(proven=False)
    answered = [rig.take(asked, unsure) is not None for _ in range(100)]
    assert answered == [True] * turn.MAX_ANSWERS + [False] * (100 - turn.MAX_ANSWERS)
    assert rig.take(StunMessage(Kind.REQUEST, BINDING, bytes(12)).encode(), unsure) is None
    # Who signs is answered all the same, and so is everybody in the next second.
    known = TurnClient(*CREDENTIALS.issue(WALL, "x"), Random(1))
    rig.now += 1
    known.learn(rig.ask(asked, unsure))
    for _ in range(100):
        rig.take(asked, unsure)
    assert rig.code(known.allocate(), unsure) == 0
    monkeypatch.setattr(turn, "MAX_ANSWERED", 3)
    rig.now += 1
    places = [Place((f"198.51.100.{n}", 1), False) for n in range(6)]
    assert [rig.take(asked, p) is not None for p in places] == [True] * 3 + [False] * 3
