"""A light peer: it checks as a full ICE agent does, shakes hands, and speaks SRTP, so that tests can do it wrongly as well."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import ClassVar

import anyio
import httpx2
from attrs import define, field

from penstock import Codec, CodecConfig, PluginSet, Publisher, Server, Session, Track
from penstock_formats.rtcp import RtcpPacket, encode_rtcp, parse_rtcp
from penstock_formats.rtp.packet import RtpPacket
from penstock_formats.sdp import SessionDescription
from penstock_webrtc.candidate import Candidate
from penstock_webrtc.dtls import Dtls, Identity
from penstock_webrtc.ice import Credentials
from penstock_webrtc.playout import EXTENSION
from penstock_webrtc.server import make_identity
from penstock_webrtc.srtp import Srtp
from penstock_webrtc.stun import BINDING, Attribute, Kind, StunMessage
from penstock_webrtc.transport import Transport

LIMIT = 5.0
"""Seconds for anything that is waited for."""
VP8 = "VP8/90000"
OPUS = "opus/48000/2"
CONFIG: dict[str, dict[str, object]] = {
    "http": {"listen": "127.0.0.1:0", "listen_tls": ""},
    "webrtc": {"listen": "127.0.0.1:0", "listen_tcp": "127.0.0.1:0"},
    "rtmp": {"enabled": False},
    "rtsp": {"enabled": False},
    "srt": {"enabled": False},
    "server": {"wait_for_stream": 0.2, "handshake_timeout": 1.0},
}


@define(eq=False)
class Rig:
    """A server, and a client of its HTTP port."""

    server: Server
    http: httpx2.AsyncClient
    media: tuple[str, int]
    sessions: list[Session] = field(factory=list[Session])

    async def post(self, url: str, body: bytes, **headers: str) -> httpx2.Response:
        return await self.http.post(url, content=body, headers={"content-type": "application/sdp", **headers})

    async def publish(
        self, path: str, *tracks: tuple[Codec, int, CodecConfig], group: str | None = None
    ) -> tuple[Publisher, list[Track]]:
        session = self.server.open_session("test", "")
        self.sessions.append(session)
        publisher = await self.server.streams.publish(session, path)
        found = [publisher.add_track(*track, group=group) for track in tracks]
        publisher.tracks_complete()
        return publisher, found

    @property
    def peers(self) -> list[str]:
        return [s.id for s in self.server.sessions if s.protocol == "webrtc"]

    async def until(self, true: Callable[[], object]) -> None:
        with anyio.fail_after(LIMIT):
            while not true():
                await anyio.sleep(0.005)


@asynccontextmanager
async def rig(**changes: dict[str, object]) -> AsyncGenerator[Rig]:
    config = {name: {**CONFIG.get(name, {}), **changes.get(name, {})} for name in (*CONFIG, *changes)}
    async with Server(config, plugins=PluginSet.discover()) as server:
        ports = {e.what: e.port for e in server.endpoints}
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{ports['http']}") as http:
            made = Rig(server, http, ("127.0.0.1", ports["webrtc"]))
            try:
                yield made
            finally:
                for session in made.sessions:
                    server.close_session(session)
                while Client.made:
                    Client.made.pop().sock.close()


@define(eq=False)
class Client:
    """One peer. `codings` are the rtpmaps of its sections, in order. Its socket is closed with the rig."""

    made: ClassVar[list[Client]] = []

    codings: tuple[str, ...] = (VP8, OPUS)
    direction: str = "recvonly"
    setup: str = "actpass"
    rtx: bool = True
    layers: tuple[str, ...] = ()
    playout: bool = False
    feedback: tuple[str, ...] = ("nack", "nack pli", "ccm fir", "transport-cc")
    identity: Identity = field(factory=make_identity)
    credentials: Credentials = field(
        factory=lambda: Credentials(f"{Random().getrandbits(32):08x}", f"{Random().getrandbits(128):032x}")
    )
    sock: socket.socket = field(factory=lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    answer: SessionDescription | None = None
    remote: Transport | None = None
    server: tuple[str, int] = ("", 0)
    dtls: Dtls | None = None
    srtp: Srtp | None = None
    packets: list[RtpPacket] = field(factory=list[RtpPacket])
    raw: list[bytes] = field(factory=list[bytes])
    reports: list[RtcpPacket] = field(factory=list[RtcpPacket])
    checks: list[StunMessage] = field(factory=list[StunMessage])

    def __attrs_post_init__(self) -> None:
        self.sock.bind(("127.0.0.1", 0))
        self.sock.setblocking(False)
        Client.made.append(self)

    def offer(self) -> bytes:
        name, value = self.identity.fingerprint
        mids = " ".join(str(i) for i in range(len(self.codings)))
        lines = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "t=0 0", f"a=group:BUNDLE {mids}"]
        for number, coding in enumerate(self.codings):
            sound = coding.lower().startswith(("opus", "pcm"))
            kind, pt = ("audio" if sound else "video"), 96 + 2 * number
            lines += [f"m={kind} 9 UDP/TLS/RTP/SAVPF {pt}" + (f" {pt + 1}" if self.rtx and not sound else "")]
            lines += [f"a=mid:{number}", f"a={self.direction}", "a=rtcp-mux", f"a=setup:{self.setup}"]
            lines += [f"a=ice-ufrag:{self.credentials.ufrag}", f"a=ice-pwd:{self.credentials.password}"]
            lines += [f"a=fingerprint:{name} {value.hex(':')}", f"a=rtpmap:{pt} {coding}"]
            if coding.startswith("H264"):
                lines += [f"a=fmtp:{pt} packetization-mode=1;profile-level-id=42e01f"]
            lines += [f"a=rtcp-fb:{pt} {what}" for what in self.feedback]
            lines += ["a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"]
            lines += ["a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid"]
            if self.playout and not sound:
                lines += [f"a=extmap:7 {EXTENSION}"]
            if self.layers and not sound:
                lines += ["a=extmap:5 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"]
                lines += ["a=extmap:6 urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"]
                lines += [f"a=rid:{layer} send" for layer in self.layers]
                lines += [f"a=simulcast:send {';'.join(self.layers)}"]
            if self.rtx and not sound:
                lines += [f"a=rtpmap:{pt + 1} rtx/90000", f"a=fmtp:{pt + 1} apt={pt}"]
        return "".join(f"{line}\r\n" for line in lines).encode()

    def take(self, answer: bytes) -> None:
        self.answer = SessionDescription.parse(answer)
        section = next(m for m in self.answer.media if m.port)
        self.remote = Transport.read(self.answer, section)
        candidate = Candidate.parse(section.attribute("candidate") or "")
        self.server = candidate.address, candidate.port

    def check(self, *attributes: tuple[int, bytes], key: bytes | None = None, name: str = "") -> bytes:
        """A check of ICE, which nominates."""
        assert self.remote is not None
        user = name or f"{self.remote.credentials.ufrag}:{self.credentials.ufrag}"
        every = ((Attribute.USERNAME, user.encode()), (Attribute.USE_CANDIDATE, b""), *attributes)
        message = StunMessage(Kind.REQUEST, BINDING, Random().randbytes(12), every)
        return message.encode(key or self.remote.credentials.password.encode())

    def send(self, data: bytes) -> None:
        self.sock.sendto(data, self.server)

    def send_rtcp(self, *packets: RtcpPacket) -> None:
        assert self.srtp is not None
        self.send(self.srtp.protect_rtcp(encode_rtcp(packets)))

    def shake_hands(self) -> None:
        """Begin DTLS, as the client where we are that."""
        assert self.remote is not None
        self.dtls = Dtls(self.identity, self.remote.fingerprints, client=self.remote.setup == "passive")
        self.dtls.start()
        self.flight()

    def flight(self) -> None:
        assert self.dtls is not None
        for data in self.dtls.datagrams():
            self.send(data)

    async def connect(self) -> None:
        """Check, shake hands, and be ready for media."""
        self.send(self.check())
        await self.until(lambda: self.checks)
        self.shake_hands()
        await self.until(lambda: self.srtp is not None)

    async def until(self, true: Callable[[], object]) -> None:
        """Take what comes until something holds."""
        with anyio.fail_after(LIMIT):
            while not true():
                if not self.receive():
                    await anyio.sleep(0.002)

    async def silence(self, seconds: float = 0.05) -> bool:
        """Whether nothing at all comes for so long."""
        await anyio.sleep(seconds)
        return self.datagram() is None

    async def rest(self, seconds: float = 0.05) -> None:
        """Take all that comes in so long."""
        await anyio.sleep(seconds)
        while self.receive():
            pass

    def datagram(self) -> bytes | None:
        """What has come, None where nothing has."""
        try:
            return self.sock.recv(65_536)
        except BlockingIOError:
            return None

    def receive(self) -> bool:
        """Take one datagram, if there is one."""
        data = self.datagram()
        if data is None:
            return False
        if data[0] < 4:
            self.checks.append(StunMessage.parse(data))
        elif data[0] < 64:
            if self.dtls is None:
                self.shake_hands()
            assert self.dtls is not None
            self.dtls.take(data)
            self.flight()
            if self.dtls.keys is not None and self.srtp is None:
                self.srtp = Srtp(self.dtls.keys)
        elif self.srtp is not None and 192 <= data[1] <= 223:
            plain = self.srtp.unprotect_rtcp(data)
            assert plain is not None
            self.reports += parse_rtcp(plain)
        elif self.srtp is not None:
            self.raw.append(data)
            plain = self.srtp.unprotect(data)
            if plain is not None:
                self.packets.append(RtpPacket.parse(plain))
        return True

    def of(self, payload_type: int) -> list[RtpPacket]:
        return [p for p in self.packets if p.payload_type == payload_type]
