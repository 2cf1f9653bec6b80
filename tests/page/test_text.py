"""Figures as people read them, and bit rates."""

from __future__ import annotations

from typing import Any

import pytest

from penstock_page import text
from penstock_page.summary import BitRates
from tests.kernel.feeding import Source


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0:00"),
        (7.9, "0:07"),
        (59, "0:59"),
        (60, "1:00"),
        (3599, "59:59"),
        (3600, "1:00:00"),
        (172_800, "2 days"),
    ],
)
def test_durations(seconds: float, shown: str) -> None:
    assert text.duration(seconds) == shown


@pytest.mark.parametrize(
    ("rate", "shown"),
    [(0, "0 kbit/s"), (64_400, "64 kbit/s"), (999_999, "1000 kbit/s"), (2_140_000, "2.1 Mbit/s")],
)
def test_bit_rates(rate: int, shown: str) -> None:
    assert text.bit_rate(rate) == shown


def test_tracks_without_what_is_not_known() -> None:
    tracks: list[dict[str, Any]] = [
        {"kind": "video", "name": "AV1"},
        {"kind": "data", "name": "AMF0"},
        {"kind": "audio", "name": "AAC", "sample_rate": 44_100, "channels": 6},
    ]
    assert text.tracks(tracks) == "AV1 · AAC 44.1 kHz 6 channels"


def test_a_bit_rate_is_that_of_the_last_seconds() -> None:
    source = Source()
    rates = BitRates()
    source.write(1)
    source.stream.bytes_in = 5_000_000
    source.stream.last_time = 11_000_000_000
    assert rates.of(source.stream, 100.0) == 4_000_000  # the mean of its ten seconds
    for second in range(1, 30):
        source.stream.bytes_in += 250_000
        assert rates.of(source.stream, 100.0 + second) == 2_000_000
    rate = 0
    for second in range(30, 40):
        source.stream.bytes_in += 125_000
        rate = rates.of(source.stream, 100.0 + second)
    assert rate == 1_000_000
    # Nobody looked for a minute.
    source.stream.bytes_in += 60 * 125_000
    assert rates.of(source.stream, 199.0) == 1_000_000
