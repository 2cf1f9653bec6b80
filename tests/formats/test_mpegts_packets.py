"""Packets of MPEG-TS: cut, found in a byte stream, and counted."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import ProtocolViolation
from penstock_formats.mpegts import datagrams
from penstock_formats.mpegts.alignment import MAX_UNSYNCED, Alignment
from penstock_formats.mpegts.packet import SIZE, parse_body
from penstock_formats.mpegts.packetizer import Packetizer
from penstock_formats.mpegts.pes import build_header, parse_header
from penstock_formats.mpegts.section import Section, crc32

PID = 0x101


def split(packets: bytes) -> list[bytes]:
    assert len(packets) % SIZE == 0
    return [packets[at : at + SIZE] for at in range(0, len(packets), SIZE)]


def payloads(packets: list[bytes]) -> bytes:
    found = [parse_body(int.from_bytes(packet[:4], "big"), packet[4:])[0] for packet in packets]
    return b"".join([payload for payload in found if payload is not None])


BOUNDARIES = [1, 2, 175, 176, 177, 181, 182, 183, 184, 185, 366, 367, 368, 369, 3000, 70_000]


@pytest.mark.parametrize("adaptation", [b"", b"\x40", b"\x50" + bytes(6)])
@pytest.mark.parametrize("size", BOUNDARIES)
def test_whatever_is_cut_comes_together(size: int, adaptation: bytes) -> None:
    data = bytes([n % 251 for n in range(size)])
    packetizer = Packetizer(PID)
    packetizer.packets(b"\0" * 184 * 13)
    packets = split(packetizer.packets(data, adaptation))
    assert payloads(packets) == data
    assert [packet[0] for packet in packets] == [0x47] * len(packets)
    assert [int.from_bytes(packet[1:3], "big") for packet in packets] == [0x4101] + [PID] * (len(packets) - 1)
    assert [packet[3] & 15 for packet in packets] == [(13 + n) % 16 for n in range(len(packets))]
    if adaptation:
        assert packets[0][5 : 5 + len(adaptation)] == adaptation
    # The next goes on counting.
    assert packetizer.packets(b"\0")[3] & 15 == (13 + len(packets)) % 16


@given(st.binary(max_size=2000), st.sampled_from([b"", b"\x40", b"\x50" + bytes(6)]))
def test_any_data_is_cut(data: bytes, adaptation: bytes) -> None:
    if data:
        assert payloads(split(Packetizer(PID).packets(data, adaptation))) == data


def test_a_packet_without_payload_does_not_count() -> None:
    packetizer = Packetizer(PID)
    before = packetizer.packets(bytes(300))
    (alone,) = split(packetizer.adaptation_only(b"\x10" + bytes(6)))
    assert alone[3] == 0x20 | before[-SIZE + 3] & 15
    assert parse_body(int.from_bytes(alone[:4], "big"), alone[4:]) == (None, False)
    assert packetizer.packets(b"\0")[3] & 15 == (alone[3] + 1) % 16


@pytest.mark.parametrize(("count", "sizes"), [(0, []), (1, [1]), (7, [7]), (8, [7, 1]), (21, [7, 7, 7])])
def test_datagrams_split_no_packet(count: int, sizes: list[int]) -> None:
    packets = Packetizer(PID).packets(bytes(184 * count)) if count else b""
    found = datagrams(packets)
    assert [len(one) // SIZE for one in found] == sizes
    assert b"".join(found) == packets


@pytest.mark.parametrize("ticks", [0, 1, (1 << 15) - 1, 1 << 15, (1 << 30) - 1, 1 << 30, (1 << 33) - 1])
def test_times_have_33_bits(ticks: int) -> None:
    header = parse_header(build_header(0xE0, 5, ticks + (1 << 33), ticks - 1, unbounded=True))
    assert (header.pts, header.dts) == (ticks, (ticks - 1) % (1 << 33))


def test_a_length_that_does_not_fit_is_left_out_for_video_only() -> None:
    assert build_header(0xE0, 65_527, 5, 5, unbounded=True)[4:6] == b"\xff\xff"
    assert build_header(0xE0, 65_528, 5, 5, unbounded=True)[4:6] == b"\0\0"
    with pytest.raises(ProtocolViolation):
        build_header(0xC0, 65_528, 5, 5, unbounded=False)


def test_the_check_value_is_that_of_the_standard() -> None:
    """By its definition, bit by bit (H.222.0 annex A)."""
    data = bytes(range(60))
    register = 0xFFFFFFFF
    for bit in "".join([f"{byte:08b}" for byte in data]):
        register = register << 1 ^ (0x04C11DB7 if (register >> 31) ^ int(bit) else 0)
        register &= 0xFFFFFFFF
    assert crc32(data) == register != zlib.crc32(data)
    section = Section(2, 7, data).encode()
    assert crc32(section) == 0
    with pytest.raises(ProtocolViolation):
        Section.parse(section[:-1] + b"\0")


def found(data: bytes, step: int = 500) -> list[bytes]:
    alignment = Alignment()
    packets: list[bytes] = []
    for at in range(0, len(data) + step, step):
        final = at >= len(data)
        for run, stride in alignment.push(data[at : at + step], final=final):
            packets += [run[n : n + SIZE] for n in range(0, len(run), stride)]
    return packets


PACKETS = [b"\x47" + bytes((1, n % 256, 0x10)) + bytes((n % 71,)) * 184 for n in range(60)]


@pytest.mark.parametrize(
    ("before", "after"), [(b"", b""), (b"time", b""), (b"", b"r" * 16)], ids=["188", "192", "204"]
)
def test_m1_packets_of_all_sizes_are_found(before: bytes, after: bytes) -> None:
    assert found(b"".join([before + packet + after for packet in PACKETS])) == PACKETS


@pytest.mark.parametrize("size", [187, 189])
def test_m1_a_packet_of_another_size_costs_no_more_than_the_next(size: int) -> None:
    odd = PACKETS[30][:size].ljust(size, b"\xff")
    got = found(b"".join([*PACKETS[:30], odd, *PACKETS[31:]]))
    assert got[:30] == PACKETS[:30]
    # One that is short takes the sync byte of the next along.
    assert got[-28:] == PACKETS[32:]
    assert len(got) <= 60


def test_m1_of_seven_packets_one_is_corrupt() -> None:
    bad = b"\x46" + PACKETS[24][1:]
    data = b"".join([*PACKETS[:24], bad, *PACKETS[25:]])
    assert found(data, 1316) == [*PACKETS[:24], *PACKETS[25:]]


@pytest.mark.parametrize("garbage", [b"", b"\x47", b"\x47" * 50, bytes(1000), bytes(range(256)) * 3])
def test_m1_packets_are_found_behind_garbage(garbage: bytes) -> None:
    assert found(garbage + b"".join(PACKETS))[-59:] == PACKETS[1:]


def test_m1_sync_is_not_looked_for_for_ever() -> None:
    alignment = Alignment()
    for _ in range(MAX_UNSYNCED // 1024):
        assert list(alignment.push(bytes(1024))) == []
    with pytest.raises(ProtocolViolation):
        list(alignment.push(bytes(1024)))


def test_a_short_stream_is_read_at_its_end() -> None:
    assert found(b"".join(PACKETS[:2])) == PACKETS[:2]
    assert found(b"head" + PACKETS[0] + b"head" + PACKETS[1]) == PACKETS[:2]
