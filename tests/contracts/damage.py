"""Hypothesis strategies that damage valid messages, and how many examples are drawn."""

from __future__ import annotations

import os
from collections.abc import Sequence

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

LONG = os.environ.get("PENSTOCK_FUZZ") == "long"
"""``PENSTOCK_FUZZ=long pytest tests/contracts/test_parsers.py`` looks for what no run has seen: each run draws anew."""

BOUNDARIES = [
    b"\0", b"\1", b"\x7f", b"\x80", b"\xff", b"\0\0", b"\0\1", b"\x7f\xff", b"\x80\0", b"\xff\xff",
    b"\0\0\0", b"\0\0\1", b"\0\0\3", b"\xff\xff\xff", b"\0\0\0\0", b"\0\0\0\1", b"\x7f\xff\xff\xff", b"\x80\0\0\0",
    b"\xff\xff\xff\xff", bytes(8), b"\xff" * 8, b"\xff" * 40, bytes(40), b"-1", b"4294967296", b"9" * 40,
    b"\r\n", b"\n", b"\r", b" ", b";", b",", b"=", b'"', b"/", b":", b"%", b"\xc3\x28", b"\xe2\x80\xa8",
]  # fmt: skip
"""What length fields, counts, start codes and separators are most sensitive to."""


def budget(examples: int) -> settings:
    """The settings of one property: fixed examples by default so that CI never flakes, 50 times as many in a long run."""
    return settings(
        max_examples=examples * (50 if LONG else 1),
        derandomize=not LONG,
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=[
            HealthCheck.too_slow,
            HealthCheck.data_too_large,
            HealthCheck.large_base_example,
        ],
    )


def _offset(data: bytes) -> st.SearchStrategy[int]:
    """An offset into `data`, half of the time among its first bytes, where headers are."""
    return st.integers(0, min(40, len(data))) | st.integers(0, len(data))


@st.composite
def damaged(draw: st.DrawFn, valid: Sequence[bytes]) -> bytes:
    """Valid messages cut, flipped, spliced, concatenated, overwritten and with boundary bytes inserted."""
    messages = st.sampled_from(list(valid))
    data = draw(messages)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(_offset(data))
        match draw(
            st.sampled_from(("cut", "behead", "flip", "splice", "join", "insert", "overwrite", "repeat"))
        ):
            case "cut":
                data = data[:at]
            case "behead":
                data = data[at:]
            case "flip" if at < len(data):
                data = data[:at] + bytes((data[at] ^ 1 << draw(st.integers(0, 7)),)) + data[at + 1 :]
            case "splice":
                other = draw(messages)
                data = data[:at] + other[draw(_offset(other)) :]
            case "join":
                data += draw(messages)
            case "insert":
                data = data[:at] + draw(st.sampled_from(BOUNDARIES)) + data[at:]
            case "overwrite":
                value = draw(st.sampled_from(BOUNDARIES) | st.binary(min_size=1, max_size=4))
                data = data[:at] + value + data[at + len(value) :]
            case "repeat":
                end = draw(_offset(data))
                data = data[:end] + data[at:end] * draw(st.integers(1, 20)) + data[end:]
            case _:
                pass
    return data


@st.composite
def cuts(draw: st.DrawFn, size: int) -> list[int]:
    """Where to cut an input of `size` bytes: here and there, byte by byte, or in equal pieces."""
    if draw(st.booleans()):
        return sorted(draw(st.lists(st.integers(0, size), max_size=12)))
    start = draw(st.integers(0, size))
    step = draw(st.sampled_from((1, 2, 3, 7, 128, 1460)))
    # Byte by byte through all of a capture would take most of the time: 3,000 pieces from anywhere are as telling.
    return list(range(start, size, step))[:3000]
