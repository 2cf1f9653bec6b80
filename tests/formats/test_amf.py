from __future__ import annotations

import math
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import ProtocolViolation
from penstock_formats.amf import MAX_DEPTH, Date, EcmaArray, TypedObject, amf0, amf3

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.floats(allow_nan=False),
    st.text(st.characters(codec="utf-8")),
    st.builds(Date, st.floats(allow_nan=False)),
)
KEYS = st.text(st.characters(codec="utf-8"), max_size=5)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=20,
)


@pytest.mark.parametrize("module", [amf0, amf3])
@given(values=st.lists(VALUES, max_size=4))
def test_what_is_encoded_decodes(module: Any, values: list[Any]) -> None:
    assert module.decode(module.encode(*values)) == values


@pytest.mark.parametrize(
    "number", [0, 127, 128, 0x3FFF, 0x4000, 0x1FFFFF, 0x200000, 2**28 - 1, 2**28, -1, -(2**28), -(2**28) - 1]
)
def test_amf3_integers(number: int) -> None:
    assert amf3.decode(amf3.encode(number)) == [number]


def test_kinds_are_kept() -> None:
    values: list[Any] = [EcmaArray(a=1.0), TypedObject("C", {"x": None}), Date(5.0), b"\0\xff", "y" * 70_000]
    found = amf0.decode(amf0.encode(*values))
    assert found == values
    assert isinstance(found[0], EcmaArray)
    assert found[1].class_name == "C"


@pytest.mark.parametrize("opening", [b"\x03\0\1a", b"\x0a\0\0\0\1", b"\x08\0\0\0\0\0\1a", b"\x10\0\1c\0\1a"])
def test_a1_depth_is_limited(opening: bytes) -> None:
    with pytest.raises(ProtocolViolation, match="deeper"):
        amf0.decode(opening * 10_000 + b"\5")


@pytest.mark.parametrize("opening", [b"\x09\x03\x01", b"\x0a\x0b\x01\x03a", b"\x11\x03\0\x01"])
def test_a1_depth_is_limited_in_amf3(opening: bytes) -> None:
    with pytest.raises(ProtocolViolation, match="deeper"):
        amf3.decode(opening * 10_000)


def test_a2_counts_are_checked() -> None:
    assert amf0.decode(b"\x08\xff\xff\xff\xff\0\0\x09") == [{}]
    for data in (b"\x0a\xff\xff\xff\xff", b"\x0c\xff\xff\xff\xff"):
        with pytest.raises(ProtocolViolation):
            amf0.decode(data)
    for marker in (b"\x09", b"\x0c", b"\x0d", b"\x0f", b"\x11"):
        with pytest.raises(ProtocolViolation):
            amf3.decode(marker + b"\xff\xff\xff\xff\x01\x01")


def test_a3_bytes_of_strings_are_kept() -> None:
    data = b"\x02\0\4\xff\0\xe2\x80"
    assert amf0.encode(*amf0.decode(data)) == data


def test_a4_references() -> None:
    shared = amf0.decode(b"\x03\0\1a\x03\0\1b\x05\0\0\x09\0\1c\x07\0\1\0\0\x09")
    assert shared == [{"a": {"b": None}, "c": {"b": None}}]
    for data in (b"\x07\0\0", b"\x03\0\1a\x07\0\0\0\0\x09"):
        with pytest.raises(ProtocolViolation, match="reference"):
            amf0.decode(data)
    for data in (b"\x09\x04", b"\x06\x04", b"\x0a\x05", b"\x09\x03\x01\x09\x00"):
        with pytest.raises(ProtocolViolation, match="reference"):
            amf3.decode(data)


def test_a4_chains_of_references_do_not_grow() -> None:
    doubling = b"\x0a\0\0\0\2\5\5" + b"".join(
        b"\x0a\0\0\0\2\7\0" + bytes((i,)) + b"\7\0" + bytes((i,)) for i in range(30)
    )
    with pytest.raises(ProtocolViolation):
        amf0.decode(doubling)
    chain = b"\x0a\0\0\0\1\5" + b"".join(b"\x0a\0\0\0\1\7\0" + bytes((i,)) for i in range(MAX_DEPTH + 1))
    with pytest.raises(ProtocolViolation, match="deeper"):
        amf0.decode(chain)


def test_a4_depth_counts_across_the_versions() -> None:
    inner = b"\x09\x03\x01" * 20 + b"\x01"
    assert amf0.decode(b"\x11" + inner)
    with pytest.raises(ProtocolViolation, match="deeper"):
        amf0.decode(b"\x0a\0\0\0\1" * 10 + b"\x11" + inner)


def test_a5_objects_without_end() -> None:
    for data in (b"\x03", b"\x03\0\1a\5", b"\x03\0\0", b"\x10\0\1c"):
        with pytest.raises(ProtocolViolation):
            amf0.decode(data)
    assert amf0.decode(b"\x03\0\0\5\0\0\x09") == [{"": None}]
    assert amf0.decode(b"\x08\0\0\0\1\0\1a\5") == [{"a": None}]


def test_a5_duplicate_keys_in_numbers() -> None:
    before = time.process_time()
    with pytest.raises(ProtocolViolation, match="more than"):
        amf0.decode(b"\x03" + b"\0\1a\5" * 1_000_000 + b"\0\0\x09")
    assert time.process_time() - before < 0.25


def test_a6_externalizable_objects_are_refused() -> None:
    with pytest.raises(ProtocolViolation, match="externalizable"):
        amf3.decode(b"\x0a\x07\x43flex.messaging.io.ArrayCollection\x01")


def test_a7_odd_numbers_pass() -> None:
    found = amf0.decode(amf0.encode(math.nan, math.inf, Date(math.nan)))
    assert math.isnan(found[0])
    assert math.isnan(found[2].milliseconds)


def test_long_names_of_amf3_are_refused() -> None:
    with pytest.raises(ProtocolViolation, match="name"):
        amf3.decode(amf3.encode({"k" * 20_000: 1}))
