"""RTP packets: rows P1 and P2, and unwrapping at the edges."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import ProtocolViolation
from penstock_formats.rtp.packet import (
    Extension,
    RtpPacket,
    extension_elements,
    rtp_header,
    unwrap_sequence,
    unwrap_timestamp,
)

packets = st.builds(
    RtpPacket,
    st.integers(0, 127),
    st.booleans(),
    st.integers(0, 0xFFFF),
    st.integers(0, 0xFFFFFFFF),
    st.integers(0, 0xFFFFFFFF),
    st.binary(max_size=40),
    st.lists(st.integers(0, 0xFFFFFFFF), max_size=15).map(tuple),
    st.none() | st.builds(Extension, st.integers(0, 0xFFFF), st.integers(0, 5).map(lambda n: bytes(4 * n))),
)


@given(packets)
def test_what_is_encoded_parses_back(packet: RtpPacket) -> None:
    assert RtpPacket.parse(packet.encode()) == packet


def test_header_is_that_of_the_packet() -> None:
    packet = RtpPacket(96, True, 65535, 5, 6, b"x")
    assert rtp_header(96, True, 65535 + 65536, 5 + (1 << 32), 6) + b"x" == packet.encode()


HEADER = bytes.fromhex("60 0001 00000002 00000003")


@pytest.mark.parametrize(
    "data",
    [
        *(b"\x80" + HEADER[:n] for n in range(11)),
        b"\x40" + HEADER,
        b"\x8f" + HEADER,
        b"\x90" + HEADER,
        b"\x90" + HEADER + b"\xbe\xde\xff\xff",
        b"\xa0" + HEADER,
        b"\xa0" + HEADER + b"x\0",
        b"\xa0" + HEADER + b"x\3",
        b"\xa0" + HEADER + b"x\xff",
    ],
)
def test_malformed_packets_are_refused(data: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        RtpPacket.parse(data)


def test_padding_may_be_all_there_is() -> None:
    assert RtpPacket.parse(b"\xa0" + HEADER + b"\0\2").payload == b""


@pytest.mark.parametrize(
    ("profile", "data", "elements"),
    [
        (0xBEDE, b"\x10a\x21bc\0\0", [(1, b"a"), (2, b"bc")]),
        (0xBEDE, b"\x10a\xf0b\x10c", [(1, b"a")]),
        (0xBEDE, b"\x10a\x03b\x10c", [(1, b"a")]),
        (0x1000, b"\x01\x00\x00\x02\x01a\x00\x00", [(1, b""), (2, b"a")]),
        (0x1234, b"\x10a", []),
    ],
)
def test_extension_elements(profile: int, data: bytes, elements: list[tuple[int, bytes]]) -> None:
    assert extension_elements(Extension(profile, data)) == elements


@pytest.mark.parametrize(
    ("profile", "data"), [(0xBEDE, b"\x1fab"), (0x1000, b"\x01"), (0x1000, b"\x01\x05ab")]
)
def test_cut_extension_elements_are_refused(profile: int, data: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        extension_elements(Extension(profile, data))


@given(st.integers(0, 1 << 40), st.integers(-0x8000, 0x7FFF))
def test_unwrapping_finds_the_nearest(near: int, step: int) -> None:
    assert unwrap_sequence((near + step) & 0xFFFF, near) == near + step
    assert unwrap_timestamp((near + step * 65536) & 0xFFFFFFFF, near) == near + step * 65536
