from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import ProtocolViolation
from penstock_formats.bits import BitReader
from tests.codecs.h26x import bits, golomb


def test_fixed_widths_cross_bytes() -> None:
    reader = BitReader(bytes.fromhex("a55af00f"))
    assert [reader.u(n) for n in (1, 3, 7, 0, 13, 8)] == [1, 2, 0x2A, 0, 0x1AF0, 0x0F]
    assert reader.left == 0
    with pytest.raises(ProtocolViolation):
        reader.u(1)
    with pytest.raises(ProtocolViolation):
        reader.skip(1)


@given(st.lists(st.integers(0, 2**32 - 1), max_size=8))
def test_unsigned_codes_read_back(values: list[int]) -> None:
    reader = BitReader(bits("".join(map(golomb, values))))
    assert [reader.ue() for _ in values] == values


def test_signed_codes() -> None:
    reader = BitReader(bits("".join(golomb(n) for n in range(5))))
    assert [reader.se() for _ in range(5)] == [0, 1, -1, 2, -2]


def test_the_largest_code_and_one_beyond() -> None:
    assert BitReader(bits(golomb(2**32 - 1))).ue() == 2**32 - 1
    with pytest.raises(ProtocolViolation, match="too long"):
        BitReader(bytes(8) + b"\xff" * 9).ue()
    with pytest.raises(ProtocolViolation, match="too long"):
        BitReader(bits("0" * 33 + "1" + "0" * 33)).ue()


@pytest.mark.parametrize("data", [b"", b"\x00", b"\x01", bytes(4)])
def test_a_cut_code_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        BitReader(data, "H.264 9.1").ue()


def test_a_maximum_is_held() -> None:
    assert BitReader(bits(golomb(5))).ue(5) == 5
    with pytest.raises(ProtocolViolation, match="6 where 5"):
        BitReader(bits(golomb(6))).ue(5)
