"""Server and client, wired in memory; and what the server refuses (rows T5, T8, T12)."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.errors import ProtocolViolation
from penstock.media import NS
from penstock_formats.sdp import SessionDescription
from penstock_rtsp.auth import Algorithm, Challenge, DigestCredentials, parse_authorization
from penstock_rtsp.connection import Asked, Refused, ServerConnection
from penstock_rtsp.message import InterleavedFrame, Request, Response
from penstock_rtsp.range import Range
from penstock_rtsp.requester import (
    Answered,
    Described,
    Event,
    Failed,
    Prepared,
    Redirected,
    Requester,
    Started,
    TransportRefused,
)
from penstock_rtsp.rtp_info import RtpInfo
from penstock_rtsp.session_header import SessionHeader
from penstock_rtsp.state import METHODS, TABLE, State, StateMachine, WrongState
from penstock_rtsp.transport import Lower, Transport

SDP = (Path(__file__).parents[1] / "data" / "rtsp" / "ffmpeg7-push-tcp.sdp").read_bytes()
URL = "rtsp://h/live/stream"
TCP = Transport(Lower.TCP, interleaved=(0, 1))


def ask(server: ServerConnection, method: str, *lines: str, url: str = URL) -> Asked | Refused:
    server.receive_data("\r\n".join((f"{method} {url} RTSP/1.0", *lines, "\r\n")).encode())
    event = server.next_event()
    assert isinstance(event, Asked | Refused)
    return event


def status(event: Asked | Refused) -> int:
    return event.status if isinstance(event, Refused) else 200


@pytest.mark.parametrize(
    ("method", "lines", "url", "expected"),
    [
        ("OPTIONS", ("CSeq: 1",), "*", 200),
        ("OPTIONS", (), "*", 400),
        ("OPTIONS", ("CSeq: x",), "*", 400),
        ("OPTIONS", ("CSeq: 99999999999",), "*", 400),
        ("OPTIONS", ("CSeq: 1", "CSeq: 2"), "*", 400),
        ("OPTIONS", ("CSeq: 1", "CSeq: 1"), "*", 200),
        ("OPTIONS", ("CSeq: 1", "Session: 1", "Session: 2"), "*", 400),
        ("STEAL", ("CSeq: 1",), URL, 501),
        ("PLAY", ("CSeq: 1",), URL, 455),
        ("DESCRIBE", ("CSeq: 1", "Require: funky"), URL, 551),
        ("DESCRIBE", ("CSeq: 1",), "/../x", 400),
        ("DESCRIBE", ("CSeq: 1", "Session: guessed"), URL, 454),
    ],
)
def test_what_is_fit_to_be_answered(method: str, lines: tuple[str, ...], url: str, expected: int) -> None:
    server = ServerConnection("Penstock")
    event = ask(server, method, *lines, url=url)
    assert status(event) == expected
    if isinstance(event, Refused):
        assert server.refuse(event).startswith(f"RTSP/1.0 {expected} ".encode())


def test_other_versions_and_farewell() -> None:
    server = ServerConnection("Penstock")
    server.receive_data(b"OPTIONS * RTSP/2.0\r\nCSeq: 1\r\n\r\nRTSP/1.0 200 OK\r\n\r\n\x16")
    event = server.next_event()
    assert isinstance(event, Refused)
    assert event.status == 505
    assert isinstance(server.next_event(), Response)
    with pytest.raises(ProtocolViolation):
        server.next_event()
    assert server.farewell().startswith(b"RTSP/1.0 400 ")


def test_a_reply_has_the_number_the_session_and_the_date() -> None:
    server = ServerConnection("Penstock")
    server.session = SessionHeader("abc", 60)
    event = ask(server, "OPTIONS", "CSeq: 7", "Session: abc")
    assert isinstance(event, Asked)
    assert server.respond(event.request, 200, ("Public", "PLAY"), date="now") == (
        b"RTSP/1.0 200 OK\r\nCSeq: 7\r\nServer: Penstock\r\nDate: now\r\nSession: abc;timeout=60\r\n"
        b"Public: PLAY\r\n\r\n"
    )


def test_every_state_allows_only_known_methods() -> None:
    assert set(TABLE) == set(State)
    assert {method for row in TABLE.values() for method in row} == set(METHODS)
    machine = StateMachine()
    machine.advance("SETUP")
    machine.advance("PLAY")
    with pytest.raises(WrongState):
        machine.advance("RECORD")
    machine.advance("TEARDOWN")
    assert machine.allowed == ()


class Pair:
    """A client and a server that answers `replies`, by method, or 200."""

    def __init__(self, challenge: Challenge | None = None, password: str = "pw") -> None:
        self.client = Requester(URL, "Penstock", "c0ffee", "user", password)
        self.server = ServerConnection("Penstock")
        self.challenge = challenge
        self.replies: dict[str, tuple[int, tuple[tuple[str, str], ...], bytes]] = {}
        self.asked: list[Request] = []

    def run(self) -> list[Event]:
        events: list[Event] = []
        while data := self.client.data_to_send():
            self.server.receive_data(data)
            while (event := self.server.next_event()) is not None:
                assert isinstance(event, Asked), event
                self.client.receive_data(self.answer(event.request))
            while (reply := self.client.next_event()) is not None:
                events.append(reply)
        return events

    def answer(self, request: Request) -> bytes:
        self.asked.append(request)
        if self.challenge is not None:
            given = request.headers.get("Authorization")
            if given is None or not self.fits(given, request):
                basic = Challenge("Basic", "r").build()
                asked = ("WWW-Authenticate", self.challenge.build())
                return self.server.respond(request, 401, ("WWW-Authenticate", basic), asked)
        code, headers, body = self.replies.get(request.method, (200, (), b""))
        if code == 200:
            self.server.state.advance(request.method)
        return self.server.respond(request, code, *headers, body=body)

    def fits(self, given: str, request: Request) -> bool:
        credentials = parse_authorization(given)
        return isinstance(credentials, DigestCredentials) and credentials.verify(
            request.method, password="pw"
        )


@pytest.mark.parametrize(
    "challenge",
    [None, Challenge("Digest", "r", "n"), Challenge("Digest", "r", "n", Algorithm.SHA256, True)],
)
def test_play(challenge: Challenge | None) -> None:
    pair = Pair(challenge)
    pair.replies["OPTIONS"] = 200, (("Public", "PLAY, GET_PARAMETER"),), b""
    pair.replies["DESCRIBE"] = 200, (("Content-Base", URL + "/"),), SDP
    pair.replies["SETUP"] = 200, (("Transport", TCP.build()),), b""
    pair.replies["PLAY"] = 200, (("RTP-Info", f"url={URL};seq=1"), ("Range", "npt=0-")), b""
    client = pair.client
    client.options()
    assert pair.run() == [Answered("OPTIONS")]
    client.describe()
    assert pair.run() == [Described(SessionDescription.parse(SDP), URL + "/")]
    pair.server.session = SessionHeader("abc", 20)
    client.setup("streamid=0", TCP)
    assert pair.run() == [Prepared(URL + "/streamid=0", TCP)]
    client.setup("streamid=1", TCP)
    client.play()
    assert [type(e) for e in pair.run()] == [Prepared, Started]
    assert client.keep_alive_interval == 10 * NS
    client.keep_alive()
    client.pause()
    client.play(Range(NS))
    assert pair.run()[-1] == Started(Range(), (RtpInfo(URL, 1),))
    client.teardown()
    assert pair.run() == [Answered("TEARDOWN")]
    assert pair.asked[-1].headers.get("Session") == "abc"
    assert "GET_PARAMETER" in [request.method for request in pair.asked]
    with pytest.raises(WrongState):
        client.play()


def test_record() -> None:
    pair = Pair()
    pair.replies["SETUP"] = 200, (("Transport", TCP.build()),), b""
    pair.client.announce(SessionDescription.parse(SDP))
    assert pair.run() == [Answered("ANNOUNCE")]
    pair.client.setup("streamid=0", TCP)
    assert isinstance(pair.run()[0], Prepared)
    pair.client.record()
    pair.client.keep_alive()
    assert pair.run() == [Started(None, ()), Answered("OPTIONS")]
    assert pair.asked[0].body


def test_a_wrong_password_is_not_tried_for_ever() -> None:
    pair = Pair(Challenge("Digest", "r", "n"), password="wrong")
    pair.client.describe()
    assert pair.run() == [Failed("DESCRIBE", 401, "Unauthorized")]
    assert len(pair.asked) == 2
    pair = Pair(Challenge("Digest", "r", "n", stale=True), password="wrong")
    pair.client.describe()
    assert pair.run() == [Failed("DESCRIBE", 401, "Unauthorized")]
    assert len(pair.asked) == 3


def test_without_a_user_or_a_known_scheme() -> None:
    client = Requester(URL, "Penstock", "x")
    client.options()
    client.receive_data(b"RTSP/1.0 401 No\r\nCSeq: 1\r\nWWW-Authenticate: Basic realm=r\r\n\r\n")
    assert client.next_event() == Failed("OPTIONS", 401, "No")
    client = Requester(URL, "Penstock", "x", "u", "p")
    client.options()
    client.receive_data(b"RTSP/1.0 401 No\r\nCSeq: 1\r\nWWW-Authenticate: NTLM\r\n\r\n")
    assert client.next_event() == Failed("OPTIONS", 401, "No")


def test_redirects_and_transports() -> None:
    pair = Pair()
    pair.replies["DESCRIBE"] = 302, (("Location", "rtsp://other/x"),), b""
    pair.client.describe()
    assert pair.run() == [Redirected("rtsp://other/x")]
    pair.replies["DESCRIBE"] = 301, (("Location", "file:///etc/passwd"),), b""
    pair.client.describe()
    with pytest.raises(ProtocolViolation):
        pair.run()
    pair = Pair()
    pair.replies["SETUP"] = 461, (), b""
    pair.client.setup(None, Transport(client_port=(5000, 5001)))
    assert pair.run() == [TransportRefused(URL)]
    pair.replies["SETUP"] = 200, (("Transport", "x"),), b""
    pair.client.setup(None, TCP)
    with pytest.raises(ProtocolViolation):
        pair.run()


def test_what_the_server_sends_by_itself() -> None:
    client = Requester(URL, "Penstock", "x")
    client.receive_data(b"RTSP/1.0 200 OK\r\n\r\n$\0\0\1xOPTIONS * RTSP/1.0\r\nCSeq: 9\r\n\r\n")
    assert client.next_event() == InterleavedFrame(0, b"x")
    event = client.next_event()
    assert isinstance(event, Request)
    client.reply(event, 501)
    assert client.data_to_send() == b"RTSP/1.0 501 Not Implemented\r\nCSeq: 9\r\n\r\n"
    client.options()
    client.receive_data(
        b"RTSP/1.0 100 Continue\r\n\r\nRTSP/1.0 200 OK\r\nCSeq: 5\r\n\r\nRTSP/1.0 200 OK\r\n\r\n"
    )
    assert client.next_event() == Answered("OPTIONS")
    assert client.next_event() is None


def test_replies_out_of_order_are_refused() -> None:
    client = Requester(URL, "Penstock", "x")
    client.describe()
    client.teardown()
    client.receive_data(b"RTSP/1.0 200 OK\r\nCSeq: 2\r\n\r\nRTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n")
    assert client.next_event() == Answered("TEARDOWN")
    with pytest.raises(ProtocolViolation, match="out of order"):
        client.next_event()
