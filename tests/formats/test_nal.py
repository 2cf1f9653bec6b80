from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import ProtocolViolation
from penstock_formats.nal import (
    MAX_NALS,
    MAX_PARAMETER_SET,
    join_annex_b,
    join_lengths,
    split_annex_b,
    split_lengths,
    trim_parameter_set,
    unescape,
)

nals = st.lists(
    st.binary(min_size=1, max_size=40).map(lambda b: b.replace(b"\x00\x00", b"\x00\x03") + b"\x80"),
    max_size=9,
)


@given(nals)
def test_byte_streams_read_back(units: list[bytes]) -> None:
    assert split_annex_b(join_annex_b(units)) == units


@given(nals, st.sampled_from([1, 2, 4]))
def test_samples_read_back(units: list[bytes], size: int) -> None:
    assert split_lengths(join_lengths(units, size), size) == units


def test_both_start_codes_and_trailing_zeros() -> None:
    data = bytes.fromhex("000000 000001 67aa 0000 00000001 68 000001 000001 65bb 000000")
    assert split_annex_b(data) == [b"\x67\xaa", b"\x68", b"\x65\xbb"]


@pytest.mark.parametrize("data", [b"", bytes(7), b"\x00\x00\x01", b"\x00\x00\x01" * 5])
def test_only_start_codes_are_nothing(data: bytes) -> None:
    assert split_annex_b(data) == []


@pytest.mark.parametrize("data", [b"\x67", b"\x67\x00\x00\x01\x68", b"\x00\x00\x02"])
def test_no_start_code_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        split_annex_b(data)


@pytest.mark.parametrize(
    "data",
    [bytes(1 << 20), b"\x00\x00\x01" * 300_000, bytes(1 << 20) + b"\x01\x65", b"\x00\x00\x03" * 300_000],
)
def test_a_mebibyte_of_zeros_takes_no_time(data: bytes) -> None:
    before = time.process_time()
    for read in (split_annex_b, unescape, split_lengths):
        try:
            read(data)
        except ProtocolViolation:
            pass
    assert time.process_time() - before < 0.25


def test_too_many_units_are_refused() -> None:
    units = [b"\x65"] * (MAX_NALS + 1)
    with pytest.raises(ProtocolViolation):
        split_annex_b(join_annex_b(units))
    with pytest.raises(ProtocolViolation):
        split_lengths(join_lengths(units))
    assert len(split_lengths(join_lengths(units[1:]))) == MAX_NALS


@pytest.mark.parametrize("data", ["00", "000000", "00000001", "00000002 65", "ffffffff 65", "00000001 65 00"])
def test_cut_samples_are_refused(data: str) -> None:
    with pytest.raises(ProtocolViolation):
        split_lengths(bytes.fromhex(data))


def test_empty_units_in_samples_are_left_out() -> None:
    assert split_lengths(bytes.fromhex("00000000 00000001 65 00000000")) == [b"\x65"]


@pytest.mark.parametrize(
    ("escaped", "plain"),
    [
        ("670001", "670001"),
        ("67000003 01", "67000001"),
        ("67000003 000003", "6700000000"),
        ("67000003", "670000"),
        ("6700000003", "67000000"),
    ],
)
def test_emulation_prevention(escaped: str, plain: str) -> None:
    assert unescape(bytes.fromhex(escaped)) == bytes.fromhex(plain)


def test_parameter_sets_lose_what_cameras_leave_on_them() -> None:
    assert trim_parameter_set(bytes.fromhex("0000000167420000")) == b"\x67\x42"
    assert trim_parameter_set(bytes.fromhex("00000168")) == b"\x68"
    with pytest.raises(ProtocolViolation):
        trim_parameter_set(bytes(MAX_PARAMETER_SET + 1))
