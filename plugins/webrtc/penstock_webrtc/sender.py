"""One track on its way to one peer: what is done here is done for each viewer and frame, and is as little as can be."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from attrs import define, field

from penstock.clock import StreamClock
from penstock.media import NS, to_ticks
from penstock_formats.rtcp import Nack, SenderReport, SourceDescription, encode_rtcp, ns_to_ntp
from penstock_formats.rtp.packet import unwrap_sequence
from penstock_webrtc.answer import CNAME
from penstock_webrtc.choosing import Choosing
from penstock_webrtc.negotiation import Played
from penstock_webrtc.playout import Playout
from penstock_webrtc.repair import build_repair
from penstock_webrtc.retransmission import History, Place, Sent
from penstock_webrtc.sealing import Source
from penstock_webrtc.srtp import Srtp
from penstock_webrtc.units import Frames, PayloadUnit

REPORT_NS = 5 * NS
"""Between two sender reports (RFC 3550 6.2), as libwebrtc has it for sound."""
FIRST_REPORTS_NS = NS
"""The same in a track's first seconds: browsers put sound and picture in step once they have two of each."""

FRAME_NS = NS // 25
"""How long a picture is taken to be on its way to becoming the newest one."""

PRESSED = 32
"""What came before the reader did is shown so many times faster: pictures up to now at once, and no delay that stays."""

_MARKER = 0x80


@define(eq=False)
class Sender:
    """Its packets, numbered from `first` on. Sequence numbers are unwrapped; `live` is the stream's time when the peer came."""

    played: Played
    ssrc: int
    repair_ssrc: int
    first: int
    repair_sequence: int
    _offset: int
    playout: Playout | None = None
    choosing: Choosing | None = None
    history: History = field(factory=History)
    live: int = 0
    _reported: int = 0
    """How many packets the last report was of."""
    _report_at: int = 0
    _settled_at: int = 0
    """From when on the next report is due, and they come more seldom."""
    _kept: Sequence[PayloadUnit] | None = None
    """What is kept for all readers of the track, where `history` is not this one's own."""
    _source: Source | None = None
    """By which most packets are sealed, where what is kept is kept for all."""
    _swift: Source | None = None
    """The same, while it gets what is live, and there is nothing to be told with it."""
    _delays: Playout | None = None
    """`playout`, while it has something to say."""
    _last: PayloadUnit | None = None
    """What went out last. All that is counted is counted from it, so that nothing is written for each frame and peer that is not
    everybody's."""
    _begun: int | None = None
    """The number of the first payload of what is kept for all that was live. A later one that is to be shown before `live`
    is not pressed together any more: sent again it has to be the same."""
    _above: int = field(init=False)
    """What sequence numbers are above the numbers of payloads, since the packet `_since`."""
    _since: int = field(init=False)
    _more: int = 0
    """The bytes that were sent above those of the track."""
    _srtp: Srtp = field(init=False)
    _clock: StreamClock = field(init=False)
    _repair: int | None = field(init=False)
    _kinds: tuple[int, int] = field(init=False)
    _description: bytes = field(init=False)
    """What each report has behind it, and is always the same (RFC 3550 6.1)."""

    def __attrs_post_init__(self) -> None:
        self._above = self._since = self.first
        self._description = encode_rtcp([SourceDescription(((self.ssrc, ((1, CNAME.encode()),)),))])
        self._repair = self.played.retransmission
        kind = self.played.format.payload_type or 0
        self._kinds = kind, kind | _MARKER if self.played.binding.marks_last else kind

    @property
    def sequence(self) -> int:
        """The number of the next packet."""
        return self._above + (self._last.end if self._last is not None else 0)

    @property
    def packets(self) -> int:
        """What was sent, without what was sent again."""
        return self.sequence - self.first

    @property
    def octets(self) -> int:
        """The bytes of that."""
        return self._more + (self._last.octets if self._last is not None else 0)

    def connect(self, srtp: Srtp, clock: StreamClock, live: int) -> None:
        """Before anything is sent: `clock` is the stream's."""
        self._srtp, self._clock, self.live = srtp, clock, live

    def share(self, kept: Sequence[PayloadUnit]) -> None:
        """Send again from `kept`, what is kept of the track for all readers, where every one of them gets all of it: as RTX, or
        (RFC 7714 9.1: never the same number with other bytes) where the same packet can be made again.
        """
        if self.choosing is None and (
            self._repair is not None or (self.playout is None and self._srtp.repeats)
        ):
            self._kept, self.history.place = kept, self._place
            self._source = self._srtp.source(self.ssrc)

    def stamp(self, frames: Frames) -> Sequence[bytes]:
        """The packets of frames: headers and encryption are this peer's, the payloads are everybody's."""
        swift, last = self._swift, self._last
        if swift is not None and last is not None and last.end == frames.number and frames.plain:
            self._last = frames.last
            return swift.frames(self._kinds, frames.rows, self._above, self._offset)
        return [packet for unit in frames.units for packet in self.stamp_one(unit)]

    def stamp_one(self, unit: PayloadUnit) -> Sequence[bytes]:
        """The packets of one frame, whatever there is to be done for it; the first report goes with the first that is live."""
        payloads, last, pts, srtp = unit.payloads, self._last, unit.pts, self._srtp
        if pts < self.live and not unit.video:
            return ()
        if last is None or last.end != unit.number or self.choosing is not None:
            self._leap(unit)
        number = unit.number + self._above
        if pts < self.live or self.choosing is not None:
            timestamp = self._timestamp(unit)
        else:
            timestamp = unit.rtp_time + self._offset & 0xFFFFFFFF
        if unit.ticks:
            packets: list[bytes] = []
            for n, later in enumerate((0, *unit.ticks)):
                at = timestamp + later & 0xFFFFFFFF
                packets += srtp.seal(self.ssrc, self._kinds, at, payloads[n : n + 1], number + n)
        else:
            extension = self._delays.extension(unit.time) if self._delays is not None else b""
            if not extension:
                self._delays = None
            if self.choosing is None:
                packets = srtp.seal(self.ssrc, self._kinds, timestamp, payloads, number, extension)
            else:
                seal = self.choosing.numbering.seal
                packets = seal(srtp, self.ssrc, self._kinds, timestamp, payloads, number, extension)
        self._last = unit
        if pts >= self.live:
            if self._delays is None:
                self._swift = self._source
            if self._begun is None and self._kept is not None:
                self._begun = unit.number
        if self._kept is None:
            # As in `share`: what cannot be made again is kept as it was sent.
            kept = packets if self._repair is None else payloads
            self.history.append((number, timestamp, kept, unit.ticks))
        if not self._reported and pts >= self.live:
            return [*packets, self._report(unit)]
        return packets

    def _timestamp(self, unit: PayloadUnit) -> int:
        pts, begun = unit.pts, self._begun
        if pts < self.live and (begun is None or unit.number < begun):
            pts = self.live - (self.live - pts) // PRESSED
        if self.choosing is not None:
            pts = self.choosing.shown(pts)
        return unit.ticks_of(pts) + self._offset & 0xFFFFFFFF

    def _leap(self, unit: PayloadUnit) -> None:
        """`unit` does not follow what went out last: its numbers do (RFC 3550 5.1), and what was counted goes on."""
        sequence, octets = self.sequence, self.octets
        self._above, self._since = sequence - unit.number, sequence
        self._more = octets + unit.size - unit.octets

    def _place(self, sequence: int) -> Place | None:
        """Where a packet is in what is kept for all."""
        kept, above, end = self._kept, self._above, self.sequence
        number = unwrap_sequence(sequence, end - 1)
        if not kept or not self._since <= number < end:
            return None
        place = bisect_right(kept, number - above, key=lambda unit: unit.number) - 1
        if place < 0:
            return None
        unit = kept[place]
        return (
            unit.number + above,
            self._timestamp(unit),
            unit.payloads,
            unit.ticks,
        ), number - above - unit.number

    def report(self, now: int) -> Sequence[bytes]:
        """A sender report with the times of what went out last, if it is due: not before the first, and not where nothing went
        out since.
        """
        last = self._last
        if now < self._report_at or last is None or not 0 < self._reported < self.packets:
            return ()
        self._settled_at = self._settled_at or now + REPORT_NS
        self._report_at = now + (REPORT_NS if now >= self._settled_at else FIRST_REPORTS_NS)
        return (self._report(last),)

    def _report(self, unit: PayloadUnit) -> bytes:
        self._reported = self.packets
        rtp_time = to_ticks(unit.pts, self.played.format.clock_rate) + self._offset
        wall = ns_to_ntp(self._clock.steady(unit.pts))
        report = SenderReport(self.ssrc, wall, rtp_time, self._reported, self.octets)
        return self._srtp.protect_rtcp(encode_rtcp([report]) + self._description)

    def repeat(self, nack: Nack, now: int) -> list[bytes]:
        """What the peer has lost, as far as it is there and may be sent again."""
        found: list[bytes] = []
        bound, delay = None, 0
        if self.choosing is not None:
            bound, delay = self.choosing.bound, self.choosing.estimator.delay
        for sequence in nack.sequences():
            place = self.history.find(sequence, now, self.octets, bound, delay)
            if place is not None:
                found.append(self._again(*place))
                if self.playout is not None:
                    self._shown_later(self.playout, place[0][1])
        return found

    def _shown_later(self, playout: Playout, timestamp: int) -> None:
        """A frame of that RTP time was repeated: it is as old as what went out since, and as what is due next."""
        last = self._last
        if last is not None:
            newest = self._timestamp(last) if self._kept is not None else self.history.newest
            ticks = (newest - timestamp) & 0xFFFFFFFF
            playout.repeated(ticks * NS // self.played.format.clock_rate + FRAME_NS, last.time)
            self._delays, self._swift = playout, None

    def _again(self, sent: Sent, index: int) -> bytes:
        first, timestamp, payloads, ticks = sent
        if index and ticks:
            timestamp = timestamp + ticks[index - 1] & 0xFFFFFFFF
        kind, last = self._kinds
        if self._repair is None:
            if self._source is None:
                return payloads[index]
            was = last if ticks or index == len(payloads) - 1 else kind
            return self._source.again(was, timestamp, payloads[index], first + index)
        again = self._repair | _MARKER if last != kind and index == len(payloads) - 1 else self._repair
        number, self.repair_sequence = self.repair_sequence, self.repair_sequence + 1
        payload = build_repair(first + index, payloads[index])
        kinds = again, again
        if self.choosing is None:
            (packet,) = self._srtp.seal(self.repair_ssrc, kinds, timestamp, (payload,), number)
        else:
            seal = self.choosing.numbering.seal
            (packet,) = seal(self._srtp, self.repair_ssrc, kinds, timestamp, (payload,), number)
        return packet

    def padding(self, octets: int) -> list[bytes]:
        """Repetitions of what went out last, about so many bytes of them: of use only as a probe."""
        found: list[bytes] = []
        for sent in self.history.latest():
            for index in reversed(range(len(sent[2]))):
                if octets <= 0:
                    return found
                packet = self._again(sent, index)
                found.append(packet)
                octets -= len(packet)
        return found
