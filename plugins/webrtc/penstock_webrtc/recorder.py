"""The publishing side of a peer: packets become frames, what is missing is asked for, and the sender hears how it goes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from random import Random

from attrs import define, field

from penstock.errors import ProtocolViolation
from penstock.media import NS, Kind, Track
from penstock.path import StreamPath
from penstock.publisher import Publisher
from penstock.ring import Unit
from penstock.server import Server
from penstock.session import Session
from penstock_formats.rtcp import (
    Goodbye,
    Nack,
    PictureLoss,
    ReceiverReport,
    RtcpPacket,
    SenderReport,
    encode_rtcp,
)
from penstock_formats.rtp.ingest import Ingest, TrackIngest
from penstock_formats.rtp.packet import RtpPacket, extension_elements
from penstock_formats.sdp import Direction
from penstock_formats.transport_cc import EXTENSION, Arrivals
from penstock_webrtc.answer import Section, simulcast
from penstock_webrtc.missing import Missing
from penstock_webrtc.negotiation import Recorded
from penstock_webrtc.repair import parse_repair
from penstock_webrtc.route import Route, RouteSink
from penstock_webrtc.srtp import MAX_SOURCES, Srtp

DELAY_NS = 300_000_000
"""How long a missing packet is waited for: it is asked for until then."""
SILENCE_NS = 2 * NS
"""After so long without a packet of a track nothing is asked for that is missing, but a key frame at once: of an outage senders
still have the last second, which begins with no key frame, and players would take it for what the delay is from then on.
"""
FEEDBACK_NS = 50_000_000
"""Between two feedbacks about arrivals: what libwebrtc aims for at usual rates."""
REPORT_NS = NS
FEEDBACK = ("nack", "nack pli", "ccm fir", "transport-cc")
MID = "urn:ietf:params:rtp-hdrext:sdes:mid"
RID = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
REPAIRED_RID = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"
"""RFC 8852 3: which layer a packet is of, and which one it repeats."""


def _nothing(_units: Sequence[Unit]) -> Sequence[bytes]:
    """Who publishes gets no frames."""
    return ()


@define(eq=False)
class _Receiver:
    """One section, and the track that it became."""

    recorded: Recorded
    track: TrackIngest
    missing: Missing = field(factory=Missing)
    lost: int = 0
    heard: int = 0
    """When its last packet came, but for repetitions."""

    def silent(self, now: int) -> bool:
        return now - self.heard > SILENCE_NS


class Recorder:
    """What one peer publishes."""

    busy = True

    def __init__(
        self, server: Server, session: Session, path: StreamPath, recorded: Sequence[Recorded], random: Random
    ) -> None:
        self._server = server
        self._session = session
        self._path = path
        self._recorded = recorded
        self._ssrc = random.getrandbits(32)
        self._srtp: Srtp | None = None
        self._sink: RouteSink | None = None
        self._ingest: Ingest | None = None
        self._receivers: list[_Receiver] = []
        self._sources: dict[int, _Receiver] = {}
        self._arrivals = Arrivals()
        self._bad = self._repaired = 0
        self._feedback_at = self._report_at = 0
        # With BUNDLE an id is the same extension in all sections (RFC 9143 9).
        self._numbered = next((n for r in recorded if (n := r.media.extension(EXTENSION))), None)
        self._named = next((n for r in recorded if (n := r.media.extension(MID))), None)
        self._layered = {n for uri in (RID, REPAIRED_RID) for r in recorded if (n := r.media.extension(uri))}

    def sections(self) -> dict[str, Section]:
        """What the answer says of each section."""
        found: dict[str, Section] = {}
        for r in self._recorded:
            uris = (EXTENSION, MID) if r.layer is None else (EXTENSION, MID, RID, REPAIRED_RID)
            used = [(r.media.extension(uri), uri) for uri in uris]
            extensions = tuple(("extmap", f"{number} {uri}") for number, uri in used if number is not None)
            layers = r.media.layers if r.layer is not None else ()
            found[r.media.mid] = Section(
                r.format,
                r.retransmission,
                Direction.RECVONLY,
                FEEDBACK,
                (*extensions, *simulcast(layers)),
            )
        return found

    def connected(self, srtp: Srtp, route: Route) -> None:
        """The peer is there: the stream is its own from now on. Raises `AlreadyPublished`."""
        publisher = self._server.streams.publish_authorized(self._session, self._path)
        try:
            ingest = Ingest(publisher, self._server.registry, self._recorded, self._ssrc, delay=DELAY_NS)
        except BaseException:
            publisher.close("what was offered cannot be published")
            raise
        self._srtp, self._ingest = srtp, ingest
        self._sink = RouteSink(route, _nothing, _nothing, self._server.spawn)
        self._receivers = [_Receiver(r, t) for r, t in zip(self._recorded, ingest.tracks, strict=True)]
        publisher.on_key_frame_request = self._want_key_frame

    def moved(self, route: Route) -> None:
        if self._sink is not None:
            self._sink.route = route

    def rtp(self, data: bytes, now: int) -> Publisher | None:
        """A packet of media, a repetition, or one that only probes."""
        ingest = self._ingest
        if ingest is None or ingest.publisher.closed:
            return None
        try:
            packet = RtpPacket.parse(data)
            named, layer = self._extensions(packet, now)
        except ProtocolViolation:
            self._bad += 1
            return None
        receiver = self._sources.get(packet.ssrc) or self._learn(packet, named, layer)
        if receiver is None:
            self._bad += 1
            return None
        if packet.payload_type == receiver.recorded.format.payload_type:
            if receiver.silent(now):
                receiver.missing = Missing()
                receiver.track.resumed(packet, now)
            receiver.heard = now
            receiver.missing.received(packet.sequence, now)
            receiver.track.received(packet, now)
        elif (
            receiver.track.statistics is not None
            and not receiver.silent(now)
            and (found := parse_repair(packet.payload)) is not None
        ):
            sequence, payload = found
            self._repaired += 1
            receiver.missing.received(sequence, now)
            kind = receiver.recorded.format.payload_type or 0
            original = RtpPacket(
                kind, packet.marker, sequence, packet.timestamp, receiver.track.ssrc, payload
            )
            receiver.track.repaired(original, now)
        return ingest.publisher

    def _extensions(self, packet: RtpPacket, now: int) -> tuple[bytes | None, bytes | None]:
        """Note a packet's number in the whole transport; returns the names of its section and layer, where it has them."""
        named = layer = None
        if packet.extension is not None:
            for number, value in extension_elements(packet.extension):
                if number == self._numbered and len(value) == 2:
                    self._arrivals.add(int.from_bytes(value, "big"), now)
                elif number == self._named:
                    named = value
                elif number in self._layered:
                    layer = value
        return named, layer

    def _learn(self, packet: RtpPacket, named: bytes | None, layer: bytes | None) -> _Receiver | None:
        """Whose an SSRC is (RFC 9143 9.2): by the names that its first packets have, or by its payload type."""
        kind = packet.payload_type
        for receiver in self._receivers:
            r = receiver.recorded
            if r.layer is not None and r.layer.encode() != layer:
                continue
            if kind in (r.format.payload_type, r.retransmission) and named in (None, r.media.mid.encode()):
                self._sources[packet.ssrc] = receiver
                while len(self._sources) > MAX_SOURCES:
                    del self._sources[next(iter(self._sources))]
                if kind == r.format.payload_type:
                    receiver.missing = Missing()
                return receiver
        return None

    def rtcp(self, packets: Sequence[RtcpPacket], now: int) -> bool:
        """Take reports of the sender, which wait for nothing."""
        for packet in packets:
            for receiver in self._receivers:
                track = receiver.track
                if isinstance(packet, SenderReport) and packet.ssrc == track.ssrc:
                    track.sender_report(packet, now)
                elif isinstance(packet, Goodbye) and track.ssrc in packet.ssrcs:
                    track.ended = True
        return False

    def tick(self, now: int) -> Publisher | None:
        """Ask for what is missing, tell what came, and give up what does not come."""
        ingest = self._ingest
        if ingest is None or ingest.publisher.closed:
            return None
        ingest.handle_timeout(now)
        packets: list[RtcpPacket] = []
        for receiver in self._receivers:
            track = receiver.track
            if (due := receiver.missing.due(now)) and receiver.recorded.media.wants(
                receiver.recorded.format.payload_type, "nack"
            ):
                packets.append(Nack.of(self._ssrc, track.ssrc, due))
            if track.lost > receiver.lost:
                receiver.lost = track.lost
                if track.track.kind is Kind.VIDEO:
                    # Pictures are damaged from here on, and for who records them as well.
                    ingest.publisher.stream.request_key_frame(track.track)
        if now >= self._feedback_at and (told := self._arrivals.feedback()) is not None:
            self._feedback_at = now + FEEDBACK_NS
            media = next((r.track.ssrc for r in self._receivers if r.track.statistics is not None), 0)
            packets.append(told.encode(self._ssrc, media))
        if packets or now >= self._report_at:
            self._send(packets, now)
        return ingest.publisher

    def _send(self, packets: Sequence[RtcpPacket], now: int) -> None:
        """One compound (RFC 3550 6.1), with a report in front now and then, and always where nothing else is."""
        if self._srtp is None or self._sink is None:
            return
        report: tuple[RtcpPacket, ...] = ()
        if now >= self._report_at:
            self._report_at = now + REPORT_NS
            statistics = [r.track.statistics for r in self._receivers]
            report = (ReceiverReport(self._ssrc, tuple(s.report(now) for s in statistics if s is not None)),)
        self._sink.control(self._srtp.protect_rtcp(encode_rtcp([*report, *packets])))

    def _want_key_frame(self, track: Track) -> None:
        for receiver in self._receivers:
            if receiver.track.track.id == track.id and receiver.track.statistics is not None:
                self._send([PictureLoss(self._ssrc, receiver.track.ssrc)], time.monotonic_ns())

    def close(self, reason: str) -> None:
        """The peer is gone: what was held back goes out."""
        ingest = self._ingest
        if ingest is None:
            return
        ingest.finish(time.monotonic_ns())
        self._session.count("bad_packets", self._bad)
        self._session.count("repaired_packets", self._repaired)
        ingest.publisher.close(reason or "the publisher left")
