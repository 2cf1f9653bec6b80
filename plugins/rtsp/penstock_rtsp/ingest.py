"""RTP packets to frames: reordered, put together, and put in step by the sender's reports."""

from __future__ import annotations

import time
from random import Random

from penstock.errors import ProtocolViolation
from penstock.media import NS, Kind, Track, to_ns, to_ticks
from penstock.publisher import Publisher
from penstock.registry import INFO, AudioInfo, Registry, VideoInfo
from penstock_formats.rtcp import (
    Goodbye,
    ReceiverReport,
    SenderReport,
    SourceDescription,
    encode_rtcp,
    ntp_to_ns,
    parse_rtcp,
)
from penstock_formats.rtp import AccessUnit
from penstock_formats.rtp.packet import RtpPacket, unwrap_timestamp
from penstock_formats.rtp.reorder import ReorderBuffer
from penstock_formats.rtp.statistics import ReceiverStatistics
from penstock_rtsp.description import Offered

MIN_SHIFT_NS = 15_000_000
"""A correction by sender reports below this is left alone: a step in mid-stream is worse than what nobody notices."""
HOLD_NS = 4 * NS
"""How long a publisher's first frames wait for sender reports: GStreamer's first ones come after up to 3.1 s."""
HOLD_UNITS = 2000
HOLD_BYTES = 8 << 20
"""What waits at most."""
USUAL_RATE = 25.0
"""Frames a second, where the config does not tell."""


class TrackIngest:
    """One track of a publisher."""

    def __init__(self, ingest: Ingest, offered: Offered, track: Track, *, reorder: bool) -> None:
        self.offered = offered
        self.track = track
        self.bad = 0
        """Packets that could not be read."""
        self.begin: tuple[int, int] | None = None
        """The pts of its first frame, and when that came."""
        self.statistics: ReceiverStatistics | None = None
        self.ssrc = 0
        self.ended = False
        """Whether its source said goodbye."""
        self._ingest = ingest
        self._rate = offered.format.clock_rate
        self._payload_type = offered.format.payload_type
        self._depacketizer = offered.binding.depacketizer(offered.format)
        self._reorder = ReorderBuffer() if reorder else None
        self._next = -1
        self._ticks: int | None = None
        self._shift: int | None = None
        self.report: tuple[int, int] | None = None
        """The last sender report: NTP in ns, and the unwrapped RTP time it stands for."""
        self.pending_report: SenderReport | None = None

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
        if self.statistics is None or packet.ssrc != self.ssrc:
            self.ssrc = packet.ssrc
            self.ended = False
            self.statistics = ReceiverStatistics(packet.ssrc, self._rate)
        self.statistics.packet(packet.sequence, packet.timestamp, now)
        if self._reorder is not None:
            for ordered, lost in self._reorder.push(packet, now):
                self._ordered(ordered, lost, now)
        else:
            lost = self._next >= 0 and packet.sequence != self._next
            self._next = (packet.sequence + 1) & 0xFFFF
            self._ordered(packet, lost, now)

    @property
    def delay(self) -> int:
        """Nanoseconds by which a frame is decoded before it is shown, as far as its config tells."""
        track = next((t for t in self._ingest.publisher.stream.tracks if t.id == self.track.id), self.track)
        info = self._ingest.registry.get(track.codec, INFO)
        if info is None or track.config is None or track.kind is not Kind.VIDEO:
            return 0
        described = info.describe(track.config)
        rate = described.frame_rate if isinstance(described, VideoInfo) else None
        return int(info.reorder(track.config) * NS / (rate or USUAL_RATE))

    def handle_timeout(self, now: int) -> None:
        """Give up on packets that were waited for too long."""
        if self._reorder is not None:
            for packet, lost in self._reorder.handle_timeout(now):
                self._ordered(packet, lost, now)

    @property
    def lost(self) -> int:
        return self._reorder.lost if self._reorder is not None else 0

    def _ordered(self, packet: RtpPacket, lost: bool, now: int) -> None:
        ticks = packet.timestamp if self._ticks is None else unwrap_timestamp(packet.timestamp, self._ticks)
        self._ticks = ticks
        if self.pending_report is not None:
            report, self.pending_report = self.pending_report, None
            self.sender_report(report)
        try:
            units = self._depacketizer.push(packet.payload, ticks, packet.marker, lost)
        except ProtocolViolation:
            self.bad += 1
            return
        for unit in units:
            if not self._ingest.hold(self, unit, now):
                self.write(unit, now)

    def write(self, unit: AccessUnit, now: int) -> None:
        """Hand a frame to the publisher, on the clock of all tracks."""
        publisher = self._ingest.publisher
        if unit.config is not None:
            publisher.configure(self.track.id, unit.config)
        if self._shift is None:
            self._shift = self._ingest.start(self, unit.timestamp, now)
        pts = to_ns(unit.timestamp + self._shift, self._rate)
        if self.begin is None:
            self.begin = pts, now
        publisher.write(self.track.id, unit.units, pts=pts, key=unit.key, arrival=now)

    def sender_report(self, report: SenderReport) -> None:
        """The sender says when an RTP time was: all tracks are put on that common clock."""
        if self._ticks is None:
            # It came before the first packet, as FFmpeg sends it: unwrapped once that is there.
            self.pending_report = report
            return
        self.report = ntp_to_ns(report.ntp), unwrap_timestamp(report.rtp_time, self._ticks)
        if self.statistics is not None:
            self.statistics.sender_report(report, time.monotonic_ns())
        self._ingest.synchronise()

    def wall_shift(self, origin: int) -> int | None:
        """Ticks to add to this track's RTP time to count from the NTP time `origin`; None without a report."""
        if self.report is None:
            return None
        ntp, ticks = self.report
        return to_ticks(ntp - origin, self._rate) - ticks

    @property
    def shift(self) -> int | None:
        return self._shift

    @shift.setter
    def shift(self, ticks: int) -> None:
        self._shift = ticks

    def shift_ns(self, ticks: int) -> int:
        return to_ns(ticks, self._rate)


class Ingest:
    """All tracks of one publisher, on one clock.

    The first track counts from its first packet. The others are placed by arrival, until sender reports tell
    exactly; then they are moved to where those say.
    """

    def __init__(
        self,
        publisher: Publisher,
        registry: Registry,
        tracks: list[Offered],
        *,
        reorder: bool,
        random: Random,
    ) -> None:
        self.publisher = publisher
        self.registry = registry
        self.ssrc = random.getrandbits(32)
        self.tracks: list[TrackIngest] = []
        self._origin: int | None = None
        self._held: list[tuple[TrackIngest, AccessUnit, int]] | None = [] if len(tracks) > 1 else None
        self._held_bytes = 0
        for offer in tracks:
            rate = offer.format.clock_rate
            info = registry.get(offer.codec, INFO)
            if offer.codec.kind is Kind.AUDIO and info is not None and offer.config is not None:
                described = info.describe(offer.config)
                rate = described.sample_rate if isinstance(described, AudioInfo) else rate
            track = publisher.add_track(offer.codec, rate, offer.config)
            self.tracks.append(TrackIngest(self, offer, track, reorder=reorder))
        publisher.tracks_complete()

    def hold(self, track: TrackIngest, unit: AccessUnit, now: int) -> bool:
        """Keep a frame of the beginning until it is known how the tracks stand to each other; False from then on.

        Arrival alone is tens of ms off, and a correction in mid-stream would be a step that every player sees.
        """
        held = self._held
        if held is None:
            return False
        held.append((track, unit, now))
        self._held_bytes += sum(map(len, unit.units))
        self._release(now)
        return True

    def finish(self) -> None:
        """The publisher leaves: what is still held goes out, as far as arrival tells how the tracks stand."""
        for track in self.tracks:
            self.publisher.session.count("bad_packets", track.bad)
            self.publisher.session.count("lost_packets", track.lost)
        held, self._held = self._held, None
        if held and not self.publisher.closed:
            for track, unit, arrival in held:
                track.write(unit, arrival)

    def _release(self, now: int) -> None:
        held = self._held
        if not held or not (
            all(t.report is not None for t in self.tracks)
            or now - held[0][2] > HOLD_NS
            or len(held) > HOLD_UNITS
            or self._held_bytes > HOLD_BYTES
        ):
            return
        self._held = None
        for track, unit, arrival in held:
            track.write(unit, arrival)

    def start(self, track: TrackIngest, ticks: int, now: int) -> int:
        """Where a track's first frame belongs on the common clock, in its ticks."""
        rate = track.offered.format.clock_rate
        if self._origin is None and track.report is not None:
            self._take_origin(track, ticks)
        if self._origin is not None and (exact := track.wall_shift(self._origin)) is not None:
            return exact
        leader = next((t for t in self.tracks if t.begin is not None), None)
        if leader is None or leader.begin is None:
            return rate - ticks
        # Frames are sent when they are to be decoded: pts is later than that by what their codec reorders.
        pts, arrival = leader.begin
        return to_ticks(pts - leader.delay + now - arrival + track.delay, rate) - ticks

    def _take_origin(self, track: TrackIngest, ticks: int) -> None:
        """Count from one second before the first frame, whole in every clock."""
        if track.report is not None:
            ntp, at = track.report
            rate = track.offered.format.clock_rate
            self._origin = ntp - to_ns(at - ticks, rate) - NS

    def synchronise(self) -> None:
        """Move the tracks to where the sender's reports put them, once all have one."""
        started = [t for t in self.tracks if t.shift is not None]
        if len(started) < 2 or any(t.report is None for t in started):
            return
        if self._origin is None:
            leader = started[0]
            shift, report = leader.shift, leader.report
            if shift is None or report is None:
                return
            # The leader stays where it is: what follows from that is where the others belong.
            self._origin = report[0] - leader.shift_ns(report[1] + shift)
        for track in started:
            exact, shift = track.wall_shift(self._origin), track.shift
            if exact is not None and shift is not None and abs(track.shift_ns(exact - shift)) > MIN_SHIFT_NS:
                track.shift = exact

    def rtcp(self, track: TrackIngest, data: bytes) -> None:
        """RTCP of the sender; what cannot be read is counted and dropped."""
        try:
            packets = parse_rtcp(data)
        except ProtocolViolation:
            track.bad += 1
            return
        for packet in packets:
            if isinstance(packet, SenderReport) and (not track.ssrc or packet.ssrc == track.ssrc):
                track.sender_report(packet)
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

    def handle_timeout(self, now: int) -> None:
        for track in self.tracks:
            track.handle_timeout(now)
        self._release(now)
