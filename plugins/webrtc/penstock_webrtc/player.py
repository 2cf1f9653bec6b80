"""The playing side of a peer: units of the feed become its own packets, and what it lost is sent again."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from random import Random

import anyio
from attrs import define, field

from penstock.feed import Reader
from penstock.media import NS, Frame, Kind, Track, to_ticks
from penstock.publisher import Publisher
from penstock.registry import INFO
from penstock.ring import Unit
from penstock.server import Server
from penstock.session import Session
from penstock.stream import Stream
from penstock_formats.rtcp import (
    FullIntraRequest,
    Goodbye,
    Nack,
    PictureLoss,
    RtcpPacket,
    SenderReport,
    SourceDescription,
    encode_rtcp,
    ns_to_ntp,
)
from penstock_formats.sdp import Direction
from penstock_webrtc.answer import CNAME, Section, sources
from penstock_webrtc.config import WebrtcConfig
from penstock_webrtc.muxer import PayloadMuxer, PayloadUnit
from penstock_webrtc.negotiation import Played
from penstock_webrtc.repair import build_repair
from penstock_webrtc.retransmission import History, Sent
from penstock_webrtc.route import Route, RouteSink
from penstock_webrtc.srtp import Srtp

REPORT_NS = NS
"""Between two sender reports: browsers put sound and picture in step by them, and do not with what is older than some seconds."""
PRESSED = 32
"""What came before the reader did is shown so many times faster: pictures up to now at once, and no delay that stays."""
FEEDBACK = ("nack", "nack pli", "ccm fir")
OBSERVED = 16
"""Frames that show whether pictures are reordered: encoders begin with that in their first group."""
OBSERVE_SECONDS = 1.0

_HEADER = struct.Struct("!BBHII")


async def is_reordered(stream: Stream, track: Track) -> bool:
    """Whether the pictures of a track are in another order than that in which they are shown.

    A config may say that they could be, where none is: cameras leave out to say that (H.264 E.2.1).
    """
    info = stream.registry.get(track.codec, INFO)
    if info is None or track.config is None or not info.reorder(track.config):
        return False
    seen, last = 0, -1
    frames = stream.read()
    try:
        with anyio.move_on_after(OBSERVE_SECONDS):
            async for event in frames:
                if not isinstance(event, Frame) or event.track.id != track.id:
                    continue
                if event.pts < last:
                    return True
                seen, last = seen + 1, event.pts
                if seen >= OBSERVED:
                    break
    finally:
        frames.close()
    return False


@define(eq=False)
class _Sender:
    """One track on its way to this peer. Sequence numbers are unwrapped."""

    played: Played
    ssrc: int
    repair_ssrc: int
    sequence: int
    repair_sequence: int
    offset: int
    history: History = field(factory=History)
    packets: int = 0
    octets: int = 0
    reported: int | None = None

    def report(self, stream: Stream, pts: int) -> bytes:
        rtp_time = to_ticks(pts, self.played.format.clock_rate) + self.offset
        report = SenderReport(
            self.ssrc, ns_to_ntp(stream.clock.wall(pts)), rtp_time, self.packets, self.octets
        )
        return encode_rtcp([report, SourceDescription(((self.ssrc, ((1, CNAME.encode()),)),))])


class Player:
    """What one peer plays of a stream."""

    def __init__(
        self,
        server: Server,
        config: WebrtcConfig,
        session: Session,
        stream: Stream,
        played: Sequence[Played],
        random: Random,
    ) -> None:
        self._server = server
        self._config = config
        self._session = session
        self._stream = stream
        self._live = 0
        self._reader: Reader | None = None
        self._sink: RouteSink | None = None
        self._srtp: Srtp | None = None
        self._repeated = 0
        self._senders = {
            p.track.id: _Sender(
                p,
                random.getrandbits(32),
                random.getrandbits(32),
                # RFC 3711 3.3.1: in the lower half, so that a lost first packet does not hide that the number wrapped.
                random.getrandbits(15),
                random.getrandbits(15),
                random.getrandbits(32),
            )
            for p in played
        }
        self._by_ssrc = {sender.ssrc: sender for sender in self._senders.values()}

    @property
    def busy(self) -> bool:
        return False

    def sections(self) -> dict[str, Section]:
        """What the answer says of each section."""
        found: dict[str, Section] = {}
        for sender in self._senders.values():
            p = sender.played
            repair = sender.repair_ssrc if p.retransmission is not None else None
            sprop = {key: value for key, value in p.described.fmtp.items() if key.startswith("sprop-")}
            found[p.media.mid] = Section(
                p.format,
                p.retransmission,
                Direction.SENDONLY,
                FEEDBACK,
                tuple(sources(sender.ssrc, repair, str(p.track.kind))),
                sprop,
            )
        return found

    def connected(self, srtp: Srtp, route: Route) -> None:
        """The peer can be sent to: it begins with what the stream has for it at once."""
        stream = self._stream
        self._srtp = srtp
        muxer = PayloadMuxer(self._server.registry, stream.tracks)
        feed = stream.feed(muxer, self._config.max_backlog_seconds)
        self._live = stream.last_time
        self._sink = RouteSink(route, self._stamp, self._server.spawn)
        self._reader = feed.attach(self._sink, self._session, start=self._config.start)

    def moved(self, route: Route) -> None:
        """The peer is to be sent to by another route."""
        if self._sink is not None:
            self._sink.route = route

    def rtp(self, data: bytes, now: int) -> Publisher | None:
        """Nothing is expected of who plays."""
        return None

    def rtcp(self, packets: Sequence[RtcpPacket], now: int) -> None:
        """What the peer says of what it got."""
        for packet in packets:
            match packet:
                case Nack(_, media):
                    if (sender := self._by_ssrc.get(media)) is not None:
                        self._repeat(sender, packet, now)
                case PictureLoss(_, media):
                    self._want_key_frame(media)
                case FullIntraRequest(_, _, entries):
                    for media, _ in entries:
                        self._want_key_frame(media)
                case _:
                    pass

    def tick(self, now: int) -> Publisher | None:
        """Nothing is due by time alone: reports go with the frames."""
        return None

    def close(self, reason: str) -> None:
        """No more packets; the peer is told that."""
        if self._reader is None or self._sink is None or self._srtp is None:
            return
        self._reader.detach(reason)
        self._session.count("retransmitted_packets", self._repeated)
        goodbye = Goodbye(tuple(self._by_ssrc))
        self._sink.send([self._srtp.protect_rtcp(encode_rtcp([self._empty_report(), goodbye]))])
        self._sink.close(reason)

    def _empty_report(self) -> SenderReport:
        """RFC 3550 6.1: a compound begins with a report."""
        sender = next(iter(self._senders.values()))
        return SenderReport(sender.ssrc, 0, 0, sender.packets, sender.octets)

    def _want_key_frame(self, ssrc: int) -> None:
        sender = self._by_ssrc.get(ssrc)
        if sender is not None and sender.played.track.kind is Kind.VIDEO:
            self._stream.request_key_frame(sender.played.track)

    def _stamp(self, units: Sequence[Unit]) -> list[bytes]:
        """The packets of this peer: header and encryption are its own, the payloads are everybody's."""
        srtp, live = self._srtp, self._live
        found: list[bytes] = []
        if srtp is None:
            return found
        protect, pack = srtp.protect, _HEADER.pack
        for unit in units:
            if not isinstance(unit, PayloadUnit) or unit.of is None:
                continue
            sender = self._senders.get(unit.of)
            if sender is None:
                continue
            pts, payloads = unit.pts, unit.payloads
            if pts < live:
                if not unit.video:
                    continue
                pts = live - (live - pts) // PRESSED
            fmt = sender.played.format
            timestamp = to_ticks(pts, fmt.clock_rate) + sender.offset & 0xFFFFFFFF
            number, ssrc, kind = sender.sequence, sender.ssrc, fmt.payload_type or 0
            count = len(payloads)
            marked = kind | 0x80 if sender.played.binding.marks_last else kind
            sent = Sent(number, unit.time, timestamp, payloads, unit.ticks)
            if unit.ticks:
                times = [sent.timestamp_of(i) & 0xFFFFFFFF for i in range(count)]
                packets = [
                    protect(pack(0x80, kind, number + i & 0xFFFF, at, ssrc) + payload)
                    for i, (at, payload) in enumerate(zip(times, payloads, strict=True))
                ]
            else:
                # Here is the cost of each packet: as little as can be beside the encryption.
                packets = [
                    protect(pack(0x80, kind, n & 0xFFFF, timestamp, ssrc) + payload)
                    for n, payload in enumerate(payloads[:-1], number)
                ]
                last = pack(0x80, marked, number + count - 1 & 0xFFFF, timestamp, ssrc)
                packets.append(protect(last + payloads[-1]))
            if sender.played.retransmission is None:
                # RFC 7714 9.1: never the same number with other bytes, so that only what was sent can be sent again.
                sent = Sent(number, unit.time, timestamp, packets)
            sender.sequence = number + count
            sender.packets += count
            sender.octets += unit.size
            sender.history.add(sent, unit.size)
            found += packets
            if unit.pts >= live and (sender.reported is None or unit.time - sender.reported >= REPORT_NS):
                sender.reported = unit.time
                found.append(srtp.protect_rtcp(sender.report(self._stream, pts)))
        return found

    def _repeat(self, sender: _Sender, nack: Nack, now: int) -> None:
        """Send again what the peer has lost, as far as it is there."""
        if self._srtp is None or self._sink is None:
            return
        played, found = sender.played, list[bytes]()
        kind = played.retransmission
        for sequence in nack.sequences():
            place = sender.history.find(sequence, now)
            if place is None:
                continue
            sent, index = place
            if kind is None:
                found.append(sent.payloads[index])
                continue
            marked = played.binding.marks_last and index == len(sent.payloads) - 1
            header = _HEADER.pack(
                0x80,
                kind | 0x80 if marked else kind,
                sender.repair_sequence & 0xFFFF,
                sent.timestamp_of(index) & 0xFFFFFFFF,
                sender.repair_ssrc,
            )
            sender.repair_sequence += 1
            found.append(self._srtp.protect(header + build_repair(sent.first + index, sent.payloads[index])))
        self._repeated += len(found)
        self._sink.send(found)
