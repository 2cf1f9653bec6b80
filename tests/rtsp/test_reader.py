"""Messages and interleaved frames out of bytes: rows T1 to T6 and G5, and what real clients send."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import ProtocolViolation
from penstock_rtsp.headers import Headers
from penstock_rtsp.message import InterleavedFrame, Message, Request, Response, interleaved_header
from penstock_rtsp.reader import MAX_BODY, MessageReader

DATA = Path(__file__).parents[1] / "data" / "rtsp"


def read(data: bytes) -> list[Message]:
    reader = MessageReader()
    reader.receive_data(data)
    events: list[Message] = []
    while (event := reader.next_event()) is not None:
        events.append(event)
    return events


def refusal(data: bytes) -> str:
    with pytest.raises(ProtocolViolation) as caught:
        read(data)
    return str(caught.value)


def request(*lines: str, body: str = "") -> bytes:
    return "\r\n".join(("OPTIONS * RTSP/1.0", *lines, "", body)).encode()


@pytest.mark.parametrize("path", sorted(DATA.glob("*push*.bin")), ids=lambda path: path.name)
def test_publishers(path: Path) -> None:
    events = read(path.read_bytes())
    methods = [event.method for event in events if isinstance(event, Request)]
    assert methods[:2] == ["OPTIONS", "ANNOUNCE"]
    assert "RECORD" in methods
    assert ("udp" in path.name) == (InterleavedFrame not in map(type, events))
    assert read(b"".join(event.encode() for event in events)) == events


def test_mixed_on_one_connection() -> None:
    frame = InterleavedFrame(3, b"\r\n$RTSP")
    response = Response(200, "OK", Headers([("CSeq", "1")]), b"body")
    asked = Request("PLAY", "rtsp://h/a", Headers([("cseq", "2"), ("X", "")]))
    data = b"\r\n\n" + frame.encode() + response.encode() + b"\r\n" + asked.encode() + frame.encode()
    assert read(data) == [frame, response, asked, frame]
    assert asked.headers.get("CSeq") == "2"
    assert interleaved_header(3, 7) + frame.payload == frame.encode()


def test_bare_line_feeds_blanks_before_the_colon_and_other_charsets() -> None:
    (event,) = read(b"GET_PARAMETER rtsp://h/a RTSP/1.0\nCSeq : 1\nX:caf\xe9\n\n")
    assert isinstance(event, Request)
    assert list(event.headers) == [("CSeq", "1"), ("X", "café")]


@given(st.lists(st.integers(0, 3000), max_size=8))
def test_any_split_reads_the_same(cuts: list[int]) -> None:
    data = (DATA / "ffmpeg5-push-tcp.bin").read_bytes()[:3000]
    reader = MessageReader()
    events: list[Message] = []
    at = 0
    for cut in [*sorted(cuts), len(data)]:
        reader.receive_data(data[at:cut])
        at = max(at, cut)
        while (event := reader.next_event()) is not None:
            events.append(event)
    assert events == read(data)


def test_one_byte_at_a_time_is_linear() -> None:
    reader = MessageReader()
    data = InterleavedFrame(0, bytes(65535)).encode() + Request("OPTIONS", "*", body=bytes(MAX_BODY)).encode()
    start = time.process_time()
    got = 0
    for i in range(len(data)):
        reader.receive_data(data[i : i + 1])
        got += reader.next_event() is not None
    assert got == 2
    assert time.process_time() - start < 5


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x16\x03\x01\x02\0", "TLS"),
        (b"\x03" + bytes(1536), "RTMP"),
        (b"GET / HTTP/1.1\r\n", "HTTP"),
        (b"SSH-2.0-OpenSSH_9\r\n", "SSH"),
        (b" OPTIONS * RTSP/1.0\r\n", "neither"),
        (b"\0", "neither"),
        (b"a" * 3000, "2048"),
        (b"OPTIONS " + b"a" * 3000 + b"\n", "2048"),
        (b"OPTIONS  * RTSP/1.0\r\n", "request line"),
        (b"OPTIONS * RTSP/1\r\n", "request line"),
        (b"OPT-IONS * RTSP/1.0\r\n", "word"),
        (b"OPTIONS  RTSP/1.0\r\n", "URL"),
        (b"OPTIONS \x1b RTSP/1.0\r\n", "URL"),
        (b"OPTIONS *\rRTSP/1.0\r\n", "bare CR"),
        (b"OPTIONS *\0 RTSP/1.0\r\n", "NUL"),
        (b"RTSP/1.0 99 x\r\n", "status"),
        (b"RTSP/1.0 2000 x\r\n", "status"),
        (b"RTSP/1 200 x\r\n", "status"),
        (request("CSeq: 1", " folded"), "folded"),
        (request("no colon"), "without a name"),
        (request(": x"), "without a name"),
        (request("a b: x"), "without a name"),
        (request("X: " + "x" * 9000), "8192"),
        (request(*["X: 1"] * 65), "64"),
        (request(*["X: " + "x" * 8000] * 9), "65536"),
        *(
            (request(f"Content-Length: {n}"), "Content-Length")
            for n in (-1, "+5", "1e3", "0x10", 2**31, "9" * 20, "")
        ),
        (request("Content-Length: " + "9" * 5000), "Content-Length"),
        (request("Content-Length: 1", "content-length: 2"), "different"),
    ],
)
def test_what_is_refused(data: bytes, words: str) -> None:
    assert words in refusal(data)


def test_equal_lengths_twice_are_one() -> None:
    (event,) = read(request("Content-Length: 1", "Content-Length: 1", body="x"))
    assert isinstance(event, Request)
    assert event.body == b"x"
    assert "content-length" not in event.headers


def test_a_violation_is_for_good_and_tells_where() -> None:
    reader = MessageReader()
    reader.receive_data(request("CSeq: 1") + b"\x16")
    assert reader.next_event() is not None
    for _ in range(2):
        with pytest.raises(ProtocolViolation) as caught:
            reader.next_event()
        assert caught.value.offset == len(request("CSeq: 1"))
        reader.receive_data(request("CSeq: 2"))


def test_text_in_a_frame_is_payload_and_what_follows_is_refused() -> None:
    data = b"$\0\0\x08" + b"OPTIONS * RTSP/1.0\r\n\r\n"
    assert "RTSP request line" in refusal(data) or "neither" in refusal(data)


@pytest.mark.parametrize("value", ["a\r\nb", "a\nb", "a\0"])
def test_line_breaks_never_reach_the_wire(value: str) -> None:
    with pytest.raises(ValueError, match="line break"):
        Response(200, "OK", Headers([("X", value)])).encode()


def test_headers() -> None:
    headers = Headers([("A", "1"), ("b", "2"), ("a", "1")])
    assert headers.all("A") == ("1", "1")
    assert headers.single("A") == "1"
    assert headers.single("c") is None
    assert headers.with_lines(("B", "3")) == Headers([("A", "1"), ("a", "1"), ("B", "3")])
    assert len(headers) == 3
    assert hash(headers) == hash(Headers(headers))
    assert "Headers" in repr(headers)
    with pytest.raises(ProtocolViolation):
        Headers([("A", "1"), ("a", "2")]).single("A")
