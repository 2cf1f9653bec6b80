"""WebRTC under the contract of every parser: STUN and ICE, offers and their answers, fragments, retransmissions."""

from __future__ import annotations

from pathlib import Path

from attrs import frozen

from penstock.errors import ProtocolViolation
from penstock.media import Codec, Kind, Track
from penstock.registry import Registry
from penstock_codecs import aac, av1, g711, h264, opus, vp8, vp9
from penstock_codecs.aac import AAC, AacConfig
from penstock_codecs.opus import OPUS, OpusConfig
from penstock_codecs.vp9.header import VP9, Vp9Config
from penstock_formats.sdp import Direction, SessionDescription
from penstock_formats.transport_cc import MAX_STATUSES, REFERENCE_NS, TICK_NS, Arrivals, TransportFeedback
from penstock_webrtc.answer import Section, build_answer, simulcast, sources
from penstock_webrtc.candidate import host_candidates, passive_candidates
from penstock_webrtc.fragment import Fragment
from penstock_webrtc.ice import MAX_WAYS, Credentials, IceLite
from penstock_webrtc.negotiation import choose_played, choose_recorded, layers_of
from penstock_webrtc.offer import Offer
from penstock_webrtc.repair import build_repair, parse_repair
from penstock_webrtc.stun import BINDING, Attribute, Said, StunMessage, error_code, xor_address
from penstock_webrtc.stun import Kind as MessageKind
from penstock_webrtc.transport import Transport
from tests.contracts.case import ParserCase

DATA = Path(__file__).parents[1] / "data" / "webrtc"
LOCAL = Credentials("abcd", "p" * 24)
KEY = LOCAL.password.encode()
ID = bytes(range(12))

RFC5769_PASSWORD = b"VOkJxbRl1RmTxUk/WvJxBt"
RFC5769_REQUEST = bytes.fromhex(
    "000100582112a442b7e7a701bc34d686fa87dfae802200105354554e207465737420636c69656e74"
    "002400046e0001ff80290008932ff9b151263b36000600096576746a3a68367659202020"
    "000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a280280004e57a3bcb"
)
"""RFC 5769 2.1."""


def request(
    *attributes: tuple[int, bytes], kind: MessageKind = MessageKind.REQUEST, method: int = BINDING
) -> bytes:
    """A check that knows the password."""
    return StunMessage(kind, method, ID, ((Attribute.USERNAME, b"abcd:wxyz"), *attributes)).encode(KEY)


def _stun(*attributes: bytes) -> bytes:
    body = b"".join(attributes)
    return b"\0\1" + len(body).to_bytes(2, "big") + b"\x21\x12\xa4\x42" + ID + body


STUN = [
    RFC5769_REQUEST,
    request(),
    request(
        (Attribute.USE_CANDIDATE, b""), (Attribute.ICE_CONTROLLING, bytes(8)), (Attribute.PRIORITY, b"abcd")
    ),
    request((0x7FFF, b"abc"), (0x8022, b"x")),
    request(kind=MessageKind.INDICATION),
    request(method=0xFFF, kind=MessageKind.ERROR),
    _stun(b"\0\6\0\1a\0\0\0"),
    _stun(b"\0\6\xff\xff"),
    _stun(b"\0\x08\0\4abcd"),
    _stun(b"\0\x08\0\x14" + bytes(20), b"\0\6\0\0", b"\0\x08\0\x14" + bytes(20)),
    _stun(b"\x80\x28\0\4abcd"),
    _stun(b"\0\x99\0\0" * 33),
    b"\0\1\0\0" + bytes(16),
    b"\0\1\0\1\x21\x12\xa4\x42" + ID + b"a",
]


def parse_stun(data: bytes) -> StunMessage:
    message = StunMessage.parse(data)
    message.verify(RFC5769_PASSWORD)
    message.get(Attribute.USERNAME)
    _ = message.unknown
    # What an answer has comes back as well.
    hosts = ("::ffff:127.0.0.1", "::1%lo", "10.0.0.1")
    mapped = [(Attribute.XOR_MAPPED_ADDRESS, xor_address(host, 1, message.transaction)) for host in hosts]
    attributes = ((Attribute.ERROR_CODE, error_code(420, "no")), *mapped)
    answer = StunMessage(MessageKind.SUCCESS, message.method, message.transaction, attributes).encode(KEY)
    if not StunMessage.parse(answer).verify(KEY):
        raise ValueError("what is signed here does not verify")
    said = Said.of(data)
    if said is not None:
        # The same again, the same by who does not know the password, and what is damaged or says something else.
        forged = StunMessage(message.kind, message.method, bytes(12), message.attributes).encode(b"another")
        for other in (data, forged, data[:-1] + bytes((data[-1] ^ 1,)), data[:-8], data[:4] + data[5:]):
            said.again(other, KEY)
    return message


@frozen
class Place:
    """Where a check comes from."""

    address: tuple[str, int]


def answer_check(data: bytes) -> tuple[object, ...]:
    """What an agent makes of one datagram, from one address after the other."""
    agent = IceLite[Place](LOCAL)
    message = StunMessage.parse(data)
    answers: list[bytes | None] = []
    for port in range(MAX_WAYS + 2):
        answers.append(agent.again(data, float(port)))
        answers.append(agent.receive(message, Place(("127.0.0.1", port)), float(port), data))
    found = tuple(answers), agent.selected, tuple(agent.ways), agent.expired(60.0)
    given_up = [agent.forget(way, now) for way in tuple(agent.ways) for now in (0.0, 100.0)]
    return found, given_up, agent.selected


CHECKS = [
    *STUN,
    request((Attribute.ICE_CONTROLLED, bytes(8))),
    StunMessage(MessageKind.REQUEST, BINDING, ID, ((Attribute.USERNAME, b"abcd:wxyz"),)).encode(b"another"),
]

REGISTRY = Registry()
for module in (h264, vp8, vp9, av1, opus, g711, aac):
    module.plugin.register(registry=REGISTRY)
TRACKS = [
    Track(1, VP9, 90_000, Vp9Config(), group="video"),
    Track(2, VP9, 90_000, Vp9Config(profile=1)),
    Track(3, VP9, 90_000, Vp9Config(), group="video"),
    Track(4, OPUS, 48_000, OpusConfig.simple(2)),
    Track(5, AAC, 44_100, AacConfig.lc(44_100, 2)),
    Track(6, OPUS, 48_000),
    Track(7, OPUS, 48_000, OpusConfig.simple(6)),
    Track(8, Codec("vorbis", Kind.AUDIO), 48_000),
    Track(9, Codec("klv", Kind.DATA), 90_000),
]


def parse_offer(data: bytes) -> object:
    """An offer, and what is answered to it by who plays, and by who records."""
    offer = Offer.parse(data)
    local = Transport(LOCAL, (("sha-256", bytes(32)),), offer.transport.answer_setup)
    played, left_out = choose_played(REGISTRY, offer, TRACKS)
    recorded, reasons = choose_recorded(REGISTRY, offer)
    plays = {
        p.media.mid: Section(
            p.format,
            p.retransmission,
            Direction.SENDONLY,
            ("nack",),
            tuple(sources(1, 2 if p.retransmission else None, str(p.track.kind))),
        )
        for p in played
    }
    records = {
        r.media.mid: Section(
            r.format,
            r.retransmission,
            Direction.RECVONLY,
            ("nack",),
            (("x", str(r.media.extension("urn:x"))), *simulcast(r.media.layers)),
        )
        for r in recorded
    }
    answers = [
        build_answer(
            offer, sections, local, [*host_candidates(["::1"], 1), *passive_candidates(["::1"], 1)], 1
        )
        for sections in (plays, records)
    ]
    for answer in answers:
        description = SessionDescription.parse(answer.build())
        if any(media.port for media in answer.media):
            again = Fragment.of(answer, LOCAL)
            if Fragment.parse(again.build()) != again:
                raise ValueError("what is said again of ICE is no fragment")
        if len(description.media) != len(offer.media):
            raise ValueError("an answer has as many sections as its offer")
    layers = [track.id for p in played for track in layers_of(p, TRACKS)]
    return offer, left_out, reasons, answers, layers


CHROMIUM = (DATA / "chromium-play.sdp").read_bytes()
FFMPEG = (DATA / "ffmpeg-publish.sdp").read_bytes()
OFFERS = [
    CHROMIUM,
    (DATA / "chromium-publish.sdp").read_bytes(),
    FFMPEG,
    FFMPEG.replace(b"BUNDLE 0 1", b"BUNDLE 1"),
    FFMPEG.replace(b"a=group:BUNDLE 0 1\r\n", b"").replace(b"setup:passive", b"setup:holdconn"),
    FFMPEG.replace(b"a=group:BUNDLE 0 1\r\n", b"").replace(b"m=audio 9", b"m=audio 0"),
    FFMPEG.replace(b"sha-256", b"sha-1"),
    FFMPEG.replace(b"CD:CC", b"CD:XX"),
    FFMPEG.replace(b"a=ice-pwd:", b"a=ice-pwd:\xff"),
    FFMPEG.replace(b"a=ice-ufrag:", b"a=ice-none:"),
    FFMPEG.replace(b"a=mid:1", b"a=mid:0"),
    FFMPEG.replace(b"H264/90000", b"H265/90000").replace(b"opus/48000", b"opus/8000"),
    FFMPEG.replace(b"a=mid:0", b"a=mid:0\r\na=rtcp-fb:* nack\r\na=extmap:1/sendonly urn:x"),
    FFMPEG.replace(b"a=mid:0", b"a=mid:0" + b"\r\na=extmap:1 urn:x" * 65),
    FFMPEG.replace(b"a=sendonly", b"a=recvonly").replace(b"H264/90000", b"VP9/90000"),
    FFMPEG.replace(
        b"a=mid:0",
        b"a=mid:0\r\na=rid:q send\r\na=rid:f send pt=96\r\na=rid:r recv\r\na=simulcast:recv r send q,x;~f;n",
    ),
    FFMPEG.replace(b"a=mid:0", b"a=mid:0\r\na=rid:q send\r\na=rid:-- send\r\na=simulcast:send q;--"),
    b"v=0\r\n",
]

FRAGMENTS = [
    b"a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n"
    b"a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 ufrag EsAw network-id 1\r\n"
    b"a=candidate:3471623853 1 TCP 2122194687 fd00::1 9 typ host tcptype active\r\na=end-of-candidates\r\n",
    b"a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n",
    b"a=ice-lite\r\na=ice-options:trickle ice2\r\na=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n"
    b"a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\n"
    b"a=ice-ufrag:x\r\n",
    b"a=ice-ufrag:EsAw\r\n",
    b"a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\na=candidate:1 1 udp 1 a 1 host\r\n",
    b"a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n"
    + b"a=candidate:1 1 udp 1 a 1 typ host\r\n" * 129,
    b"a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n"
    b"a=candidate:1 1 udp 1 a 1 typ srflx raddr 10.0.0.1 rport 1 tcptype\r\n",
]


def parse_retransmission(payload: bytes) -> tuple[int, bytes]:
    found = parse_repair(payload)
    if found is None:
        raise ProtocolViolation("no packet is repeated")
    return found


FEEDBACKS = [
    TransportFeedback(1, -1, 2, (0, None, 4, None, 300, -5, 3, *(1,) * 20, *(None,) * 9, 1, *(None,) * 5))
    .encode(1, 2)
    .data,
    TransportFeedback(0xFFFF, 5, 255, (1,)).encode(1, 2).data,
    bytes.fromhex("0001000300000a00b0000102"),
    bytes.fromhex("0001000100000a006001"),
    bytes.fromhex("0001ffff00000a002fff"),
    bytes.fromhex("0001000200000a00200201"),
    bytes.fromhex("0001000200000a00"),
    b"short",
]


def parse_feedback(data: bytes) -> TransportFeedback:
    """One feedback; and what a receiver tells to whom just that happens, with a packet that comes late, and a jump."""
    found = TransportFeedback.parse(data)
    arrivals = Arrivals()
    now = found.reference * REFERENCE_NS
    for number, step in enumerate(found.arrivals):
        if step is not None:
            now += step * TICK_NS
            arrivals.add((found.base + number) & 0xFFFF, now)
    arrivals.feedback()
    arrivals.add((found.base - 1) & 0xFFFF, now)
    arrivals.add((found.base + MAX_STATUSES + 9000) & 0xFFFF, now)
    arrivals.feedback()
    if arrivals.feedback() is not None:
        raise ValueError("nothing has come in since")
    return found


CASES = [
    ParserCase(
        "stun",
        parse_stun,
        STUN,
        ["penstock_webrtc.stun"],
        encode=StunMessage.encode,
        seeds=["pion-stun/FuzzMessage", "pion-stun/FuzzType", "pion-stun/FuzzSetters"],
    ),
    ParserCase("ice checks", answer_check, CHECKS, ["penstock_webrtc.ice"]),
    ParserCase(
        "webrtc offer",
        parse_offer,
        OFFERS,
        [
            "penstock_webrtc.offer",
            "penstock_webrtc.transport",
            "penstock_webrtc.negotiation",
            "penstock_webrtc.answer",
        ],
    ),
    ParserCase(
        "trickle fragment",
        Fragment.parse,
        FRAGMENTS,
        ["penstock_webrtc.fragment", "penstock_webrtc.candidate"],
        encode=Fragment.build,
    ),
    ParserCase(
        "rtp retransmission",
        parse_retransmission,
        [b"\1\2abc", b"\1\2", b""],
        ["penstock_webrtc.repair"],
        encode=lambda found: build_repair(*found),
    ),
    ParserCase(
        "transport feedback",
        parse_feedback,
        FEEDBACKS,
        ["penstock_formats.transport_cc"],
        encode=lambda found: found.encode(1, 2).data,
    ),
]
