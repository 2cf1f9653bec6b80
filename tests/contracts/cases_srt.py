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
from penstock_srt.sequence import MASK
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
]
