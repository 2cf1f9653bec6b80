"""What comes to the port of media over TCP, and of TURN, under the contract of every parser."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random

from attrs import frozen

from penstock.errors import ProtocolViolation
from penstock_webrtc.framing import MAX_HELD, Unframer, frame
from penstock_webrtc.mapping import Mapping
from penstock_webrtc.reach import Reach
from penstock_webrtc.stun import Attribute, Kind, StunMessage, xor_address
from penstock_webrtc.timed import TimedCredentials
from penstock_webrtc.turn import ALLOCATE, CHANNEL_BIND, CONNECT, REFRESH, Relayed, TurnServer
from tests.contracts.case import ParserCase
from tests.contracts.cases_webrtc import request
from tests.webrtc.turn import UDP, TurnClient, code


def _framed(*packets: bytes) -> bytes:
    return b"".join(frame(packets))


def _unframer() -> tuple[Unframer, Callable[[bytes], list[bytes]]]:
    unframer = Unframer()

    def push(data: bytes) -> list[bytes]:
        unframer.receive_data(data)
        return list(iter(unframer.next_event, None))

    return unframer, push


def unframe(pieces: Iterable[bytes]) -> list[object]:
    """The packets of a connection, and how it ended."""
    unframer = Unframer()
    found: list[object] = []
    try:
        for piece in pieces:
            unframer.receive_data(piece)
            while (packet := unframer.next_event()) is not None:
                found.append(packet)
    except ProtocolViolation as violation:
        found.append(str(violation))
    return found


def parse_connection(data: bytes) -> list[bytes]:
    return _unframer()[1](data)


CONNECTIONS = [
    _framed(request(), b"", b"\x80" * 200, request()),
    request() + b"\x40\0\0\5hello\0\0\0" + request() + b"\x4f\xff\0\0" + b"\x50\0\0\0",
    b"GET / HTTP/1.1\r\n\r\n",
]

WALL = 1_800_000_000
OWN = ("203.0.113.5", 8000)
NEAR = ("127.0.0.1", 8000)
V6 = (int(Attribute.REQUESTED_ADDRESS_FAMILY), b"\2\0\0\0")
CREDENTIALS = TimedCredentials(b"secret")
WITHOUT_TCP = Reach([OWN[0]], OWN[1], None)
STEP = 0xFF
"""What a message of a script begins with that only lets time go on: by the seconds in the two bytes that follow."""


@frozen
class Place:
    """Where a client is; of what it says, each script has one half of it proven."""

    proven: bool
    address: tuple[str, int] = ("127.0.0.1", 5000)


class Turn:
    """A server, the time, and what one client of it hears."""

    def __init__(self) -> None:
        self.reach = Reach([OWN[0], "2001:db8::5"], OWN[1], 8888)
        self.server = TurnServer[Place](
            CREDENTIALS, lambda place: self.reach.places(place.address[0]), Random(1)
        )
        self.now = 1000.0
        self.heard: list[object] = []

    def take(self, message: bytes, place: Place) -> bytes | None:
        if len(message) == 3 and message[0] == STEP:
            self.now += int.from_bytes(message[1:], "big")
            self.heard += self.server.handle_timeout(self.now)
            return None
        found = self.server.receive(message, place, self.now, WALL)
        if isinstance(found, Relayed):
            peers = (found.peer, NEAR, ("2001:db8::5", 8000))
            self.heard += [found.data, *(found.allocation.wrap([b"x"], p, self.now) for p in peers)]
            return None
        self.heard.append(found)
        return found


def parse_turn(data: bytes) -> list[object]:
    """What a server makes of a script: messages with their lengths in front, of a client whose place is proven or not."""
    turn = Turn()
    place = Place(data[:1] != b"\0")
    at = 1
    while at + 2 <= len(data):
        end = at + 2 + int.from_bytes(data[at : at + 2], "big")
        turn.take(data[at + 2 : end], place)
        at = end
    if len({a.relayed for a in turn.server.allocations.values()}) != len(turn.server.allocations):
        raise ValueError("two allocations of one address")
    turn.server.forget(place)
    for host in ("127.0.0.1", "10.0.0.1"):
        turn.heard += turn.reach.turn_urls(host)
        turn.heard += turn.reach.candidates(host)
        turn.heard += WITHOUT_TCP.candidates(host)
    return turn.heard


def script(
    *messages: Callable[[TurnClient], bytes] | bytes, proven: bool = True, token: str = "one"
) -> bytes:
    """What a client says that knows realm and nonce after its first message."""
    client = TurnClient(*CREDENTIALS.issue(WALL, token), Random(2))
    said: list[bytes] = []
    for message in (client.request(ALLOCATE, UDP, signed=False), *messages):
        data = message if isinstance(message, bytes) else message(client)
        said.append(data)
        if len(said) == 1:
            answer = Turn().take(data, Place(proven))
            client.learn(answer or b"")
    return bytes([proven]) + b"".join(frame(said))


def _step(seconds: int) -> bytes:
    return bytes((STEP,)) + seconds.to_bytes(2, "big")


def _indication(method: int, *attributes: tuple[int, bytes]) -> bytes:
    return StunMessage(Kind.INDICATION, method, bytes(12), attributes).encode()


SCRIPTS = [
    script(
        lambda c: c.allocate(),
        lambda c: c.send(OWN, b"early"),
        lambda c: c.permit(OWN, NEAR),
        lambda c: c.send(OWN, b"there"),
        lambda c: c.send((OWN[0], 22), b"nowhere"),
        lambda c: c.bind(0x4000, OWN),
        b"\x40\0\0\5there\0\0\0",
        b"\x40\1\0\5there",
        _step(301),
        b"\x40\0\0\5there",
        lambda c: c.refresh(0),
        lambda c: c.refresh(600),
        b"\x40\0\0\5there",
    ),
    script(lambda c: c.allocate(), lambda c: c.allocate(), lambda c: c.request(REFRESH), _step(600)),
    script(lambda c: c.allocate(), _step(601), lambda c: c.allocate(), _step(3600), lambda c: c.allocate()),
    script(lambda c: c.allocate(UDP, V6), lambda c: c.permit(OWN), lambda c: c.request(REFRESH, V6)),
    script(lambda c: c.allocate(), lambda c: c.request(REFRESH, V6), lambda c: c.request(CONNECT)),
    script(lambda c: c.allocate(), lambda c: c.permit(("10.0.0.1", 1)), lambda c: c.permit()),
    script(lambda c: c.allocate(), lambda c: c.bind(0x4000, OWN), lambda c: c.bind(0x4000, NEAR)),
    script(lambda c: c.allocate(), lambda c: c.bind(0x5000, OWN), lambda c: c.bind(0x4000, ("::1", 1))),
    script(
        lambda c: c.allocate(), lambda c: c.request(CHANNEL_BIND), lambda c: c.request(REFRESH, (0x7F00, b""))
    ),
    script(lambda c: c.allocate((Attribute.REQUESTED_TRANSPORT, b"\6\0\0\0"))),
    script(lambda c: c.request(ALLOCATE), lambda c: c.allocate(UDP, (Attribute.EVEN_PORT, b"\0"))),
    script(lambda c: c.allocate(UDP, (Attribute.REQUESTED_ADDRESS_FAMILY, b""))),
    script(lambda c: c.allocate(UDP, (Attribute.LIFETIME, b"ab"))),
    script(lambda c: TurnClient(c.name, "wrong", c.random, c.realm, c.nonce).allocate()),
    script(lambda c: TurnClient(c.name, c.password, c.random, c.realm, b"nonsense").allocate()),
    script(lambda c: StunMessage(Kind.REQUEST, ALLOCATE, bytes(12), (UDP,)).encode(c.key)),
    script(
        lambda c: c.allocate(),
        lambda c: TurnClient(*CREDENTIALS.issue(WALL, "two"), c.random, c.realm, c.nonce).refresh(0),
    ),
    script(
        lambda c: TurnClient(
            "1:x", CREDENTIALS.password(b"1:x").decode(), c.random, c.realm, c.nonce
        ).allocate()
    ),
    script(
        _indication(6),
        _indication(7),
        StunMessage(Kind.REQUEST, 1, bytes(12)).encode(),
        StunMessage(Kind.REQUEST, 0x33, bytes(12)).encode(),
        lambda c: c.send(OWN, b"nobody's"),
    ),
    script(
        *[StunMessage(Kind.REQUEST, 1, bytes(12)).encode()] * 25,
        lambda c: c.request(9, signed=False),
        proven=False,
    ),
    script(b"\x40\0\0"),
    script(b"\x40\0\0\5"),
    script(b""),
]


def _crowd(data: bytes) -> list[int]:
    """How allocations of many clients are answered, each two bytes a client: whose it is, and where."""
    server = TurnServer[Place](CREDENTIALS, lambda _: [OWN], Random(1))
    client = TurnClient(*CREDENTIALS.issue(WALL, "one"), Random(2))
    found: list[int] = []
    for number in range(0, len(data) - 1, 2):
        place = Place(bool(data[number] & 1), (f"10.0.{data[number]}.{data[number + 1]}", number))
        answer = server.receive(client.request(ALLOCATE, signed=False), place, 1.0, WALL)
        if isinstance(answer, bytes):
            client.learn(answer)
            answer = server.receive(client.allocate(), place, 1.0, WALL)
            found.append(code(answer) if isinstance(answer, bytes) else -1)
    return found


SERVERS = [("198.51.100.1", 3478), ("198.51.100.2", 3478, 0, 0)]


def parse_answers(data: bytes) -> object:
    """What two STUN servers say, each message with its length in front; one of no length lets time go on."""
    now = 0.0
    mapping = Mapping(SERVERS, Random(1), now)
    asked = mapping.datagrams_to_send(now)
    heard: list[object] = []
    at = 0
    while at + 2 <= len(data):
        end = at + 2 + int.from_bytes(data[at : at + 2], "big")
        if end > at + 2:
            message = StunMessage.parse(data[at + 2 : end])
            heard += [mapping.receive(message, address, now) for address in (OWN, *SERVERS)]
        else:
            now = mapping.next_timeout()
            asked += mapping.datagrams_to_send(now)
        heard.append(mapping.mapped)
        at = end
    turn = Turn()
    heard.append(turn.reach.learn(mapping.mapped))
    for host in ("127.0.0.1", "10.0.0.1"):
        heard += [*turn.reach.turn_urls(host), *turn.reach.places(host), *turn.reach.candidates(host)]
    if turn.reach.learn(mapping.mapped):
        raise ValueError("that is no news")
    return heard, len(asked)


def _told(number: int, *attributes: tuple[int, bytes], kind: Kind = Kind.SUCCESS, method: int = 1) -> bytes:
    """What the server of that number answers to its first question."""
    data, _ = Mapping(SERVERS, Random(1), 0.0).datagrams_to_send(0.0)[number]
    return StunMessage(kind, method, StunMessage.parse(data).transaction, attributes).encode()


def _mapped(number: int, host: str) -> bytes:
    data, _ = Mapping(SERVERS, Random(1), 0.0).datagrams_to_send(0.0)[number]
    return _told(
        number, (Attribute.XOR_MAPPED_ADDRESS, xor_address(host, 8000, StunMessage.parse(data).transaction))
    )


ANSWERS = [
    b"".join(frame([_mapped(0, "192.0.2.1"), _mapped(1, "192.0.2.1"), _mapped(0, "192.0.2.9"), *[b""] * 40])),
    b"".join(frame([_mapped(0, OWN[0]), b"", b""])),
    b"".join(frame([_told(1)])),
    b"".join(frame([_told(1, kind=Kind.ERROR), _told(1, method=3)])),
    b"".join(frame([_told(1, method=3), _told(0, (Attribute.XOR_MAPPED_ADDRESS, b"\0\1"))])),
]

CASES = [
    ParserCase("stun answers", parse_answers, ANSWERS, ["penstock_webrtc.mapping", "penstock_webrtc.reach"]),
    ParserCase(
        "turn",
        parse_turn,
        SCRIPTS,
        [
            "penstock_webrtc.turn",
            "penstock_webrtc.allocation",
            "penstock_webrtc.timed",
            "penstock_webrtc.reach",
        ],
    ),
    ParserCase("turn crowd", _crowd, [bytes(range(64)), bytes(64)], ["penstock_webrtc.turn"]),
    ParserCase(
        "tcp framing",
        parse_connection,
        CONNECTIONS,
        ["penstock_webrtc.framing"],
        feed=unframe,
        fresh=_unframer,
        limit=2 * MAX_HELD,
    ),
]
