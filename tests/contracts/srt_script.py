"""Scripts of datagrams and of time that passes, which SRT's listeners, callers and connections are run by."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from penstock_srt.bond import Bond, Joined
from penstock_srt.caller import Caller
from penstock_srt.cipher import Mode
from penstock_srt.connection import Connection, Terms
from penstock_srt.extension import LIVE, Extensions, GroupType, Hello
from penstock_srt.group_caller import GroupCaller, Way
from penstock_srt.handshake import Handshake
from penstock_srt.key_material import KeyMaterial, encrypting_key
from penstock_srt.keyring import EVEN, Keyring
from penstock_srt.listener import Accepted, Listener, Requested
from penstock_srt.packet import (
    FULL_ACK,
    HEADER,
    KEY_SHIFT,
    SOLO,
    ControlPacket,
    ControlType,
)
from penstock_srt.rendezvous import Rendezvous
from penstock_srt.sequence import MASK
from penstock_srt.settings import MS, Settings

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
    listener = fresh_listener()
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
                    for _ in range(2):  # it is answered once
                        request.accept(now, passphrase, 20 if request.encrypted else None)
                    request.reject(1403)
            if isinstance(event, Accepted):
                found.append(event.connection.terms)
        found += listener.datagrams_to_send(now)
        listener.next_timeout()
        if len(listener.connections) > 3000:
            raise AssertionError("more connections than datagrams")
    return [str(item) for item in found]


def _negotiated(begin: Callable[[], Caller | Rendezvous]) -> Callable[[bytes], list[Any]]:
    """Run a script against who makes a connection."""

    def parse(data: bytes) -> list[Any]:
        negotiator = begin()
        now, found = 0, list[Any]()
        for kind, argument in _steps(data):
            if kind == WAIT:
                now += _number(argument, 60_000) * MS
                negotiator.handle_timeout(now)
            elif kind in (SEND, ELSEWHERE):
                negotiator.receive_datagram(argument, PEER if kind == SEND else OTHER, now)
            found += negotiator.datagrams_to_send(now)
            negotiator.next_timeout()
            while (event := negotiator.next_event()) is not None:
                found.append(str(event)[:30])
        return [str(item) for item in found]

    return parse


def call(passphrase: str) -> Callable[[bytes], list[Any]]:
    """Run a script against a caller."""
    return _negotiated(lambda: Caller(Settings(), PEER, b"live/stream", passphrase, Random(1), 0))


def rendezvous(passphrase: str = "") -> Rendezvous:
    return Rendezvous(Settings(), PEER, b"live/stream", passphrase, Random(1), 0)


def meet(passphrase: str) -> Callable[[bytes], list[Any]]:
    """Run a script against who meets the peer."""
    return _negotiated(lambda: rendezvous(passphrase))


def bonded(type: GroupType) -> Callable[[bytes], list[Any]]:
    """Run a script against who calls by two ways; what is for a connection reaches it."""

    def parse(data: bytes) -> list[Any]:
        caller = GroupCaller(Settings(), [Way(PEER, 9), Way(OTHER, 5)], type, b"", "", Random(1), 0)
        bond: Bond | None = None
        now, found = 0, list[Any]()
        for kind, argument in _steps(data):
            if kind == WAIT:
                now += _number(argument, 60_000) * MS
                caller.handle_timeout(now)
                if bond is not None:
                    found.append((bond.full, bond.statistics.pktSent))
            elif kind in (SEND, ELSEWHERE):
                caller.receive_datagram(argument, PEER if kind == SEND else OTHER, now)
                for link in bond.links if bond is not None else ():
                    link.receive_datagrams((argument,), now)
            elif kind == CLOSE and bond is not None and bond.links:
                bond.links[_number(argument, len(bond.links) - 1)].close("done")
            elif bond is not None:
                sent = bond.send([b"payload"] * _number(argument, 9), now)
                found += [(link.address, datagrams) for link, datagrams in sent]
            found += caller.datagrams_to_send(now)
            caller.next_timeout()
            while (event := caller.next_event()) is not None:
                bond = event.bond if isinstance(event, Joined) else None
                found.append(str(event)[:9])
        return [str(item) for item in found]

    return parse


def keys_of(mode: Mode) -> Keyring:
    return Keyring.generate(PASSPHRASE, mode, 16, Random(2))[0]


def converse(sequence: int, mode: Mode | None = None) -> Callable[[bytes], list[Any]]:
    """Run a script against an established connection."""

    def parse(data: bytes) -> list[Any]:
        keys = None if mode is None else keys_of(mode)
        terms = Terms(7, 9, sequence, sequence, 20, 20, 1500, 64, 0, 0, keys, b"agreed")
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
                # As a port does it.
                answer = connection.answer(argument, now) if len(argument) == FULL_ACK.size else None
                if answer is not None:
                    found.append(answer)
                else:
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


def fresh_listener() -> Listener:
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
        "cookie": fresh_listener().cookie(PEER, 0),
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
    payload = keys_of(mode).encrypt(sequence, header, [b"payload"])[0]
    return data_packet(sequence, 5, EVEN << KEY_SHIFT | flags, payload)


HELLO = Hello(0x010501, LIVE, 120, 100)
MATERIAL = Keyring.generate(PASSPHRASE, Mode.CTR, 16, Random(3))[1]
_SEALING = encrypting_key(PASSPHRASE, bytes(16), 32)
BOTH = KeyMaterial.seal(_SEALING, Mode.GCM, bytes(16), bytes(32), bytes(range(32))).build()
ODD_ONLY = KeyMaterial.seal(_SEALING, Mode.CTR, bytes(16), None, bytes(32)).build()
