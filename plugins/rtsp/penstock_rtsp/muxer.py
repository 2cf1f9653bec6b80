"""Frames to RTP packets, the same for every reader of a transport; over TCP each in its interleaved frame."""

from __future__ import annotations

import struct
from collections.abc import Callable, Container, Hashable, Iterable, Mapping, Sequence
from random import Random

from attrs import define

from penstock.alternatives import Alternatives
from penstock.clock import StreamClock
from penstock.errors import ProtocolViolation
from penstock.feed import Cursor
from penstock.fixed_tracks import FixedTracks
from penstock.media import (
    NS,
    Epoch,
    Event,
    Frame,
    Kind,
    Track,
    TrackAdded,
    TrackChanged,
    TrackRemoved,
    to_ns,
    to_ticks,
)
from penstock.registry import Registry
from penstock.ring import Unit
from penstock_formats.rtcp import (
    Goodbye,
    ReceiverReport,
    SenderReport,
    SourceDescription,
    encode_rtcp,
    ns_to_ntp,
)
from penstock_formats.rtp import RTP, RtpFormat, SampledPacketizer
from penstock_rtsp.rtp_info import RtpInfo
from penstock_rtsp.url import track_url

MAX_PAYLOAD = 1360
"""Bytes of an RTP payload: with RTP, UDP and IPv6 headers 1420, which Ethernet, PPPoE and WireGuard take whole."""
REPORT_NS = 5 * NS
"""Between two sender reports (RFC 3550 6.2)."""
FIRST_DYNAMIC = 96
CNAME = b"penstock"
LATE = "RTSP players know the tracks of their description only"

_HEADER = struct.Struct("!BBHII")
_FRAMED = struct.Struct("!BBHBBHII")


@define
class _Sender:
    """What is kept of one track: its format, numbers and counts. What each frame needs is looked up once, for all."""

    track: Track
    rate: int
    packetize: Callable[[Frame], list[bytes]]
    ticks: Callable[[bytes], int] | None
    payload_type: int
    last_payload_type: int
    """Of a frame's last packet: with the marker, where the codec's format has it there."""
    video: bool
    ssrc: int
    sequence: int
    offset: int
    channel: int
    leads: bool = False
    """Whether readers join at its key frames: at those of another picture it would begin in the middle."""
    packets: int = 0
    octets: int = 0
    reported: int | None = None


def _datagrams(sender: _Sender, payloads: list[bytes], time: int) -> tuple[bytes, ...]:
    """The packets of a frame, one behind the other in the track's numbering."""
    pack, kind, sequence, ssrc = _HEADER.pack, sender.payload_type, sender.sequence, sender.ssrc
    left = len(payloads)
    sender.packets += left
    packets: list[bytes] = []
    for payload in payloads:
        left -= 1
        if not left:
            kind = sender.last_payload_type
        packets.append(pack(0x80, kind, sequence, time, ssrc) + payload)
        sender.octets += len(payload)
        sequence = sequence + 1 & 0xFFFF
    sender.sequence = sequence
    return tuple(packets)


def _interleaved(sender: _Sender, payloads: list[bytes], time: int) -> tuple[bytes, ...]:
    """As `_datagrams`, each in its frame of the channel (RFC 2326 10.12): one piece of the byte stream."""
    pack, kind, sequence, ssrc = _FRAMED.pack, sender.payload_type, sender.sequence, sender.ssrc
    channel = sender.channel
    left = len(payloads)
    sender.packets += left
    pieces: list[bytes] = []
    for payload in payloads:
        left -= 1
        if not left:
            kind = sender.last_payload_type
        size = len(payload)
        pieces += (pack(36, channel, 12 + size, 0x80, kind, sequence, time, ssrc), payload)
        sender.octets += size
        sequence = sequence + 1 & 0xFFFF
    sender.sequence = sequence
    return (b"".join(pieces),)


def formats(
    registry: Registry, tracks: Iterable[Track], chosen: Container[int] = ()
) -> tuple[dict[int, tuple[RtpFormat, int]], dict[int, str]]:
    """For each track that RTP carries its format and payload type, and for the others the reason."""
    found: dict[int, tuple[RtpFormat, int]] = {}
    left_out: dict[int, str] = {}
    number = FIRST_DYNAMIC
    tracks = tuple(tracks)
    alternatives = Alternatives(registry, tracks, chosen)
    for track in tracks:
        binding = registry.get(track.codec, RTP)
        if binding is None:
            if track.kind is not Kind.DATA:
                left_out[track.id] = f"RTP cannot carry {track.codec.name}"
        elif reason := alternatives.reason(track):
            left_out[track.id] = reason
        elif track.config is None:
            left_out[track.id] = "its config never came"
        elif number > 127:
            left_out[track.id] = "RTP has no payload type left"
        else:
            try:
                described = binding.describe(track)
            except ProtocolViolation as e:
                left_out[track.id] = str(e)
                continue
            payload_type = described.payload_type
            if payload_type is None:
                payload_type = number
                number += 1
            found[track.id] = described, payload_type
    return found, left_out


def _description(ssrc: int) -> SourceDescription:
    return SourceDescription(((ssrc, ((1, CNAME),)),))


class RtpMuxer:
    """Muxer of those of a stream's `tracks` whose ids are in `chosen` (None: of all). `channels` gives each of these its
    interleaved channel; None is for datagrams.

    A player that left the picture alone shares nothing with those who see it: it must not notice when that changes.
    """

    def __init__(
        self,
        registry: Registry,
        tracks: Sequence[Track],
        clock: StreamClock,
        random: Random,
        channels: Mapping[int, int] | None = None,
        *,
        chosen: Container[int] | None = None,
    ) -> None:
        self._channels = dict(channels) if channels is not None else None
        self._clock = clock
        self._senders: dict[int, _Sender] = {}
        self.left_out: dict[int, str] = {}
        """Tracks that were not chosen or came too late, and why their readers do not get them."""
        # Of all of them, as payload types are numbered in the description.
        described, _ = formats(registry, tracks, chosen or ())
        for track in tracks:
            if chosen is not None and track.id not in chosen:
                self.left_out[track.id] = "it was not asked for"
                continue
            if track.id not in described:
                continue
            binding = registry.get(track.codec, RTP)
            if binding is None:
                continue
            fmt, payload_type = described[track.id]
            packetizer = binding.packetizer(track, MAX_PAYLOAD)
            self._senders[track.id] = _Sender(
                track,
                fmt.clock_rate,
                packetizer.packetize,
                packetizer.ticks if isinstance(packetizer, SampledPacketizer) else None,
                payload_type,
                payload_type | 0x80 if binding.marks_last else payload_type,
                track.kind is Kind.VIDEO,
                random.getrandbits(32),
                random.getrandbits(16),
                random.getrandbits(32),
                channels[track.id] if channels is not None else -1,
            )
        self._packets = _datagrams if channels is None else _interleaved
        self._fixed = FixedTracks(sender.track for sender in self._senders.values())
        if (leader := next((s for s in self._senders.values() if s.video), None)) is not None:
            leader.leads = True

    @property
    def key(self) -> Hashable:
        if self._channels is None:
            return ("rtp", *sorted(self._senders))
        return ("rtp", *sorted(self._channels.items()))

    def config(self, track: Track, time: int) -> Unit | None:
        """Nothing: parameter sets travel with each key frame, and other configs cannot change in RTP."""
        return None

    def mux(self, event: Event) -> Sequence[Unit]:
        if not isinstance(event, Frame):
            self._note(event)
            return ()
        track, dts = event.track, event.dts
        sender = self._senders.get(track.id)
        if sender is None:
            return ()
        payloads = sender.packetize(event)
        if not payloads:
            return ()
        # As `to_ticks`, in line: a wake-up's few frames find the caches cold, and each function is read anew.
        time = (event.pts * sender.rate + NS // 2) // NS + sender.offset & 0xFFFFFFFF
        if sender.ticks is None or len(payloads) == 1:
            packets = self._packets(sender, payloads, time)
        else:
            packets = self._samples(sender, sender.ticks, payloads, time)
        unit = Unit(track, packets, dts, event.key and sender.leads, sender.video)
        if sender.reported is None or dts - sender.reported >= REPORT_NS:
            # After its first packet, at whose time: a report that is older than all packets is dropped by clients.
            sender.reported = dts
            return (unit, Unit(track, (self._report(sender, event.pts),), dts, channel=1))
        return (unit,)

    def _note(self, event: TrackAdded | TrackChanged | TrackRemoved | Epoch) -> None:
        if isinstance(event, Epoch):
            self.report_soon()
            return
        if isinstance(event, TrackAdded) and event.track.kind is not Kind.DATA:
            self.left_out[event.track.id] = LATE
        self._fixed.note(event)

    def report_soon(self) -> None:
        """Send a sender report with each track's next packet: the times have changed, or somebody does not know them."""
        for sender in self._senders.values():
            sender.reported = None

    def _samples(
        self, sender: _Sender, ticks: Callable[[bytes], int], payloads: list[bytes], time: int
    ) -> tuple[bytes, ...]:
        """Fragments of one coded frame have its time; parts of a frame of samples each have their own (RFC 3551 4.1)."""
        found: list[bytes] = []
        for payload in payloads:
            found += self._packets(sender, [payload], time & 0xFFFFFFFF)
            time += ticks(payload)
        return tuple(found) if sender.channel < 0 else (b"".join(found),)

    def _report(self, sender: _Sender, time: int) -> bytes:
        ntp = ns_to_ntp(self._clock.steady(time))
        rtp_time = to_ticks(time, sender.rate) + sender.offset & 0xFFFFFFFF
        report = SenderReport(
            sender.ssrc, ntp, rtp_time, sender.packets & 0xFFFFFFFF, sender.octets & 0xFFFFFFFF
        )
        data = encode_rtcp([report, _description(sender.ssrc)])
        return struct.pack("!BBH", 36, sender.channel + 1, len(data)) + data if sender.channel >= 0 else data

    def goodbyes(self) -> dict[int, bytes]:
        """What tells that no more comes, for each track, without the frame of an interleaved channel (RFC 3550 6.6)."""
        return {
            # RFC 3550 6.1: a report is first in each compound, if need be one of nothing.
            track_id: encode_rtcp([ReceiverReport(s.ssrc), _description(s.ssrc), Goodbye((s.ssrc,))])
            for track_id, s in self._senders.items()
        }

    def reports(self, cursor: Cursor, track_ids: Iterable[int]) -> dict[int, bytes]:
        """The sender reports with which a reader starts: those in the ring may be seconds away.

        They are about the moment when every track has begun: GStreamer drops a report that is older than the
        first packet, and then leaves sound and picture as they happened to arrive.
        """
        wanted = [self._senders[i] for i in track_ids if i in self._senders]
        begins = [
            self._begins(s, unit) for s in wanted if (unit := cursor.first_frame(s.track.id)) is not None
        ]
        return {s.track.id: self._report(s, max(begins)) for s in wanted} if begins else {}

    def _begins(self, sender: _Sender, unit: Unit) -> int:
        """The pts of a unit, which is above its dts where frames are reordered."""
        at = 8 if sender.channel >= 0 else 4
        rtp_time = int.from_bytes(unit.payloads[0][at : at + 4], "big")
        rate = sender.rate
        return unit.time + to_ns((rtp_time - sender.offset - to_ticks(unit.time, rate)) & 0xFFFFFFFF, rate)

    def rtp_info(self, cursor: Cursor, base: str, track_ids: Iterable[int]) -> list[RtpInfo]:
        """The RTP time of each track at the cursor: that of all tracks is the same instant.

        Without the sequence, with which GStreamer gives out the first track's pictures before it has put the tracks in
        step (ADR 0015).
        """
        senders = [self._senders[i] for i in track_ids if i in self._senders]
        first = [cursor.first_frame(sender.track.id) for sender in senders]
        start = min((unit.time for unit in first if unit is not None), default=cursor.time)
        return [
            RtpInfo(
                track_url(base, sender.track.id),
                rtp_time=to_ticks(start, sender.rate) + sender.offset & 0xFFFFFFFF,
            )
            for sender in senders
        ]
