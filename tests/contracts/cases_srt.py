"""SRT's packets, handshakes and connections under the contract of every parser."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from attrs import evolve

from penstock_srt.caller import Caller
from penstock_srt.cipher import Mode
from penstock_srt.connection import Connection, Terms
from penstock_srt.extension import LIVE, Extensions, Group, Hello, HelloFlag
from penstock_srt.handshake import MAGIC, REFUSAL, Handshake, Kind, meaning
from penstock_srt.key_material import KeyMaterial, KeyState, encrypting_key
from penstock_srt.keyring import EVEN, ODD, Keyring
from penstock_srt.listener import Accepted, Listener, Requested
from penstock_srt.packet import (
    HEADER,
    KEY_SHIFT,
    RETRANSMITTED,
    SOLO,
    Acknowledgement,
    ControlPacket,
    ControlType,
    build_drop_request,
    build_loss_list,
    parse_drop_request,
    parse_loss_list,
)
from penstock_srt.rendezvous import Rendezvous
from penstock_srt.sequence import MASK
from penstock_srt.settings import MS, Settings
from tests.contracts.case import ParserCase

PEER = ("192.0.2.1", 5000)
OTHER = ("192.0.2.2", 5000)
PASSPHRASE = "a long passphrase"
SEND, WAIT, TAKE, ELSEWHERE, CLOSE = range(5)
"""Steps of a script: what the peer sends, ms that pass, payloads that we send, what another address sends, the end."""

_STEP = struct.Struct(">BH")


def step(kind: int, data: bytes = b"") -> bytes:
    return _STEP.pack(kind, len(data)) + data


def wait(ms: int) -> bytes:
    return step(WAIT, ms.to_bytes(2, "big"))


def _steps(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The steps of a script; all of it is first one datagram."""
    yield SEND, data
    at = 0
    while at + _STEP.size <= len(data):
        kind, size = _STEP.unpack_from(data, at)
        at += _STEP.size
        yield kind % 5, data[at : at + size]
        at += size


def _number(data: bytes, most: int) -> int:
    return min(int.from_bytes(data[:2], "big"), most)


def listen(data: bytes) -> list[Any]:
    """Run a script against a listener that lets everybody in, some with a passphrase."""
    listener = _listener()
    now, found = 0, list[Any]()
    for kind, argument in _steps(data):
        if kind == WAIT:
            now += _number(argument, 60_000) * MS
            listener.handle_timeout(now)
        elif kind in (SEND, ELSEWHERE):
            listener.receive_datagram(argument, PEER if kind == SEND else OTHER, now)
        elif kind == CLOSE:
            for connection in [*listener.connections.values()]:
                listener.release(connection)
        while (event := listener.next_event()) is not None:
            found.append(repr(event)[:40])
            if isinstance(event, Requested):
                request = event.request
                if request.stream_id == b"refused":
                    request.reject(1403)
                elif request.stream_id != b"ignored":
                    passphrase = PASSPHRASE if request.stream_id == b"secret" else ""
                    request.accept(now, passphrase, 20 if request.encrypted else None)
                    request.reject(1403)
            if isinstance(event, Accepted):
                found.append(event.connection.terms)
        found += listener.datagrams_to_send(now)
        listener.next_timeout()
        if len(listener.connections) > 3000:
            raise AssertionError("more connections than datagrams")
    return [str(item) for item in found]


def call(passphrase: str) -> Callable[[bytes], list[Any]]:
    """Run a script against a caller."""

    def parse(data: bytes) -> list[Any]:
        caller = Caller(Settings(), PEER, b"live/stream", passphrase, Random(1), 0)
        now, found = 0, list[Any]()
        for kind, argument in _steps(data):
            if kind == WAIT:
                now += _number(argument, 60_000) * MS
                caller.handle_timeout(now)
            elif kind in (SEND, ELSEWHERE):
                caller.receive_datagram(argument, PEER if kind == SEND else OTHER, now)
            found += caller.datagrams_to_send(now)
            caller.next_timeout()
            while (event := caller.next_event()) is not None:
                found.append(event)
        return [str(item) for item in found]

    return parse


def _rendezvous(passphrase: str = "") -> Rendezvous:
    return Rendezvous(Settings(), PEER, b"live/stream", passphrase, Random(1), 0)


def meet(passphrase: str) -> Callable[[bytes], list[Any]]:
    """Run a script against who meets the peer."""

    def parse(data: bytes) -> list[Any]:
        meeting = _rendezvous(passphrase)
        now, found = 0, list[Any]()
        for kind, argument in _steps(data):
            if kind == WAIT:
                now += _number(argument, 60_000) * MS
                meeting.handle_timeout(now)
            elif kind in (SEND, ELSEWHERE):
                meeting.receive_datagram(argument, PEER if kind == SEND else OTHER, now)
            found += meeting.datagrams_to_send(now)
            meeting.next_timeout()
            while (event := meeting.next_event()) is not None:
                found.append(str(event)[:30])
        return found

    return parse


def _keys(mode: Mode) -> Keyring:
    return Keyring.generate(PASSPHRASE, mode, 16, Random(2))[0]


def converse(sequence: int, mode: Mode | None = None) -> Callable[[bytes], list[Any]]:
    """Run a script against an established connection."""

    def parse(data: bytes) -> list[Any]:
        keys = None if mode is None else _keys(mode)
        terms = Terms(7, 9, sequence, sequence, 20, 20, 1500, 64, 0, 0, 0x010501, keys)
        connection = Connection(
            terms,
            Settings(window=64, refresh_packets=4, announce_packets=2),
            PEER,
            b"",
            Random(4),
            0,
        )
        now, found = 0, list[Any]()
        for kind, argument in _steps(data):
            if kind == WAIT:
                now += _number(argument, 7000) * MS
                connection.handle_timeout(now)
            elif kind in (SEND, ELSEWHERE):
                connection.receive_datagrams((argument,), now)
            elif kind == TAKE:
                found += connection.send([b"payload"] * _number(argument, 100), now)
            else:
                connection.close("done")
            found += connection.datagrams_to_send(now)
            while (event := connection.next_event()) is not None:
                found.append(event)
            connection.next_timeout()
            statistics = connection.statistics
            if statistics.pktRcvBuf > 64 or statistics.pktSndBuf > 64:
                raise AssertionError("a buffer holds more than it may")
        return [str(item) for item in found]

    return parse


def _listener() -> Listener:
    return Listener(Settings(), Random(1))


def handshake(kind: int, **fields: Any) -> Handshake:
    made: dict[str, Any] = {
        "version": 5,
        "encryption": 0,
        "extension": 5,
        "initial_sequence": 1000,
        "mtu": 1500,
        "window": 8192,
        "kind": kind,
        "socket_id": 77,
        "cookie": _listener().cookie(PEER, 0),
        "extensions": Extensions(request=HELLO, stream_id=b"live/stream").build(),
    }
    return Handshake(**made | fields)


def packet(made: Handshake, destination: int = 0) -> bytes:
    return ControlPacket(ControlType.HANDSHAKE, 0, 0, 5, destination, made.build()).build()


def control(type: int, body: bytes = bytes(4), information: int = 0) -> bytes:
    return step(SEND, ControlPacket(type, 0, information, 5, 7, body).build())


def data_packet(sequence: int, stamp: int, flags: int = 0, payload: bytes = b"payload", to: int = 7) -> bytes:
    return step(SEND, HEADER.pack(sequence & MASK, SOLO | flags | 1, stamp, to) + payload)


def sealed(sequence: int, mode: Mode, flags: int = 0) -> bytes:
    """An encrypted packet, by the even key of `_keys`."""
    header = HEADER.pack(sequence, SOLO | EVEN << KEY_SHIFT | 1, 5, 7)
    payload = _keys(mode).encrypt(sequence, [header], [b"payload"])[0]
    return data_packet(sequence, 5, EVEN << KEY_SHIFT | flags, payload)


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


HELLO = Hello(0x010501, LIVE, 120, 100)
_RING, MATERIAL = Keyring.generate(PASSPHRASE, Mode.CTR, 16, Random(3))
_CALLER_MATERIAL = Keyring.generate(PASSPHRASE, Mode.CTR, 16, Random(1))[1]
_SEALING = encrypting_key(PASSPHRASE, bytes(16), 32)
BOTH = KeyMaterial.seal(_SEALING, Mode.GCM, bytes(16), bytes(32), bytes(range(32))).build()
ODD_ONLY = KeyMaterial.seal(_SEALING, Mode.CTR, bytes(16), None, bytes(32)).build()
_MEETING_RANDOM = Random(1)
for _limit in (MASK + 1, (1 << 30) - 1, (1 << 32) - 1):
    _MEETING_RANDOM.randrange(_limit)
_MEETING_MATERIAL = Keyring.generate(PASSPHRASE, Mode.CTR, 16, _MEETING_RANDOM)[1]
LOSSES = build_loss_list([(5, 5), (7, 9), (MASK, MASK), (2, 3)][:2])


WINS, LOSES = _rendezvous().cookie + 5, _rendezvous().cookie - 5
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
    return step(SEND, ControlPacket(type, 0, 0, 5, _rendezvous().socket_id, bytes(4)).build())


def _conclusion(**fields: Any) -> bytes:
    return step(SEND, packet(handshake(Kind.CONCLUSION, **fields)))


def _with(**blocks: Any) -> bytes:
    """A conclusion with these extensions."""
    blocks.setdefault("request", HELLO)
    return _conclusion(extensions=Extensions(**blocks).build())


def _open(data: bytes) -> tuple[bytes | None, bytes | None] | None:
    material = KeyMaterial.parse(data)
    return material.open(encrypting_key(PASSPHRASE, material.salt, material.key_size))


LISTENING = [
    step(SEND, packet(handshake(Kind.INDUCTION, version=4, extension=2, extensions=b"", cookie=0)))
    + _conclusion()
    + _conclusion()
    + step(SEND, HEADER.pack(1000, SOLO, 5, Random(1).randrange(1, 1 << 30)))
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
    _with(group=Group(1 << 30 | 5, 1, 0, 0)) + _with(request=None),
    _with(request=Hello(0x010501, LIVE | HelloFlag.STREAM, 0, 0)) + _with(request=Hello(0x010501, LIVE, 65535, 65535)),
    _conclusion(cookie=1) + _conclusion(mtu=0) + _conclusion(window=0) + _conclusion(initial_sequence=MASK + 1),
    _conclusion(socket_id=0) + _conclusion(extensions=b"\0\1\0\0") + step(ELSEWHERE, packet(handshake(Kind.CONCLUSION))),
    step(SEND, packet(handshake(Kind.WAVE_A_HAND))) + step(SEND, packet(handshake(REFUSAL + 10))),
    b"".join(_conclusion(socket_id=n, extensions=Extensions(request=HELLO, stream_id=b"ignored").build()) for n in range(1, 260)),
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
    wave(_WAVE, _rendezvous().cookie) + wait(1),
    wave(_WAVE, _rendezvous().cookie ^ 0x80000000) + wait(1),
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


def talk(sequence: int) -> list[bytes]:
    """What a peer and we may say to each other; packets are 10 ms apart."""

    def at(n: int, stamp: int | None = None, flags: int = 0) -> bytes:
        return data_packet(sequence + n, (n * 10_000 if stamp is None else stamp) % (1 << 32), flags)

    def ack(n: int, *rest: int) -> bytes:
        return control(ControlType.ACK, Acknowledgement((sequence + n) & MASK, *rest).build(), 1)

    def nak(*ranges: tuple[int, int]) -> bytes:
        return control(
            ControlType.NAK,
            build_loss_list(((sequence + a) & MASK, (sequence + b) & MASK) for a, b in ranges),
        )

    quick = at(0) + wait(10) + control(ControlType.ACKACK, information=1)
    return [
        at(0) + at(1) + wait(10) + at(2) + wait(10) + control(ControlType.ACKACK, information=1) + wait(40)
        + wait(1000),
        at(0) + at(3) + at(2, flags=RETRANSMITTED) + at(2) + at(1) + wait(10) + at(0) + wait(200),
        at(0) + at(4) + wait(30) + wait(30) + control(ControlType.DROP_REQUEST, build_drop_request((sequence
        + 1) & MASK, (sequence + 2) & MASK)) + wait(10) + wait(60),
        at(0) + at(70) + wait(100) + at(90) + at(1 << 29) + at(-5) + wait(100),
        at(0, 0xFFFFFF00) + at(1, 5) + at(2, 1 << 31) + at(3, 10) + wait(2000),
        b"".join(at(n) for n in range(70)) + wait(10) + wait(10) + wait(200),
        at(0) + at(69) + b"".join(at(n) for n in range(68, 0, -1)) + wait(10),
        b"".join(at(n) for n in range(63)) * 2 + wait(9) + at(62),
        step(TAKE, b"\0\5") + wait(10) + ack(3, 40_000, 5, 100, 50, 60, 70) + nak((3, 4)) + wait(10)
        + nak((3, 4)) + wait(60) + nak((3, 3)) + ack(5) + nak((2, 2), (4, 9)),
        step(TAKE, b"\0\5") + ack(9) + ack(2, 10, 5, 100) + ack(2) + nak((0, MASK >> 2)) + nak((3, 3))
        + wait(30) + wait(10),
        step(TAKE, b"\0\x40") + nak((0, 63)) + step(TAKE, b"\0\x20") + wait(1200) + step(TAKE, b"\0\2")
        + wait(1300) + ack(97, 20_000_000, 1, 1),
        step(TAKE, b"\0\x64") + step(TAKE, b"\0\x64") + nak((150, 170)),
        step(TAKE, b"\0\x64") + step(TAKE, b"\0\x64") + nak((136, 199)) + nak((150, 170)) + wait(1)
        + step(TAKE, b"\0\3") + wait(1),
        control(ControlType.SHUTDOWN) + at(0) + step(TAKE, b"\0\1") + step(CLOSE) + wait(1),
        control(ControlType.PEER_ERROR) + control(ControlType.SHUTDOWN),
        control(ControlType.KEEP_ALIVE) + control(ControlType.CONGESTION_WARNING) + control(0x44)
        + control(0x7FFF),
        control(ControlType.NAK, bytes(3)) + control(ControlType.NAK, b"") + control(ControlType.ACK, b"")
        + control(ControlType.DROP_REQUEST),
        step(CLOSE) + step(CLOSE) + wait(1),
        key_message(3, MATERIAL) + key_message(4, KeyState.BAD_SECRET.to_bytes(4, "big")),
        wait(1000) + wait(4000) + wait(1000),
        data_packet(sequence, 5, to=8) + at(0, flags=EVEN << KEY_SHIFT) + at(0, flags=ODD << KEY_SHIFT)
        + at(2, flags=ODD << KEY_SHIFT),
        b"".join(at(n) + wait(11) + control(ControlType.ACKACK, information=n + 1) for n in range(1010)),
        b"".join(at(n) + wait(11) for n in range(1100)),
        quick + at(4) + at(9) + wait(55) + wait(100),
        quick + at(4) + wait(5) + at(6) + wait(6) + at(9) + at(2) + at(3) + wait(4) + wait(4) + at(1) + at(8)
        + wait(30),
        quick + at(4) + at(6) + wait(5) + at(9) + at(1) + at(2) + at(3) + at(5) + wait(9) + at(7) + at(8)
        + wait(9) + wait(30),
        quick + at(9) + wait(10)
        + control(ControlType.DROP_REQUEST, build_drop_request((sequence + 1) & MASK, (sequence + 8) & MASK))
        + at(3) + wait(10),
    ]  # fmt: skip


def key_message(subtype: int, body: bytes) -> bytes:
    return step(SEND, ControlPacket(ControlType.USER_DEFINED, subtype, 0, 5, 7, body).build())


def _announced(mode: Mode, steps: int) -> bytes:
    """The key material that a connection of `converse` announces after so many packets."""
    keys, random = _keys(mode), Random(4)
    keys.encrypt(0, [b""] * steps, [b""] * steps)
    keys.renew(4, 2, random)
    return keys.announcement or b""


def _encrypted(mode: Mode) -> list[bytes]:
    same = KeyMaterial.parse(Keyring.generate(PASSPHRASE, mode, 16, Random(2))[1])
    other = evolve(same, wrapped=bytes(24))
    return [
        key_message(3, same.build()) + wait(100) + key_message(3, other.build()) + wait(100)
        + key_message(3, MATERIAL) + wait(100) + key_message(3, BOTH) + key_message(4, MATERIAL),
        step(TAKE, b"\0\2") + key_message(4, MATERIAL) + key_message(4, _announced(mode, 2))
        + step(TAKE, b"\0\2") + wait(1) + step(TAKE, b"\0\2") + wait(200) + wait(200) + step(TAKE, b"\0\2")
        + wait(1),
        *talk(1000)[:2],
        sealed(1000, mode) + sealed(1001, mode) + sealed(1003, mode) + sealed(1002, mode, RETRANSMITTED)
        + wait(200),
        data_packet(1000, 5, EVEN << KEY_SHIFT, b"") + data_packet(1001, 5, EVEN << KEY_SHIFT, bytes(20)),
        step(TAKE, b"\0\3") + wait(10),
    ]  # fmt: skip


CASES = [
    ParserCase(
        "SRT control packet",
        ControlPacket.parse,
        [ControlPacket(n, 3, 1, 2, 3, b"body").build() for n in (0, 0x7FFF)] + [bytes(16)],
        ["penstock_srt.packet"],
        encode=ControlPacket.build,
    ),
    ParserCase(
        "SRT acknowledgement",
        Acknowledgement.parse,
        [
            Acknowledgement(5).build(),
            Acknowledgement(5, 1, 2, 3).build(),
            Acknowledgement(5, 1, 2, 3, 4, 5, 6).build(),
        ],
        ["penstock_srt.packet"],
        encode=Acknowledgement.build,
    ),
    ParserCase(
        "SRT loss list",
        parse_loss_list,
        [
            LOSSES,
            build_loss_list([(MASK - 1, 3), (5, 5)]),
            bytes.fromhex("80000005"),
            bytes.fromhex("8000000580000006"),
        ],
        ["penstock_srt.packet", "penstock_srt.sequence"],
        encode=build_loss_list,
    ),
    ParserCase(
        "SRT drop request",
        parse_drop_request,
        [build_drop_request(5, 9), build_drop_request(MASK, 0), build_drop_request(9, 5)],
        ["penstock_srt.packet"],
        encode=lambda found: build_drop_request(*found),
    ),
    ParserCase(
        "SRT handshake",
        Handshake.parse,
        [handshake(kind).build() for kind in (Kind.CONCLUSION, Kind.INDUCTION, REFUSAL + 3, 77)],
        ["penstock_srt.handshake"],
        encode=Handshake.build,
    ),
    ParserCase(
        "SRT reject reason",
        lambda data: meaning(int.from_bytes(data[:2], "big")),
        [b"\0\12", b"\5\x7b", b"\0\0"],
        ["penstock_srt.handshake"],
    ),
    ParserCase(
        "SRT handshake extensions",
        Extensions.parse,
        [
            Extensions(HELLO, HELLO, MATERIAL, b"four", b"id", b"live", b"fec", Group(1, 2, 3, 4)).build(),
            Extensions(request=HELLO).build() * 2,
            b"".join(bytes((0, n, 0, 1)) + bytes(4) for n in range(20, 40)),
            bytes.fromhex("00010001") + bytes(4),
            bytes.fromhex("00080001") + bytes(4),
            bytes.fromhex("00080002") + bytes(8),
        ],
        ["penstock_srt.extension"],
        encode=Extensions.build,
    ),
    ParserCase("SRT hello", Hello.parse, [HELLO.build()], ["penstock_srt.extension"], encode=Hello.build),
    ParserCase(
        "SRT group membership",
        Group.parse,
        [Group(1, 2, 3, 4).build(), bytes(8)],
        ["penstock_srt.extension"],
        encode=Group.build,
    ),
    ParserCase(
        "SRT key material",
        KeyMaterial.parse,
        [MATERIAL, BOTH],
        ["penstock_srt.key_material"],
        encode=KeyMaterial.build,
    ),
    ParserCase(
        "SRT keys",
        _open,
        [MATERIAL, BOTH, ODD_ONLY],
        ["penstock_srt.key_material", "penstock_srt.cipher", "penstock_srt.keyring"],
    ),
    ParserCase("SRT listener", listen, LISTENING, ["penstock_srt.listener", "penstock_srt.keyring"]),
    ParserCase("SRT caller", call(""), CALLING, ["penstock_srt.caller"]),
    ParserCase("SRT caller with a passphrase", call(PASSPHRASE), SECRET_CALLING, ["penstock_srt.caller"]),
    ParserCase("SRT rendezvous", meet(""), MEETING, ["penstock_srt.rendezvous", "penstock_srt.negotiation"]),
    ParserCase(
        "SRT rendezvous with a passphrase", meet(PASSPHRASE), SECRET_MEETING, ["penstock_srt.rendezvous"]
    ),
    *(
        ParserCase(
            f"SRT connection from {sequence:#x}",
            converse(sequence),
            talk(sequence),
            [
                f"penstock_srt.{name}"
                for name in (
                    "connection",
                    "receiver",
                    "receive_buffer",
                    "loss_list",
                    "sender",
                    "send_buffer",
                    "round_trip",
                    "time_base",
                    "sequence",
                    "settings",
                    "statistics",
                )
            ],
        )
        for sequence in (1000, MASK - 1)
    ),
    *(
        ParserCase(
            f"SRT connection with AES-{mode.name}",
            converse(1000, mode),
            _encrypted(mode),
            ["penstock_srt.cipher", "penstock_srt.keyring"],
        )
        for mode in Mode
    ),
]
