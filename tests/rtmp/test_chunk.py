from __future__ import annotations

import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import ProtocolViolation
from penstock_rtmp.chunk import MAX_MESSAGE, ChunkReader, Message, encode_message
from penstock_rtmp.message import encode_control


def read(*pieces: bytes) -> list[Message]:
    reader = ChunkReader()
    found: list[Message] = []
    for piece in pieces:
        reader.receive_data(piece)
        while (message := reader.next_message()) is not None:
            found.append(message)
    return found


TIMES = st.one_of(
    st.sampled_from([0, 0xFFFFFE, 0xFFFFFF, 0x1000000, 2**31, 2**32 - 1]), st.integers(0, 2**32 - 1)
)
SIZES = st.one_of(st.sampled_from([0, 1, 127, 128, 129, 255, 256, 257, 1000]), st.integers(0, 2000))


@given(
    csid=st.one_of(st.sampled_from([2, 63, 64, 319, 320, 65_599]), st.integers(2, 65_599)),
    timestamp=TIMES,
    size=SIZES,
    chunk_size=st.sampled_from([1, 2, 127, 128, 4096, 65_536]),
    cut=st.integers(1, 400),
)
def test_what_is_written_reads_back(csid: int, timestamp: int, size: int, chunk_size: int, cut: int) -> None:
    payload = bytes(i & 0xFF for i in range(size))
    data = encode_control(1, chunk_size) + 2 * encode_message(csid, timestamp, 9, 1, payload, chunk_size)
    expected = [Message(9, 1, timestamp, payload)] * 2
    assert read(data) == expected
    assert read(*(data[i : i + cut] for i in range(0, len(data), cut))) == expected


@pytest.mark.parametrize("csid", [2, 63])
def test_r8_longer_forms_of_a_small_csid_mean_what_they_say(csid: int) -> None:
    short = encode_message(csid + 64, 5, 8, 1, b"x")
    long = bytes((1, csid, 0)) + short[2:]
    assert read(short) == read(long)


def header(first: int, field: int, length: int | None = None, stream: bool = False) -> bytes:
    out = bytes((first,)) + min(field, 0xFFFFFF).to_bytes(3, "big")
    if length is not None:
        out += length.to_bytes(3, "big") + b"\x09"
    if stream:
        out += b"\x01\0\0\0"
    return out + (field.to_bytes(4, "big") if field >= 0xFFFFFF else b"")


@pytest.mark.parametrize("repeated", [True, False])
@pytest.mark.parametrize("absolute", [True, False])
@pytest.mark.parametrize("cut", [1, 1000])
def test_r9_extended_timestamp_on_type_3(repeated: bool, absolute: bool, cut: int) -> None:
    payload = bytes(range(130))
    if absolute:
        data = header(4, 0x1234567, 130, stream=True)
        stamp, extra = 0x1234567, b"\x01\x23\x45\x67"
    else:
        data = header(4, 100, 1, stream=True) + b"?" + header(0x44, 0xFFFFFF, 130)
        stamp, extra = 0xFFFFFF + 100, b"\0\xff\xff\xff"
    data += payload[:128] + b"\xc4" + (extra if repeated else b"") + payload[128:]
    found = read(*(data[i : i + cut] for i in range(0, len(data), cut)))
    assert found[-1] == Message(9, 1, stamp, payload)


def test_r9_type_3_repeats_the_absolute_timestamp_after_a_delta() -> None:
    payload = bytes(200)
    data = header(4, 100, 1, stream=True) + b"?" + header(0x44, 0xFFFFFF, 200)
    data += payload[:128] + b"\xc4" + (0xFFFFFF + 100).to_bytes(4, "big") + payload[128:]
    assert read(data)[-1].payload == payload


def test_type_3_begins_a_message_with_the_last_delta() -> None:
    data = header(4, 40, 1, stream=True) + b"a" + b"\xc4b" + header(0x84, 10) + b"c" + b"\xc4d"
    assert [m.timestamp for m in read(data)] == [40, 80, 90, 100]


@pytest.mark.parametrize("size", [0, 65_537, 0x7FFFFFFF, 0x80000001])
def test_r3_chunk_sizes_that_are_refused(size: int) -> None:
    with pytest.raises(ProtocolViolation, match="chunk size"):
        read(encode_control(1, size))


@pytest.mark.parametrize("chunk_size", [1, 2, 3])
def test_r3_tiny_chunks_cost_linear_time(chunk_size: int) -> None:
    message = encode_message(4, 0, 9, 1, bytes(200_000), chunk_size)
    # between the chunks of one message come whole ones of another, so that nothing can be taken in one step
    mixed = message[:12] + message[12 : 12 + chunk_size]
    step = 1 + chunk_size
    rest = message[12 + chunk_size : 12 + chunk_size + step * 20_000]
    other = encode_message(5, 0, 8, 1, b"", 128)
    mixed += b"".join(rest[i : i + step] + other for i in range(0, len(rest), step))
    for data in (message, mixed):
        before = time.process_time()
        read(encode_control(1, chunk_size), *(data[i : i + 65_536] for i in range(0, len(data), 65_536)))
        assert time.process_time() - before < 1.5


def test_r4_length_beyond_the_limit() -> None:
    with pytest.raises(ProtocolViolation, match="longer than"):
        read(header(4, 0, MAX_MESSAGE + 1, stream=True))


def test_r4_nothing_is_allocated_for_what_was_announced() -> None:
    reader = ChunkReader()
    reader.receive_data(header(4, 0, MAX_MESSAGE, stream=True) + bytes(100))
    assert reader.next_message() is None
    assert reader.pending < 200


def test_r5_unfinished_messages_are_bounded() -> None:
    with pytest.raises(ProtocolViolation, match="64 unfinished"):
        read(b"".join(encode_message(64 + i, 0, 9, 1, bytes(200))[: 13 + 128] for i in range(65)))


def test_r5_bytes_in_unfinished_messages_are_bounded() -> None:
    big = [
        encode_message(64 + i, 0, 9, 1, bytes(MAX_MESSAGE), 65_536)[: 13 + 65_536 + 158 * 65_538]
        for i in range(3)
    ]
    with pytest.raises(ProtocolViolation, match="bytes in unfinished"):
        read(encode_control(1, 65_536), *big)


def test_chunk_streams_are_bounded() -> None:
    with pytest.raises(ProtocolViolation, match="chunk streams"):
        read(b"".join(encode_message(64 + i, 0, 9, 1, b"") for i in range(300)))


@pytest.mark.parametrize("first", [0x84, 0xC4])
def test_r6_short_header_on_a_fresh_chunk_stream(first: int) -> None:
    with pytest.raises(ProtocolViolation, match="begins with"):
        read(bytes((first,)) + bytes(20))


def test_r6_type_1_begins_a_chunk_stream_as_librtmp_has_it() -> None:
    assert read(header(0x44, 7, 1) + b"x") == [Message(9, 0, 7, b"x")]


def test_r7_a_new_header_drops_the_message_before() -> None:
    cut = encode_message(4, 0, 9, 1, bytes(300))[: 100 + 40]
    assert read(cut + header(0x44, 5, 2) + b"ab", b"\xc4cd") == [
        Message(9, 1, 5, b"ab"),
        Message(9, 1, 10, b"cd"),
    ]


def test_r11_abort() -> None:
    cut = encode_message(4, 0, 9, 1, bytes(200))[: 12 + 128]
    assert read(
        cut + encode_control(2, 4) + encode_control(2, 999) + b"\xc4" + bytes(128) + b"\xc4" + bytes(72)
    ) == [Message(9, 1, 0, bytes(200))]


def test_an_idle_reader_is_small() -> None:
    reader = ChunkReader()
    for csid in (2, 3, 4, 6):
        reader.receive_data(encode_message(csid, 0, 9, 1, bytes(5000)))
        assert reader.next_message() is not None
    reader.receive_data(b"")
    parts = [reader, *(getattr(reader, name) for name in ChunkReader.__slots__)]
    streams = getattr(reader, "_streams").values()  # noqa: B009
    assert sum(map(sys.getsizeof, [*parts, *streams])) < 2000
