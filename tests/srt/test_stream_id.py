"""Stream ids in every spelling that users have."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import ProtocolViolation
from penstock.hooks import Action
from penstock.path import StreamPath
from penstock_srt.rejection import Refused, Rejection
from penstock_srt.stream_id import StreamId, standard

PATH = StreamPath.parse("live/stream")
MEANT: dict[str, StreamId] = {
    # The standard's.
    "#!::r=live/stream,m=publish": StreamId(PATH, "publish"),
    "#!::m=publish,r=/live/stream": StreamId(PATH, "publish"),
    "#!::r=live/stream": StreamId(PATH),
    "#!::u=haivision,r=live/stream,s=secret,h=example.com,t=stream": StreamId(
        PATH, None, "haivision", "secret"
    ),
    "#!::m=request": StreamId(None, "read"),
    "#!::": StreamId(),
    # SRS: other keys are parameters, ? counts as a comma, the path may be in h.
    "#!::r=live/stream?secret=x,m=publish": StreamId(PATH, "publish", query={"secret": "x"}),
    "#!::h=live/stream,m=publish": StreamId(PATH, "publish"),
    "#!::h=srs.srs.com.cn/live/stream,m=publish": StreamId(PATH, "publish"),
    "#!::h=srs.srs.com.cn,r=live/stream,m=request": StreamId(PATH, "read"),
    # MediaMTX and Monibuca.
    "publish:live/stream": StreamId(PATH, "publish"),
    "publish:/live/stream": StreamId(PATH, "publish"),
    "read:live/stream": StreamId(PATH, "read"),
    "subscribe:/live/stream": StreamId(PATH, "read"),
    "request:live/stream": StreamId(PATH, "read"),
    "play:live/stream": StreamId(PATH, "read"),
    "publish:live/stream:user:pass": StreamId(PATH, "publish", "user", "pass"),
    "publish:live/stream:user:pass:a=b&c=d": StreamId(PATH, "publish", "user", "pass", {"a": "b", "c": "d"}),
    "read:live/stream:token=x": StreamId(PATH, "read", query={"token": "x"}),
    "read:live/stream#feedbackplay": StreamId(PATH, "read"),
    # smart_rtmpd.
    "127.0.0.1:9000/live/stream,role=publisher": StreamId(PATH, "publish"),
    "192.168.1.2/live/stream,role=player": StreamId(PATH, "read"),
    "media:9000/live/stream,role=player": StreamId(PATH, "read"),
    "media.example:9000/live/stream,role=publisher": StreamId(PATH, "publish"),
    "[fe80::1]:9000/live/stream,role=player": StreamId(PATH, "read"),
    "localhost/live/stream,role=player": StreamId(PATH, "read"),
    "live/stream,role=publisher": StreamId(PATH, "publish"),
    "live/stream,role=publisher,token=x": StreamId(PATH, "publish", query={"token": "x"}),
    # Bare, and none.
    "live/stream": StreamId(PATH),
    "live/stream?token=x": StreamId(PATH, query={"token": "x"}),
    "stream": StreamId(StreamPath.parse("stream")),
    "default/app/stream": StreamId(StreamPath.parse("default/app/stream")),
    "srt://media.example:9000/live/stream": StreamId(PATH),
    "live/a%20b": StreamId(StreamPath.parse("live/a b")),
    "": StreamId(),
    "127.0.0.1:9000": StreamId(),
    ",role=player": StreamId(None, "read"),
}

REFUSED: dict[bytes, tuple[Rejection, str]] = {
    b"x" * 513: (Rejection.BAD_REQUEST, "more than 512"),
    b"live/\xff": (Rejection.BAD_REQUEST, "not UTF-8"),
    b"#!:{u=admin,r=x}": (Rejection.BAD_REQUEST, "nested"),
    b"#!::r=a,r=b": (Rejection.BAD_REQUEST, "'r' twice"),
    b"#!::r=a,u": (Rejection.BAD_REQUEST, "'u'"),
    b"#!::r=": (Rejection.BAD_REQUEST, "empty"),
    b"#!::r=../../x": (Rejection.BAD_REQUEST, "'..'"),
    b"#!::r=%2e%2e/x": (Rejection.BAD_REQUEST, "'..'"),
    b"#!::r=a\r\nb": (Rejection.BAD_REQUEST, "control characters"),
    b"#!::r=a,m=bidirectional": (Rejection.BAD_MODE, "m=publish or m=request"),
    b"#!::r=a,t=file": (Rejection.BAD_MODE, "only streams"),
    b"publish:a:b:c:d:e": (Rejection.BAD_REQUEST, "action:path"),
    b"publish:": (Rejection.BAD_REQUEST, "empty"),
    b"live/stream,role=both": (Rejection.BAD_MODE, "role=publisher or role=player"),
    b"live//stream": (Rejection.BAD_REQUEST, "empty"),
    b"api/v1": (Rejection.BAD_REQUEST, "'api'"),
}


@pytest.mark.parametrize("text", MEANT)
def test_what_is_meant(text: str) -> None:
    assert StreamId.parse(text.encode()) == MEANT[text]


@pytest.mark.parametrize("data", REFUSED)
def test_what_is_refused_and_why(data: bytes) -> None:
    code, words = REFUSED[data]
    with pytest.raises(Refused, match=words) as caught:
        StreamId.parse(data)
    assert caught.value.code is code


def test_a_thousand_pairs_are_too_long_for_a_stream_id() -> None:
    with pytest.raises(Refused):
        StreamId.parse(b"#!::" + b",".join(b"k%d=v" % number for number in range(1000)))


@given(st.text(min_size=1, max_size=30), st.sampled_from(["publish", "read"]))
def test_what_a_caller_says_is_understood(text: str, action: Action) -> None:
    try:
        path = StreamPath.parse(text)
    except ProtocolViolation:
        return
    assert StreamId.parse(standard(path, action).encode()) == StreamId(path, action)
