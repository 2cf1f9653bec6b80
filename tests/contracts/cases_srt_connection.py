"""SRT's connections under the contract of every parser."""

from __future__ import annotations

from random import Random

from attrs import evolve

from penstock_srt.cipher import Mode
from penstock_srt.handshake import Kind
from penstock_srt.key_material import KeyMaterial, KeyState
from penstock_srt.keyring import EVEN, ODD, Keyring
from penstock_srt.packet import (
    KEY_SHIFT,
    RETRANSMITTED,
    Acknowledgement,
    ControlPacket,
    ControlType,
    build_drop_request,
    build_loss_list,
)
from penstock_srt.sequence import MASK
from tests.contracts.case import ParserCase
from tests.contracts.srt_script import (
    BOTH,
    CLOSE,
    MATERIAL,
    PASSPHRASE,
    SEND,
    TAKE,
    control,
    converse,
    data_packet,
    handshake,
    keys_of,
    sealed,
    step,
    wait,
)


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
        step(TAKE, b"\0\x64") + nak((90, 99)) + step(TAKE, b"\0\x64") * 4,
        step(TAKE, b"\0\x40") + nak((0, 63)) + wait(200) + nak((0, 63)) + wait(10),
        step(TAKE, b"\0\5") + ack(1, 2000, 100, 100, 50, 60, 70) + nak((3, 3)) + wait(19) + nak((3, 3)) + wait(5) + wait(5),
        step(TAKE, b"\0\5") + ack(2, 40_000, 5, 100, 50, 60, 70) + nak((3, 4)) + ack(3, 40_000, 5, 100, 50, 60, 70)
        + wait(20) + ack(5, 40_000, 5, 100, 50, 60, 70) + ack(9, 40_000, 5, 100, 50, 60, 70),
        step(TAKE, b"\0\x64") + step(TAKE, b"\0\x64") + nak((136, 199)) + nak((150, 170)) + wait(1)
        + step(TAKE, b"\0\3") + wait(1),
        control(ControlType.SHUTDOWN) + at(0) + step(TAKE, b"\0\1") + step(CLOSE) + wait(1),
        control(ControlType.PEER_ERROR) + control(ControlType.SHUTDOWN),
        control(ControlType.KEEP_ALIVE) + control(ControlType.CONGESTION_WARNING) + control(0x44)
        + control(0x7FFF),
        control(ControlType.NAK, bytes(3)) + control(ControlType.NAK, b"") + control(ControlType.ACK, b"")
        + control(ControlType.DROP_REQUEST),
        step(CLOSE) + step(CLOSE) + wait(1),
        b"".join(
            control(ControlType.HANDSHAKE, handshake(kind, extension=1).build())
            for kind in (Kind.CONCLUSION, Kind.AGREEMENT)
        ) + control(ControlType.HANDSHAKE),
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
    keys, random = keys_of(mode), Random(4)
    keys.encrypt(0, b"", [b""] * steps)
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
        step(TAKE, b"\0\3") + wait(10) + control(ControlType.ACK, Acknowledgement(1001, 4, 5, 6, 7, 8, 9).build(), 1),
        step(TAKE, b"\0\1") + control(ControlType.ACK, Acknowledgement(1001, 4, 5, 6, 7, 8, 9).build(), 1),
    ]  # fmt: skip


CASES = [
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
