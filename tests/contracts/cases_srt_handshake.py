"""SRT's handshakes under the contract of every parser."""

from __future__ import annotations

from random import Random
from typing import Any

from attrs import evolve

from penstock_srt.caller import Caller
from penstock_srt.cipher import Mode
from penstock_srt.extension import LIVE, Extensions, Group, GroupType, Hello, HelloFlag
from penstock_srt.handshake import MAGIC, REFUSAL, Kind
from penstock_srt.keyring import Keyring
from penstock_srt.listener import Requested
from penstock_srt.negotiation import MAX_ID
from penstock_srt.packet import (
    HEADER,
    SOLO,
    ControlPacket,
    ControlType,
)
from penstock_srt.sequence import MASK
from penstock_srt.settings import Settings
from tests.contracts.case import ParserCase
from tests.contracts.srt_script import (
    BOTH,
    CLOSE,
    ELSEWHERE,
    HELLO,
    MATERIAL,
    ODD_ONLY,
    PASSPHRASE,
    PEER,
    SEND,
    TAKE,
    bonded,
    call,
    fresh_listener,
    handshake,
    listen,
    meet,
    packet,
    rendezvous,
    step,
    wait,
)


def _caller_hello(keys: bytes | None = None) -> list[bytes]:
    """A listener's answers to the caller of `call`."""
    induction = handshake(Kind.INDUCTION, extension=MAGIC, extensions=b"", cookie=5)
    conclusion = handshake(
        Kind.CONCLUSION,
        socket_id=99,
        extensions=Extensions(response=HELLO, key_response=keys).build(),
    )
    id = _caller_id(keys is not None)
    return [step(SEND, packet(induction, id)), step(SEND, packet(conclusion, id))]


def _caller_id(encrypted: bool) -> int:
    return Caller(Settings(), PEER, b"live/stream", PASSPHRASE if encrypted else "", Random(1), 0).socket_id


_CALLER_MATERIAL = Keyring.generate(PASSPHRASE, Mode.CTR, 16, Random(1))[1]
_MEETING_RANDOM = Random(1)
for _limit in (MASK + 1, (1 << 30) - 1, (1 << 32) - 1):
    _MEETING_RANDOM.randrange(_limit)
_MEETING_MATERIAL = Keyring.generate(PASSPHRASE, Mode.CTR, 16, _MEETING_RANDOM)[1]


WINS, LOSES = rendezvous().cookie + 5, rendezvous().cookie - 5
"""Cookies larger and smaller than that of `meet`."""


def wave(kind: int, cookie: int, **fields: Any) -> bytes:
    blank = {"extension": 0, "extensions": b"", "socket_id": 99}
    return step(SEND, packet(handshake(kind, cookie=cookie, **(blank | fields))))


def _asked(**blocks: Any) -> dict[str, Any]:
    blocks.setdefault("request", HELLO)
    return {"extension": 5, "extensions": Extensions(**blocks).build()}


def _answered(material: bytes | None = None) -> dict[str, Any]:
    return {"extension": 3, "extensions": Extensions(response=HELLO, key_response=material).build()}


def _to_us(type: int) -> bytes:
    return step(SEND, ControlPacket(type, 0, 0, 5, rendezvous().socket_id, bytes(4)).build())


def _conclusion(**fields: Any) -> bytes:
    return step(SEND, packet(handshake(Kind.CONCLUSION, **fields)))


def _member(n: int) -> bytes:
    """One more link of `GROUP`, or one that is of another type."""
    extensions = Extensions(request=HELLO, group=evolve(GROUP, type=1 + n % 2)).build()
    return _conclusion(socket_id=n, extensions=extensions)


def _first_id() -> int:
    """Of the first connection that a listener accepts."""
    listener = fresh_listener()
    listener.receive_datagram(packet(handshake(Kind.CONCLUSION)), PEER, 0)
    while isinstance(event := listener.next_event(), Requested):
        event.request.accept(0, "", None)
    (target,) = listener.connections
    return int.from_bytes(target, "big")


def _keyed(n: int) -> bytes:
    """One of many callers with a key to be made."""
    extensions = Extensions(request=HELLO, stream_id=b"secret", key_material=MATERIAL)
    return _conclusion(socket_id=n, extensions=extensions.build())


def _waits(n: int) -> bytes:
    """A link of a group that is not answered."""
    extensions = Extensions(request=HELLO, stream_id=b"ignored", group=GROUP)
    return _conclusion(socket_id=n, extensions=extensions.build())


_BONDED_RANDOM = Random(1)
_BONDED_RANDOM.randrange(MAX_ID, 2 * MAX_ID)
_BONDED_SEQUENCE = _BONDED_RANDOM.randrange(0, MASK + 1)
_BONDED_IDS = [_BONDED_RANDOM.randrange(1, MAX_ID) for _ in range(3)]
GROUP = Group(MAX_ID | 5, 1, 0, 10)


def _way(n: int, type: int = 1, kind: int = Kind.CONCLUSION, which: int | None = None) -> bytes:
    """A listener's answers to one of the ways of `bonded`."""
    id = _BONDED_IDS[n if which is None else which]
    induction = handshake(Kind.INDUCTION, extension=MAGIC, extensions=b"", cookie=5)
    extensions = Extensions(response=HELLO, group=evolve(GROUP, type=type)).build()
    conclusion = handshake(kind, socket_id=90 + n, extensions=extensions)
    by = ELSEWHERE if n else SEND
    return step(by, packet(induction, id)) + step(by, packet(conclusion, id))


def _ways(type: int) -> list[bytes]:
    alive = step(ELSEWHERE, ControlPacket(ControlType.KEEP_ALIVE, 0, 0, 0, _BONDED_IDS[1], bytes(4)).build())
    first = step(SEND, ControlPacket(ControlType.KEEP_ALIVE, 0, 0, 0, _BONDED_IDS[0], bytes(4)).build())
    some = step(TAKE, b"\0\4")
    half = (_BONDED_SEQUENCE + 2 & MASK).to_bytes(4, "big")
    acknowledged = step(SEND, ControlPacket(ControlType.ACK, 0, 0, 0, _BONDED_IDS[0], half).build())
    return [
        _way(0, type) + some + _way(1, type) + some + wait(1100) + wait(4000),
        _way(1, type) + some + _way(0, type) + some + step(CLOSE, b"\0\0") + some + wait(1100),
        _way(0, type) + _way(1, type) + some + wait(400) + alive + some + some + wait(400) + first + some,
        _way(0, type) + _way(1, type) + some + acknowledged + step(CLOSE, b"\0\0") + some,
        _way(0, type) + _way(1, type) + some + wait(400) + some + first + some,
        _way(0, type) + step(CLOSE, b"\0\0") + wait(1500) + _way(0, type, which=2) + some,
        _way(0, type, REFUSAL + 4) + wait(500) + _way(1, type) + wait(600) + wait(600) + wait(3100),
        _way(0, type, REFUSAL + 4) + _way(1, type, REFUSAL + 4) + wait(2000) + wait(10),
        _way(0, 3 - type) + wait(3000) + wait(100),
        wait(3000) + wait(100),
    ]


def _with(**blocks: Any) -> bytes:
    """A conclusion with these extensions."""
    blocks.setdefault("request", HELLO)
    return _conclusion(extensions=Extensions(**blocks).build())


LISTENING = [
    step(SEND, packet(handshake(Kind.INDUCTION, version=4, extension=2, extensions=b"", cookie=0)))
    + _conclusion()
    + _conclusion()
    + step(SEND, HEADER.pack(1000, SOLO, 5, _first_id()))
    + step(CLOSE),
    _with(stream_id=b"refused") + _conclusion(version=4) + _conclusion(version=6),
    _with(stream_id=b"ignored") + _with(stream_id=b"ignored") + wait(1000) + wait(3000) + wait(60_000),
    _with(stream_id=b"ignored") + _conclusion(socket_id=78) * 3 + wait(4000) + wait(60_000) + _conclusion(),
    _with(stream_id=b"secret", key_material=MATERIAL),
    _with(stream_id=b"secret", key_material=BOTH),
    _with(stream_id=b"secret", key_material=ODD_ONLY),
    _with(stream_id=b"secret"),
    _with(key_material=MATERIAL),
    _with(stream_id=b"secret", key_material=MATERIAL[:-8] + bytes(8)),
    _with(stream_id=b"secret", key_material=bytes(40)),
    _with(congestion=b"file") + _with(congestion=b"live", filter=b"fec,cols:10"),
    _with(group=GROUP)
    + b"".join(_member(n) for n in range(80, 98))
    + step(CLOSE),
    _with(group=evolve(GROUP, type=2)) + _with(group=evolve(GROUP, type=9)) + _with(request=None),
    _with(request=Hello(0x010501, LIVE | HelloFlag.STREAM, 0, 0)) + _with(request=Hello(0x010501, LIVE, 65535, 65535)),
    _conclusion(cookie=1) + _conclusion(mtu=0) + _conclusion(window=0) + _conclusion(initial_sequence=MASK + 1),
    _conclusion(socket_id=0) + _conclusion(extensions=b"\0\1\0\0") + step(ELSEWHERE, packet(handshake(Kind.CONCLUSION))),
    step(SEND, packet(handshake(Kind.WAVE_A_HAND))) + step(SEND, packet(handshake(REFUSAL + 10))),
    b"".join(_conclusion(socket_id=n, extensions=Extensions(request=HELLO, stream_id=b"ignored").build()) for n in range(1, 260)),
    b"".join(_keyed(n) for n in range(1, 80)) + wait(1000) + _keyed(80),
    b"".join(_waits(n) for n in range(1, 4)) + wait(4000),
    step(SEND, HEADER.pack(1 << 31 | 5 << 16, 0, 0, 0) + bytes(4)) + step(SEND, bytes(16)) + step(SEND, bytes(9)),
]  # fmt: skip

CALLING = [
    b"".join(_caller_hello()),
    _caller_hello()[1] + _caller_hello()[0] + wait(300) + _caller_hello()[0] + _caller_hello()[1] * 2,
    wait(100) + wait(3000),
    step(SEND, packet(handshake(REFUSAL + 10), _caller_id(False))),
    step(SEND, packet(handshake(Kind.INDUCTION, version=4), _caller_id(False))),
    step(SEND, ControlPacket(ControlType.SHUTDOWN, 0, 0, 0, _caller_id(False), bytes(4)).build()),
    step(SEND, ControlPacket(ControlType.KEEP_ALIVE, 0, 0, 0, _caller_id(False), bytes(4)).build()),
    _caller_hello()[0] + step(SEND, packet(handshake(Kind.CONCLUSION), _caller_id(False))),
    _caller_hello()[0] + step(SEND, packet(handshake(Kind.CONCLUSION, mtu=5), _caller_id(False))),
    step(ELSEWHERE, packet(handshake(REFUSAL + 10), _caller_id(False))) + step(SEND, packet(handshake(1), 1)),
]

_WAVE, _CONCLUSION, _AGREEMENT = Kind.WAVE_A_HAND, Kind.CONCLUSION, Kind.AGREEMENT
MEETING = [
    wave(_WAVE, LOSES) + wave(_CONCLUSION, LOSES) + wait(300) + wave(_CONCLUSION, LOSES, **_answered())
    + wait(1),
    wave(_WAVE, WINS) + wave(_CONCLUSION, WINS, **_asked(stream_id=b"x")) + wave(_CONCLUSION, WINS, **_asked())
    + wave(_AGREEMENT, WINS) + wait(1),
    wave(_CONCLUSION, WINS, **_asked()) + _to_us(1) + _to_us(1),
    wave(_CONCLUSION, WINS, **_asked(key_material=MATERIAL)) + wait(1),
    wave(_CONCLUSION, WINS, **_asked(filter=b"fec")) + wait(1),
    wave(_CONCLUSION, WINS, **_asked(request=None, congestion=b"live")) + wait(1),
    wave(_CONCLUSION, WINS, mtu=3, **_asked()) + _to_us(1) + wave(_AGREEMENT, WINS)
    + wave(_WAVE, WINS, socket_id=98),
    wave(_CONCLUSION, LOSES, **_answered(MATERIAL)) + wait(1),
    wave(_WAVE, rendezvous().cookie) + wait(1),
    wave(_WAVE, rendezvous().cookie ^ 0x80000000) + wait(1),
    wave(_WAVE, WINS, version=4) + wait(1),
    wave(Kind.INDUCTION, WINS) + wait(1),
    wave(REFUSAL + 4, WINS) + wait(1),
    wave(_WAVE, LOSES, socket_id=0) + _to_us(0) + wait(1),
    wait(29_000) + wait(2000) + wait(1),
    step(ELSEWHERE, packet(handshake(_WAVE))) + wait(1),
]  # fmt: skip
SECRET_MEETING = [
    wave(_WAVE, LOSES) + wave(_CONCLUSION, LOSES, **_answered(_MEETING_MATERIAL)) + wait(1),
    wave(_CONCLUSION, WINS, **_asked(key_material=MATERIAL)) + wave(_AGREEMENT, WINS),
]

SECRET_CALLING = [
    b"".join(_caller_hello(_CALLER_MATERIAL)),
    b"".join(_caller_hello(b"\0\0\0\4")),
]


CASES = [
    ParserCase("SRT listener", listen, LISTENING, ["penstock_srt.listener", "penstock_srt.keyring"]),
    ParserCase("SRT caller", call(""), CALLING, ["penstock_srt.caller"]),
    ParserCase("SRT caller with a passphrase", call(PASSPHRASE), SECRET_CALLING, ["penstock_srt.caller"]),
    *(
        ParserCase(
            f"SRT group of calls, {type.name.lower()}",
            bonded(type),
            _ways(type),
            ["penstock_srt.group_caller", "penstock_srt.bond", "penstock_srt.send_buffer"],
        )
        for type in GroupType
    ),
    ParserCase("SRT rendezvous", meet(""), MEETING, ["penstock_srt.rendezvous", "penstock_srt.negotiation"]),
    ParserCase(
        "SRT rendezvous with a passphrase", meet(PASSPHRASE), SECRET_MEETING, ["penstock_srt.rendezvous"]
    ),
]
