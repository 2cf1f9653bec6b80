"""RTP packets to frames: reordered, put together, and put in step by the sender's reports."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import structlog

from penstock.errors import ProtocolViolation
from penstock.media import Codec, CodecConfig, Kind, Track, to_ns
from penstock.publisher import Publisher
from penstock.registry import INFO, AudioInfo, Registry
from penstock_formats.rtcp import (
    Goodbye,
    PictureLoss,
    ReceiverReport,
    SenderReport,
    SourceDescription,
    encode_rtcp,
    ntp_to_ns,
    parse_rtcp,
)
from penstock_formats.rtp.alignment import Alignment, TrackClock
from penstock_formats.rtp.binding import AccessUnit, RtpBinding, RtpFormat
from penstock_formats.rtp.packet import RtpPacket, unwrap_timestamp
from penstock_formats.rtp.reorder import ReorderBuffer
from penstock_formats.rtp.statistics import ReceiverStatistics

_log = structlog.get_logger("penstock")

HELD_UNITS = 1000
HELD_BYTES = 8 << 20
"""What waits for a place at most: a quarter of a second of 250 Mbit/s."""


class Announced(Protocol):
    """A track as its sender describes it; `config` is None where it comes in band, `group` is what it is an alternative in."""

    @property
    def format(self) -> RtpFormat: ...
    @property
    def binding(self) -> RtpBinding: ...
    @property
    def codec(self) -> Codec: ...
    @property
    def config(self) -> CodecConfig | None: ...
    @property
    def group(self) -> str | None: ...


class TrackIngest:
    """One track of a publisher."""

    def __init__(
        self,
        ingest: Ingest,
        announced: Announced,
        track: Track,
        clock: TrackClock,
        reorder: ReorderBuffer | None,
    ) -> None:
        self.track = track
        self.clock = clock
        self.bad = 0
        """Packets that could not be read."""
        self.statistics: ReceiverStatistics | None = None
        self.ssrc = 0
        self.ended = False
        """Whether its source said goodbye."""
        self._ingest = ingest
        self._rate = announced.format.clock_rate
        self._payload_type = announced.format.payload_type
        self._depacketizer = announced.binding.depacketizer(announced.format)
        self._reorder = reorder
        self._next = -1
        self._ticks: int | None = None
        self._source = -1
        self._pending_report: SenderReport | None = None
        self._declared = 0
        self._torn = False
        self._configure(announced.config)

    def packet(self, data: bytes, now: int) -> None:
        """One RTP packet; what cannot be read is counted and dropped."""
        try:
            packet = RtpPacket.parse(data)
        except ProtocolViolation:
            self.bad += 1
            return
        if packet.payload_type != self._payload_type:
            self.bad += 1
            return
        self.received(packet, now)

    def received(self, packet: RtpPacket, now: int) -> None:
        """A packet that is this track's."""
        if self.statistics is None or packet.ssrc != self.ssrc:
            self.ssrc = packet.ssrc
            self.ended = False
            self.statistics = ReceiverStatistics(packet.ssrc, self._rate)
        self.statistics.packet(packet.sequence, packet.timestamp, now)
        self.repaired(packet, now)

    def repaired(self, packet: RtpPacket, now: int) -> None:
        """As `received`, of a packet that came as a repetition: it was lost, whatever became of it."""
        if self._reorder is not None:
            for ordered, lost in self._reorder.push(packet, now):
                self._ordered(ordered, lost, now)
        else:
            lost = self._next >= 0 and packet.sequence != self._next
            self._next = (packet.sequence + 1) & 0xFFFF
            self._ordered(packet, lost, now)

    def resumed(self, packet: RtpPacket, now: int) -> None:
        """That packet is the first after a silence: what was sent meanwhile does not come any more."""
        if self._reorder is not None:
            for before, lost in self._reorder.skip_to(packet):
                self._ordered(before, lost, now)

    def handle_timeout(self, now: int) -> None:
        """Give up on packets that were waited for too long."""
        if self._reorder is not None:
            for packet, lost in self._reorder.handle_timeout(now):
                self._ordered(packet, lost, now)

    def finish(self, now: int) -> None:
        """The publisher leaves: what was still waited for does not come any more."""
        if self._reorder is not None:
            for packet, lost in self._reorder.flush():
                self._ordered(packet, lost, now)

    @property
    def lost(self) -> int:
        return self._reorder.lost if self._reorder is not None else 0

    def _ordered(self, packet: RtpPacket, lost: bool, now: int) -> None:
        if packet.ssrc != self._source:
            if self._source >= 0:
                self._ticks = None
                self._ingest.restarted(self)
            self._source = packet.ssrc
        ticks = packet.timestamp
        if self._ticks is not None and ticks != self._ticks:
            ticks = unwrap_timestamp(ticks, self._ticks)
        self._ticks = ticks
        if self._pending_report is not None:
            report, self._pending_report = self._pending_report, None
            self.sender_report(report, now)
        if not packet.payload:
            # No payload format has it, but who probes for bandwidth sends padding alone: nothing is missing where it is.
            self.bad += 1
            self._torn = self._torn or lost
            return
        lost, self._torn = lost or self._torn, False
        try:
            units = self._depacketizer.push(packet.payload, ticks, packet.marker, lost)
        except ProtocolViolation:
            self.bad += 1
            return
        for unit in units:
            self._ingest.take(self, unit, now)

    def _configure(self, config: CodecConfig | None) -> None:
        info = self._ingest.registry.get(self.track.codec, INFO)
        if config is not None and info is not None and self.track.kind is Kind.VIDEO:
            self._declared = info.reorder(config)

    def arrived(self, unit: AccessUnit, now: int) -> None:
        """Note how a frame comes in, while arrivals may decide where a track belongs."""
        if unit.config is not None:
            self._configure(unit.config)
        self.clock.frame(unit.timestamp, now, self._declared)

    def write(self, unit: AccessUnit, now: int) -> None:
        """Hand a frame to the publisher, on the clock of all tracks."""
        publisher = self._ingest.publisher
        if unit.config is not None:
            publisher.configure(self.track.id, unit.config)
        pts = to_ns(unit.timestamp + (self.clock.shift or 0), self._rate)
        publisher.write(self.track.id, unit.units, pts=pts, key=unit.key, arrival=now)

    def sender_report(self, report: SenderReport, now: int) -> None:
        """The sender says when an RTP time was."""
        if self._ticks is None:
            # It came before the first packet, as FFmpeg sends it: unwrapped once that is there.
            self._pending_report = report
            return
        if self.statistics is not None:
            self.statistics.sender_report(report, now)
        if report.ntp:
            self.clock.reported(ntp_to_ns(report.ntp), unwrap_timestamp(report.rtp_time, self._ticks))
            self._ingest.reported(now)


class Ingest:
    """All tracks of one publisher, on one clock.

    A track's first frames wait for a moment, at most `penstock_formats.rtp.alignment.WAIT_NS`, where its report is not there:
    after that arrival places it. Once it has a place its frames go straight through.
    """

    def __init__(
        self,
        publisher: Publisher,
        registry: Registry,
        tracks: Sequence[Announced],
        ssrc: int,
        *,
        delay: int | None,
    ) -> None:
        self.publisher = publisher
        self.registry = registry
        self.ssrc = ssrc
        self.tracks: list[TrackIngest] = []
        self._alignment = Alignment()
        self._held: list[tuple[TrackIngest, AccessUnit, int]] = []
        self._held_bytes = 0
        for offer in tracks:
            rate = offer.format.clock_rate
            info = registry.get(offer.codec, INFO)
            if offer.codec.kind is Kind.AUDIO and info is not None and offer.config is not None:
                described = info.describe(offer.config)
                rate = described.sample_rate if isinstance(described, AudioInfo) else rate
            track = publisher.add_track(offer.codec, rate, offer.config, group=offer.group)
            clock = self._alignment.add(offer.format.clock_rate)
            reorder = ReorderBuffer(max_delay=delay) if delay is not None else None
            self.tracks.append(TrackIngest(self, offer, track, clock, reorder))
        publisher.tracks_complete()

    @property
    def aligned(self) -> bool:
        """Whether every track has its place, so that no frame waits for one."""
        return self._alignment.complete

    def restarted(self, track: TrackIngest) -> None:
        """A track has another source."""
        self._alignment.restart(track.clock)

    def take(self, track: TrackIngest, unit: AccessUnit, now: int) -> None:
        """A frame, in the order of its track."""
        placed = track.clock.shift is not None
        if not placed or self._alignment.watches:
            track.arrived(unit, now)
        if placed:
            track.write(unit, now)
            return
        self._held.append((track, unit, now))
        self._held_bytes += sum(map(len, unit.units))
        self._release(now)

    def finish(self, now: int) -> None:
        """The publisher leaves: what is still held goes out, as far as arrival tells how the tracks stand."""
        if not self.publisher.closed:
            for track in self.tracks:
                track.finish(now)
            self._write_held()
        for track in self.tracks:
            self.publisher.session.count("bad_packets", track.bad)
            self.publisher.session.count("lost_packets", track.lost)
        self.tracks.clear()  # each has this, and what a publisher had would wait for the collector

    def _release(self, now: int) -> None:
        held = self._held
        if held and (
            not self._alignment.waits(now) or len(held) > HELD_UNITS or self._held_bytes > HELD_BYTES
        ):
            self._write_held()

    def _write_held(self) -> None:
        held, self._held, self._held_bytes = self._held, [], 0
        self._alignment.place()
        for track, unit, arrival in held:
            track.write(unit, arrival)

    def reported(self, now: int) -> None:
        """A track has a new report."""
        self._release(now)
        if moved := self._alignment.correct():
            _log.info(
                "tracks moved into step", session=self.publisher.session.id, ms=round(moved / 1_000_000, 1)
            )

    def rtcp(self, track: TrackIngest, data: bytes, now: int) -> None:
        """RTCP of the sender; what cannot be read is counted and dropped."""
        try:
            packets = parse_rtcp(data)
        except ProtocolViolation:
            track.bad += 1
            return
        for packet in packets:
            if isinstance(packet, SenderReport) and (not track.ssrc or packet.ssrc == track.ssrc):
                track.sender_report(packet, now)
            elif isinstance(packet, Goodbye) and track.statistics is not None and track.ssrc in packet.ssrcs:
                track.ended = True

    @property
    def ended(self) -> bool:
        """Whether every track has ended (RFC 3550 6.6)."""
        return all(track.ended for track in self.tracks)

    def receiver_report(self, track: TrackIngest, now: int) -> bytes | None:
        """What to report of one track; None before its first packet."""
        if track.statistics is None:
            return None
        report = ReceiverReport(self.ssrc, (track.statistics.report(now),))
        return encode_rtcp([report, SourceDescription(((self.ssrc, ((1, b"penstock"),)),))])

    def picture_loss(self, track: TrackIngest, now: int) -> bytes | None:
        """What asks the sender for a key frame (RFC 4585 6.3.1), in a compound as RFC 3550 6.1 wants it.

        Sent without AVPF having been agreed on: GStreamer acts on it all the same, and others pass over packets of
        types that they do not know (RFC 3550 6.1).
        """
        report = self.receiver_report(track, now)
        return None if report is None else report + encode_rtcp([PictureLoss(self.ssrc, track.ssrc)])

    def handle_timeout(self, now: int) -> None:
        for track in self.tracks:
            track.handle_timeout(now)
        self._release(now)
