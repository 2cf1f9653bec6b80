"""RTSP, SDP, RTP and RTCP under the contract of every parser."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

from penstock.errors import ProtocolViolation
from penstock_formats.rtcp import (
    MaxBitrate,
    Nack,
    RtcpPacket,
    SenderReport,
    encode_rtcp,
    ns_to_ntp,
    ntp_to_ns,
    parse_rtcp,
)
from penstock_formats.rtp.packet import Extension, RtpPacket, extension_elements
from penstock_formats.sdp import SessionDescription
from penstock_rtsp.auth import (
    BasicCredentials,
    Challenge,
    DigestCredentials,
    check_nonce,
    make_nonce,
    parse_authorization,
)
from penstock_rtsp.base64_stream import Base64Stream
from penstock_rtsp.connection import Asked, Refused, ServerConnection
from penstock_rtsp.message import Request
from penstock_rtsp.range import Range
from penstock_rtsp.reader import MAX_BODY, MAX_HEAD, MessageReader
from penstock_rtsp.requester import Answered, Described, Prepared, Requester, Started
from penstock_rtsp.rtp_info import build_rtp_info, parse_rtp_info
from penstock_rtsp.session_header import SessionHeader
from penstock_rtsp.state import State
from penstock_rtsp.transport import Lower, Transport, parse_transports
from penstock_rtsp.tunnel import TunnelReader, may_be_tunnel
from penstock_rtsp.url import Target, presentation_url, resolve_control, track_url
from tests.contracts.case import ParserCase

DATA = Path(__file__).parents[1] / "data" / "rtsp"


class Incremental(Protocol):
    def receive_data(self, data: bytes) -> None: ...
    def next_event(self) -> Any: ...


def captures(pattern: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted(DATA.glob(pattern))]


def feeder(make: Callable[[], Incremental]) -> Callable[[Iterable[bytes]], list[Any]]:
    def feed(pieces: Iterable[bytes]) -> list[Any]:
        parser = make()
        events: list[Any] = []
        try:
            for piece in pieces:
                parser.receive_data(piece)
                while (event := parser.next_event()) is not None:
                    events.append(event)
        except ProtocolViolation as violation:
            events.append((violation.reason, violation.offset))
        return events

    return feed


def fresh(make: Callable[[], Incremental]) -> Callable[[], tuple[object, Callable[[bytes], object]]]:
    """For `ParserCase.fresh`: what is made, and how it takes a piece."""

    def build() -> tuple[object, Callable[[bytes], object]]:
        made = make()

        def take(piece: bytes) -> None:
            made.receive_data(piece)
            while made.next_event() is not None:
                pass

        return made, take

    return build


def parser(make: Callable[[], Incremental]) -> Callable[[bytes], Any]:
    def parse(data: bytes) -> tuple[Any, ...]:
        made = make()
        made.receive_data(data)
        events: list[Any] = []
        while (event := made.next_event()) is not None:
            events.append(event)
        return tuple(events)

    return parse


def text(read: Callable[[str], Any]) -> Callable[[bytes], Any]:
    return lambda data: read(data.decode("latin-1"))


def read_url(url: str) -> tuple[object, ...]:
    """What a URL names, and those that are told of it."""
    target, whole = Target.parse(url), presentation_url(url)
    told = track_url(whole, 3), resolve_control(whole, url), resolve_control(whole, "trackID=3")
    return target, whole, *told, resolve_control(whole, "*")


class DrivenClient:
    """A client that plays: each answer leads to its next request, and both are its events."""

    def __init__(self) -> None:
        self.client = Requester("rtsp://h/live/stream", "Penstock", "c0ffee", "user", "pw")
        self.client.options()

    def receive_data(self, data: bytes) -> None:
        self.client.receive_data(data)

    def next_event(self) -> object | None:
        event = self.client.next_event()
        match event:
            case Answered("OPTIONS") if self.client.state.state is State.INIT:
                self.client.describe()
            case Described():
                self.client.setup(
                    event.description.media[0].control if event.description.media else None, TCP
                )
            case Prepared():
                self.client.play()
            case Started():
                self.client.keep_alive()
                self.client.teardown()
            case Request():
                self.client.reply(event, 501)
            case _:
                pass
        return None if event is None else (event, self.client.data_to_send(), self.client.keep_alive_interval)


class AnsweringServer:
    """A server that says yes; its events are what was asked and answered."""

    def __init__(self) -> None:
        self.connection = ServerConnection("Penstock")

    def receive_data(self, data: bytes) -> None:
        self.connection.receive_data(data)

    def next_event(self) -> object | None:
        event = self.connection.next_event()
        if isinstance(event, Refused):
            return event, self.connection.refuse(event)
        if isinstance(event, Asked):
            self.connection.state.advance(event.request.method)
            if event.request.method == "SETUP":
                self.connection.session = SessionHeader("12345678", 60)
            return event, self.connection.respond(event.request, 200, date="Thu, 01 Jan 1970 00:00:00 GMT")
        return event


def feed_base64(pieces: Iterable[bytes]) -> list[Any]:
    events = feeder(Base64Stream)(pieces)
    return [
        b"".join(e for e in events if isinstance(e, bytes)),
        *(e for e in events if not isinstance(e, bytes)),
    ]


def encode_credentials(credentials: BasicCredentials | DigestCredentials) -> bytes:
    if isinstance(credentials, DigestCredentials):
        return credentials.build(credentials.response).encode("latin-1")
    challenge = Challenge("Basic", "r")
    return challenge.answer(credentials.user, credentials.secret, "PLAY", "*").encode()


PUSHES = captures("*push*.bin")
SDPS = [
    *captures("*.sdp"),
    b"v=0\ns=camera\nm=video 0 RTP/AVP 96 97\nb=AS:5000\nb=AS:x\na=rtpmap:96 H265/90000\n"
    b"a=fmtp:96 sprop-vps=AA==\n"
    b"a=recvonly\na=control:rtsp://h/a/trackID=1\nm=audio 0 RTP/AVP 10 8\nc=IN IP4 0.0.0.0\na=ptime:20\n",
    b"v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=\xe9\r\nc=IN IP4 0.0.0.0\r\nb=AS:9\r\nt=0 0\r\n"
    b"a=control:*\r\na=sendonly\r\na=x\r\n"
    b"m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=sctp-port:5000\r\na=mid\r\n",
]
TCP = Transport(Lower.TCP, interleaved=(0, 1))
REPLIES = (
    b'RTSP/1.0 401 Unauthorized\r\nCSeq: 1\r\nWWW-Authenticate: Digest realm="r", nonce="n"\r\n\r\n'
    b"RTSP/1.0 200 OK\r\nCSeq: 2\r\nPublic: OPTIONS, GET_PARAMETER\r\n\r\n"
    b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n"
    b"RTSP/1.0 200 OK\r\nContent-Base: rtsp://h/live/stream/\r\nContent-Length: %d\r\n\r\n%s"
    b"RTSP/1.0 200 OK\r\nCSeq: 4\r\nSession: 12345678;timeout=60\r\n"
    b"Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n\r\n"
    b"RTSP/1.0 200 OK\r\nCSeq: 5\r\nRange: npt=0-\r\nRTP-Info: url=a;seq=1\r\n\r\n$\0\0\x04abcd"
    b"RTSP/1.0 200 OK\r\nCSeq: 9\r\n\r\nRTSP/1.0 200 OK\r\nCSeq: 6\r\n\r\nRTSP/1.0 200 OK\r\nCSeq: 7\r\n\r\n"
) % (len(SDPS[0]), SDPS[0])
REFUSALS = [
    b"RTSP/1.0 401 No\r\nCSeq: 1\r\nWWW-Authenticate: Basic realm=r\r\n\r\n"
    b"RTSP/1.0 401 No\r\nCSeq: 2\r\nWWW-Authenticate: Basic realm=r\r\n\r\n",
    b"RTSP/1.0 401 No\r\nCSeq: 1\r\nWWW-Authenticate: NTLM\r\n\r\n",
    b"RTSP/1.0 302 Moved\r\nCSeq: 1\r\nLocation: rtsp://other/\r\n\r\n",
    b"RTSP/1.0 461 No\r\nCSeq: 1\r\n\r\n",
]
MISTAKES = [
    b"GET / HTTP/1.1\r\n\r\n",
    b"SSH-2.0-OpenSSH\r\n",
    b"\x16\x03\x01\x02\0",
    b"\x03" + bytes(20),
    b"PLAY  RTSP/1.0\r\n\r\n",
    b"PL@Y * RTSP/1.0\r\n\r\n",
    b"RTSP/1.0 20 OK\r\n\r\n",
    b"OPTIONS * RTSP/1.0\r\nContent-Length: 5\r\n\r\nbodyx",
    b"OPTIONS * RTSP/1.0\r\nA: b\r\n c\r\n\r\n",
]
ODD = (
    b"OPTIONS * RTSP/2.0\r\nCSeq: 1\r\n\r\nOPTIONS * RTSP/1.0\r\n\r\nOPTIONS * RTSP/1.0\r\nCSeq: x\r\n\r\n"
    b"REDIRECT * RTSP/1.0\r\nCSeq: 99999999999\r\n\r\nNOTHING * RTSP/1.0\r\nCSeq: 1\r\n\r\n"
    b"OPTIONS * RTSP/1.0\r\nCSeq: 2\r\nRequire: x\r\n\r\nPLAY rtsp://h/a RTSP/1.0\r\nCSeq: 3\r\n\r\n"
    b"PLAY rtsp://h/a RTSP/1.0\r\nCSeq: 3\r\nSession: 99999999\r\n\r\n"
)
RTCP = [
    b"",
    *(
        bytes.fromhex(text)
        for text in (
            "80c90001 01020304 82cb0001 01020304",
            "81ca0001 01020304 82ca0001 01020304",
            "81ca0002 01020304 01ff6162",
            "81cb0002 01020304 ff616263",
            "81cd0001 01020304",
            "81cd0002 01020304 05060708",
            "84ce0003 01020304 05060708 00000000",
            "8fce0003 01020304 00000000 52454d42",
            "81c80000",
            "80cc0000" * 65,
            "81c90007 01020304 05060708 01ffffff 00000001 00000002 00000003 00000004",
        )
    ),
    bytes.fromhex(
        "81c8000c01020304e0000000800000000000100000000020000040000506070810000001000010000000000511112222"
        "00010000"
    ),
    bytes.fromhex("80c90001010203048 1ca0003010203040103616263000000".replace(" ", "")),
    bytes.fromhex("82cb0004010203040506070803627965 00000000".replace(" ", "")),
    bytes.fromhex("81cd00030102030405060708000a8001"),
    bytes.fromhex("81ce00020102030405060708" + "84ce0004010203040506070801020304 05000000".replace(" ", "")),
    bytes.fromhex("8fce00050102030400000000 52454d4201061a8001020304".replace(" ", "")),
    bytes.fromhex(
        "8fcd000301020304050607080001000a" + "80cc0002010203044e414d45" + "a0cf00030102030400000000 00000004"
    ),
]
RTP = [
    RtpPacket(96, True, 65535, 0xFFFFFFFF, 1, b"payload").encode(),
    RtpPacket(96, False, 1, 2, 3, b"payload", (1, 2), Extension(0xBEDE, b"\x10\x01\x00\xf0")).encode(),
    RtpPacket(96, False, 1, 2, 3, b"", (), Extension(0x1000, b"\x01\x02ab\x00\x05\x00\x00")).encode(),
    b"\xa0\x60\0\1\0\0\0\2\0\0\0\3payload\0\0\3",
]


def parse_tunnel(data: bytes) -> tuple[object, ...]:
    may_be_tunnel(data)
    reader = TunnelReader()
    reader.receive_data(data)
    request = reader.next_event()
    return (request, reader.next_event(), reader.rest()) if request else ()


def parse_compound(data: bytes) -> tuple[RtcpPacket, ...]:
    packets = parse_rtcp(data)
    for packet in packets:
        match packet:
            case Nack():
                Nack.of(packet.sender, packet.media, packet.sequences())
            case SenderReport():
                ns_to_ntp(ntp_to_ns(packet.ntp))
            case MaxBitrate():
                assert packet.bitrate >= 0
            case _:
                pass
    return packets


def parse_credentials(value: str) -> BasicCredentials | DigestCredentials:
    credentials = parse_authorization(value)
    if isinstance(credentials, DigestCredentials):
        credentials.verify("PLAY", password="pw")
        check_nonce(b"secret", credentials.nonce, 0)
        check_nonce(b"secret", make_nonce(b"secret", 0), 0)
    else:
        credentials.verify("pw")
    return credentials


def answered_challenge(value: str) -> Challenge | None:
    challenge = Challenge.parse(value)
    if challenge is not None:
        challenge.answer("user", "pw", "PLAY", "*", "c0ffee")
    return challenge


def parse_rtp(data: bytes) -> RtpPacket:
    packet = RtpPacket.parse(data)
    if packet.extension:
        extension_elements(packet.extension)
    return packet


PENDING = MAX_HEAD + MAX_BODY + 2 * 65_536
"""A head and its body, and what one read brings."""

CASES = [
    ParserCase(
        "rtsp messages",
        parser(MessageReader),
        [*PUSHES, *captures("*pull-[tu]*.bin"), REPLIES, *MISTAKES],
        ["penstock_rtsp.reader", "penstock_rtsp.message"],
        feeder(MessageReader),
        lambda events: b"".join(event.encode() for event in events),
        [
            f"gortsplib/pkg/base/Fuzz{name}Unmarshal"
            for name in ("Request", "Response", "InterleavedFrame", "Header", "Body")
        ],
        fresh=fresh(MessageReader),
        limit=PENDING,
    ),
    ParserCase(
        "rtsp server",
        parser(AnsweringServer),
        [*PUSHES, *captures("*pull-[tuq]*.bin"), ODD],
        ["penstock_rtsp.connection", "penstock_rtsp.state"],
        feeder(AnsweringServer),
        seeds=["gortsplib/pkg/base/FuzzRequestUnmarshal"],
        fresh=fresh(AnsweringServer),
        limit=PENDING,
    ),
    ParserCase(
        "rtsp client",
        parser(DrivenClient),
        [REPLIES, *REFUSALS],
        ["penstock_rtsp.requester"],
        feeder(DrivenClient),
        fresh=fresh(DrivenClient),
        limit=PENDING,
    ),
    ParserCase(
        "rtsp tunnel",
        parse_tunnel,
        [
            *captures("*http*.bin"),
            b"GET / HTTP/1.0\r\n" + b"A: b\r\n" * 65 + b"\r\n",
            b"GET / HTTP/1.0\r\n" + b"A" * 9000,
            b"POST / HTTP/1.1\nx-sessioncookie: a\nx-sessioncookie: b\n\n",
            b"GET / HTTP/1.0\r\nHost: h\r\n\r\n",
            b"GET / HTTP/1.0\r\nno name\r\n\r\n",
            b"GET / RTSP/1.0\r\n\r\n",
        ],
        ["penstock_rtsp.tunnel"],
        feeder(TunnelReader),
    ),
    ParserCase(
        "rtsp tunnel body",
        parser(Base64Stream),
        [b"T1BUSU9OUyA=\r\nKg==AAAA", b"AAAA"],
        ["penstock_rtsp.base64_stream"],
        feed_base64,
        fresh=fresh(Base64Stream),
        limit=PENDING,
    ),
    ParserCase(
        "rtsp transport",
        text(parse_transports),
        [
            b"RTP/AVP/UDP;unicast;client_port=22438-22439;mode=record",
            b'RTP/AVP/TCP;unicast;interleaved=0-1;ssrc=0123ABCD;mode="PLAY",x-real-rdt/mcast;port=1',
            b"RTP/AVP;multicast;destination=239.0.0.1;source=h;port=5000;ttl=16;server_port=5000-5001",
        ],
        ["penstock_rtsp.transport", "penstock_rtsp.parameter"],
        encode=lambda found: ",".join(t.build() for t in found).encode(),
        seeds=["gortsplib/pkg/headers/FuzzTransportsUnmarshal", "gortsplib/pkg/headers/FuzzKeyValParse"],
    ),
    ParserCase(
        "rtsp session header",
        text(SessionHeader.parse),
        [b"12345678", b"abc;timeout=60"],
        ["penstock_rtsp.session_header"],
        encode=lambda header: header.build().encode(),
        seeds=["gortsplib/pkg/headers/FuzzSessionUnmarshal"],
    ),
    ParserCase(
        "rtsp range",
        text(Range.parse),
        [
            b"npt=0.000-",
            b"npt=now-",
            b"npt=1:02:03.5-7200",
            b"npt=-20",
            b"clock=19961108T142300Z-20240229T235959.25Z;time=1",
            b"npt=" + b"1" * 2000 + b"-",
            b"npt=now-5",
            b"npt=5-4",
            b"npt=-",
            b"npt=1:02-",
            b"npt=1:2:60-",
            b"smpte=0:10:00-",
            b"clock=19961108-",
            b"clock=20230229T000000Z-",
            b"clock=20231301T000000Z-",
        ],
        ["penstock_rtsp.range"],
        encode=lambda found: found.build().encode(),
        seeds=["gortsplib/pkg/headers/FuzzRangeUnmarshal"],
    ),
    ParserCase(
        "rtsp rtp-info",
        text(parse_rtp_info),
        [
            b"url=rtsp://h/a,b/trackID=0;seq=1;rtptime=4294967295, url=rtsp://h/a/trackID=1;seq=65535",
            b"url=a;b",
        ],
        ["penstock_rtsp.rtp_info"],
        encode=lambda entries: build_rtp_info(entries).encode("latin-1"),
        seeds=["gortsplib/pkg/headers/FuzzRTPInfoUnmarshal"],
    ),
    ParserCase(
        "rtsp authorization",
        text(parse_credentials),
        [
            b"Basic dXNlcjpwdw==",
            b'Digest username="u", realm="r", nonce="n", uri="rtsp://h/", response="' + b"0a" * 16 + b'"',
            b'Digest username="u\\"", realm="r", nonce="n", uri="*", response="' + b"0A" * 32 + b'", '
            b'algorithm=SHA-256, qop=auth, nc=00000001, cnonce="c", opaque="o"',
        ],
        ["penstock_rtsp.auth", "penstock_rtsp.parameter"],
        encode=encode_credentials,
        seeds=["gortsplib/pkg/headers/FuzzAuthorizationUnmarshal", "gortsplib/pkg/auth/FuzzVerify"],
    ),
    ParserCase(
        "rtsp challenge",
        text(answered_challenge),
        [
            b'Basic realm="r"',
            b'Digest realm="r", nonce="n", opaque="", stale=TRUE, algorithm=SHA-256, qop="auth,auth-int"',
        ],
        ["penstock_rtsp.auth"],
        encode=lambda challenge: challenge.build().encode("latin-1") if challenge else b"Unknown x=y",
        seeds=["gortsplib/pkg/headers/FuzzAuthenticateUnmarshal"],
    ),
    ParserCase(
        "rtsp url",
        text(read_url),
        [
            b"rtsp://user:pw@host:8554/live/stream/trackID=1?a=b",
            b"/live/stream/?a=b/streamid=0",
            b"*",
            b"rtsp://host",
            b"live%2Fstream/track1/",
        ],
        ["penstock_rtsp.url"],
    ),
    ParserCase(
        "sdp",
        SessionDescription.parse,
        SDPS,
        [
            "penstock_formats.decimal",
            "penstock_formats.sdp.line",
            "penstock_formats.sdp.media",
            "penstock_formats.sdp.session",
        ],
        encode=SessionDescription.build,
        seeds=[
            "gortsplib/pkg/description/FuzzSessionUnmarshal",
            "gortsplib/pkg/sdpunmarshaler/FuzzUnmarshal",
        ],
    ),
    ParserCase(
        "rtcp",
        parse_compound,
        RTCP,
        ["penstock_formats.rtcp"],
        encode=encode_rtcp,
        seeds=["gortsplib/pkg/rtcpunmarshaler/FuzzUnmarshal", "pion-rtcp/FuzzUnmarshal"],
    ),
    ParserCase("rtp", parse_rtp, RTP, ["penstock_formats.rtp.packet"], encode=RtpPacket.encode),
]
