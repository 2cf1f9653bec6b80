"""RTCP: rows P6 to P9, what is encoded parses back, and the figures of a receiver report."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import ProtocolViolation
from penstock.media import NS
from penstock_formats.rtcp import (
    Feedback,
    FullIntraRequest,
    Goodbye,
    MaxBitrate,
    Nack,
    PictureLoss,
    ReceiverReport,
    ReportBlock,
    RtcpPacket,
    SenderReport,
    SourceDescription,
    Unknown,
    encode_rtcp,
    ns_to_ntp,
    ntp_to_ns,
    parse_rtcp,
)
from penstock_formats.rtp.statistics import ReceiverStatistics
from penstock_formats.transport_cc import TransportFeedback

word = st.integers(0, 0xFFFFFFFF)
blocks = st.lists(
    st.builds(
        ReportBlock, word, st.integers(0, 255), st.integers(-0x800000, 0x7FFFFF), word, word, word, word
    ),
    max_size=31,
).map(tuple)
items = st.lists(st.tuples(st.integers(1, 8), st.binary(max_size=9)), max_size=3).map(tuple)
rtcp_packets: st.SearchStrategy[RtcpPacket] = st.one_of(
    st.builds(SenderReport, word, st.integers(0, (1 << 64) - 1), word, word, word, blocks),
    st.builds(ReceiverReport, word, blocks),
    st.builds(SourceDescription, st.lists(st.tuples(word, items), max_size=4).map(tuple)),
    st.builds(Goodbye, st.lists(word, max_size=31).map(tuple), st.none() | st.binary(max_size=255)),
    st.builds(
        Nack,
        word,
        word,
        st.lists(st.tuples(st.integers(0, 65535), st.integers(0, 65535)), min_size=1, max_size=9).map(tuple),
    ),
    st.builds(PictureLoss, word, word),
    st.builds(
        FullIntraRequest, word, word, st.lists(st.tuples(word, st.integers(0, 255)), max_size=4).map(tuple)
    ),
    st.builds(
        MaxBitrate,
        word,
        word,
        st.integers(0, 63),
        st.integers(0, 0x3FFFF),
        st.lists(word, max_size=255).map(tuple),
    ),
    st.builds(Feedback, st.just(205), st.just(15), word, word, st.just(bytes(8))),
    st.builds(Unknown, st.sampled_from([204, 207, 195]), st.integers(0, 31), st.just(b"name")),
)


@given(st.lists(rtcp_packets, min_size=1, max_size=5))
def test_what_is_encoded_parses_back(packets: list[RtcpPacket]) -> None:
    assert parse_rtcp(encode_rtcp(packets)) == tuple(packets)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "80c9",
        "40c9000100000001",
        "80c9ffff00000001",
        "80c90000",
        "9fc9000200000001" + "00000000",
        "80c80001" + "00000001",
        "9fcb0001" + "00000001",
        "81cb000200000001" + "ff616263",
        "81ca0000",
        "81ca0002" + "00000001" + "01ff6162",
        "a0c9000100000000",
        "a0c90000",
        "81cd00010000 0001",
        "81cd0002" + "00000001" * 2,
        "84ce0003" + "00000001" * 3,
        "8fce0005" + "00000001" * 2 + "52454d42" + "ff000000" + "00000001",
    ],
)
def test_malformed_packets_are_refused(text: str) -> None:
    with pytest.raises(ProtocolViolation):
        parse_rtcp(bytes.fromhex(text))


def test_a_compound_of_a_thousand_and_a_nack_without_bounds_are_refused() -> None:
    with pytest.raises(ProtocolViolation, match="more than"):
        parse_rtcp(bytes.fromhex("80cb0000") * 1000)
    with pytest.raises(ProtocolViolation, match="more than"):
        parse_rtcp(encode_rtcp([Nack(1, 2, ((0, 0xFFFF),) * 3856)]))


def test_nack_of_sequences() -> None:
    nack = Nack.of(1, 2, [65534, 65535, 14, 15, 100])
    assert nack.pairs == ((65534, 0x8001), (15, 0), (100, 0))
    assert list(nack.sequences()) == [65534, 65535, 14, 15, 100]


def test_remb_bitrate() -> None:
    assert MaxBitrate(1, 0, 6, 0x3FFFF, ()).bitrate == 0x3FFFF << 6


@given(st.integers(0, 4_000_000_000 * NS))
def test_ntp_gives_every_nanosecond_back_also_after_2036(ns: int) -> None:
    assert ntp_to_ns(ns_to_ntp(ns)) == ns


def test_ntp_era() -> None:
    assert ntp_to_ns(2_208_988_800 << 32) == 0
    assert ntp_to_ns(0) == 2_085_978_496 * NS
    assert ns_to_ntp(2_085_978_496 * NS) == 0


def test_receiver_statistics() -> None:
    statistics = ReceiverStatistics(7, 8000)
    assert statistics.report(0) == ReportBlock(7)
    numbers = [n for n in range(65500, 65600) if n % 10]
    for n in numbers:
        statistics.packet(n & 0xFFFF, n * 160 & 0xFFFFFFFF, n * NS // 50)
    statistics.sender_report(SenderReport(7, 0x1234_5678_9ABC_DEF0, 0, 0, 0), 5 * NS)
    block = statistics.report(6 * NS)
    assert block.highest_sequence == 65599
    assert block.cumulative_lost == 9
    assert block.fraction_lost == 9 * 256 // 99
    assert block.jitter == 0
    assert (block.last_report, block.delay) == (0x56789ABC, 65536)
    assert statistics.report(6 * NS).fraction_lost == 0


def test_jitter_of_a_regular_wobble_and_a_new_numbering() -> None:
    statistics = ReceiverStatistics(7, 8000)
    for n in range(500):
        statistics.packet(n, n * 160, n * NS // 50 + n % 2 * NS // 1000)
    assert statistics.report(0).jitter in (7, 8)
    statistics.packet(40000, 0, 0)
    assert statistics.report(0).highest_sequence == 40000
    assert statistics.report(0).cumulative_lost == 0
    for _ in range(3):
        statistics.packet(40000, 0, 0)
    assert statistics.report(0).cumulative_lost == -3


def test_what_a_browser_fills_up_to_a_word_is_read() -> None:
    """As Chromium sent it: 13 packets, whose arrivals end a byte before the end of a word."""
    data = bytes.fromhex("afcd0008000000015d1b72ec0000000d0ef27100200d0800360000470000002f00300001")
    (feedback,) = parse_rtcp(data)
    assert isinstance(feedback, Feedback)
    found = TransportFeedback.parse(feedback.data)
    assert found.arrivals == (8, 0, 0x36, 0, 0, 0x47, 0, 0, 0, 0x2F, 0, 0x30, 0)
    with pytest.raises(ProtocolViolation, match="padding"):
        parse_rtcp(data[:-1] + bytes((33,)))
    with pytest.raises(ProtocolViolation, match="padding"):
        parse_rtcp(data[:-1] + bytes(1))
