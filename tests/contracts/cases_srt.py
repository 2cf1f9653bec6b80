"""SRT's packets and keys under the contract of every parser."""

from __future__ import annotations

from penstock_srt.extension import Extensions, Group, Hello
from penstock_srt.handshake import REFUSAL, Handshake, Kind, meaning
from penstock_srt.key_material import KeyMaterial, encrypting_key
from penstock_srt.packet import (
    Acknowledgement,
    ControlPacket,
    build_drop_request,
    build_loss_list,
    parse_drop_request,
    parse_loss_list,
)
from penstock_srt.receive_buffer import ReceiveBuffer
from penstock_srt.sequence import MASK
from penstock_srt.settings import MS
from penstock_srt.time_base import DRIFT_SAMPLES, MAX_DRIFT, TimeBase
from tests.contracts.case import ParserCase
from tests.contracts.srt_script import (
    BOTH,
    HELLO,
    MATERIAL,
    ODD_ONLY,
    PASSPHRASE,
    handshake,
)

LOSSES = build_loss_list([(5, 5), (7, 9), (MASK, MASK), (2, 3)][:2])


def _buffer(data: bytes) -> list[tuple[int | None, int]]:
    """A buffer of packets that come in the order that each two bytes tell: how far from the first, and when."""
    buffer = ReceiveBuffer(0, 128)
    for at in range(0, len(data) - 1, 2):
        sequence, stamp = data[at], data[at + 1]
        if sequence >= buffer.tail:
            buffer.append(sequence, b"", max(stamp, buffer.last_stamp), stamp)
            buffer.last_stamp = max(stamp, buffer.last_stamp)
        elif buffer.misses(sequence):
            buffer.fill(sequence, b"", stamp)
        assert buffer.stamps == sorted(buffer.stamps)
        assert len(buffer.stamps) == len(buffer.payloads) <= buffer.capacity
    return list(zip([None if p is None else 1 for p in buffer.payloads], buffer.stamps, strict=True))


def _drift(data: bytes) -> tuple[int, int]:
    """What is made of the clocks where each two bytes are 1000 measurements: how late, and a round trip, in ms."""
    base = TimeBase(0, 120 * MS)
    for at in range(0, len(data) - 1, 2):
        late, trip = data[at], data[at + 1]
        for _ in range(DRIFT_SAMPLES if at < 8 else 1):
            base.sample(late * MS, 0, trip * MS)
        assert abs(base.drift) <= MAX_DRIFT
    return base.base, base.drift


def _open(data: bytes) -> tuple[bytes | None, bytes | None] | None:
    material = KeyMaterial.parse(data)
    return material.open(encrypting_key(PASSPHRASE, material.salt, material.key_size))


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
    ParserCase(
        "SRT packets in order",
        _buffer,
        [
            bytes([0, 1, 1, 2, 5, 9, 3, 3, 2, 9, 4, 1]),
            bytes([0, 1, 90, 7, 80, 3, 1, 0]),
            bytes([3, 1, 200, 2, 255, 9]),
            bytes([200, 1, 201, 2]),
        ],
        ["penstock_srt.receive_buffer"],
    ),
    ParserCase(
        "SRT drift",
        _drift,
        [bytes([1, 0, 3, 0]), bytes([9, 0, 2, 9]), bytes([200, 1])],
        ["penstock_srt.time_base"],
    ),
]
