"""RTSP over HTTP: heads, base64 in any pieces, pairs (row T15), and what real clients send."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import ProtocolViolation
from penstock_rtsp.base64_stream import Base64Stream
from penstock_rtsp.message import Request
from penstock_rtsp.reader import MessageReader
from penstock_rtsp.tunnel import (
    MAX_HEAD,
    Half,
    TunnelReader,
    TunnelRequest,
    build_get_reply,
    build_refusal,
    may_be_tunnel,
)
from penstock_rtsp.tunnel_pairs import MAX_WAITING, TunnelPairs
from penstock_rtsp.tunnelled import Inbox

DATA = Path(__file__).parents[1] / "data" / "rtsp"


@pytest.mark.parametrize("client", ["ffmpeg7", "gst"])
def test_clients(client: str) -> None:
    get, post = TunnelReader(), TunnelReader()
    get.receive_data((DATA / f"{client}-pull-http.bin").read_bytes())
    data = (DATA / f"{client}-pull-http-2.bin").read_bytes()
    assert may_be_tunnel(data)
    for i in range(len(data)):
        post.receive_data(data[i : i + 1])
        if posted := post.next_event():
            break
    else:
        pytest.fail("no POST")
    opened = get.next_event()
    assert opened == TunnelRequest(Half.GET, "/live/stream", posted.cookie)
    assert posted.half is Half.POST
    assert get.next_event() is None
    body, messages = Base64Stream(), MessageReader()
    body.receive_data(post.rest() + data[i + 1 :])
    while (decoded := body.next_event()) is not None:
        messages.receive_data(decoded)
    first = messages.next_event()
    assert isinstance(first, Request)
    assert first.method == "OPTIONS"


def test_what_may_be_a_tunnel() -> None:
    assert may_be_tunnel(b"") is None
    assert may_be_tunnel(b"GET") is None
    assert may_be_tunnel(b"POST /") is True
    assert may_be_tunnel(b"GET_PARAMETER") is False
    assert may_be_tunnel(b"OPTIONS") is False


@given(st.lists(st.binary(max_size=12), max_size=6), st.integers(1, 9), st.sampled_from([b"", b"\r\n"]))
def test_messages_encoded_one_by_one_in_any_pieces(messages: list[bytes], size: int, end: bytes) -> None:
    text = b"".join(base64.b64encode(message) + end for message in messages)
    stream = Base64Stream()
    decoded = b""
    for i in range(0, len(text), size):
        stream.receive_data(text[i : i + size])
        while (part := stream.next_event()) is not None:
            decoded += part
    assert decoded == b"".join(messages)


@pytest.mark.parametrize(
    "text", [b"QUJD!!!!", b"QUJD====", b"QUJDQ===", b"QUJD=QUJ", b"QUJD\0\0\0\0", b"QUJDQ=Q="]
)
def test_what_is_not_base64_is_refused_after_what_is(text: bytes) -> None:
    stream = Base64Stream()
    stream.receive_data(text)
    assert stream.next_event() == b"ABC"
    stream.receive_data(b"QUJD")
    for _ in range(2):
        with pytest.raises(ProtocolViolation):
            stream.next_event()


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
        b"PUT / HTTP/1.1\r\nx-sessioncookie: a\r\n\r\n",
        b"GET / RTSP/1.0\r\nx-sessioncookie: a\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/1.0\nx\n\n",
        b"GET / HTTP/1.0\nx-sessioncookie:\n\n",
        b"GET / HTTP/1.0\nx-sessioncookie: a\nX-SessionCookie: b\n\n",
        b"GET / HTTP/1.0\nx-sessioncookie: " + b"a" * 129 + b"\n\n",
        b"GET / HTTP/1.0\n" + b"a:\n" * 65 + b"\n",
        b"GET / HTTP/1.0\n" + b"a" * MAX_HEAD,
    ],
)
def test_bad_heads_are_refused(head: bytes) -> None:
    reader = TunnelReader()
    reader.receive_data(head)
    for _ in range(2):
        with pytest.raises(ProtocolViolation):
            reader.next_event()


def test_pairs() -> None:
    pairs: TunnelPairs[int] = TunnelPairs()
    with pytest.raises(ProtocolViolation):
        pairs.join("a")
    pairs.open("a", 1)
    with pytest.raises(ProtocolViolation):
        pairs.open("a", 2)
    assert pairs.join("a") == 1
    with pytest.raises(ProtocolViolation):
        pairs.join("a")
    with pytest.raises(ProtocolViolation):
        pairs.open("a", 3)
    pairs.close("a")
    for i in range(MAX_WAITING):
        pairs.open(str(i), i)
    with pytest.raises(ProtocolViolation):
        pairs.open("a", 4)


def test_replies() -> None:
    assert b"application/x-rtsp-tunnelled\r\n\r\n" in build_get_reply("Penstock")
    assert build_refusal(404, "Not Found").startswith(b"HTTP/1.0 404 Not Found\r\n")


@pytest.mark.anyio
async def test_a_read_has_all_that_has_come() -> None:
    inbox = Inbox()
    for part in (b"abc", b"defg", b"hi"):
        await inbox.put(part)
    # Less than was asked for tells a publisher's session that nothing is left to read.
    assert [await inbox.receive(5), await inbox.receive(5)] == [b"abcde", b"fghi"]
    await inbox.put(b"jk")
    inbox.end()
    assert [await inbox.receive(5), await inbox.receive(5)] == [b"jk", b""]
