"""One track on its way to one peer: what is done here is done for each viewer and frame, and is as little as can be."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define, field

from penstock.media import NS, to_ticks
from penstock.stream import Stream
from penstock_formats.rtcp import Nack, SenderReport, SourceDescription, encode_rtcp, ns_to_ntp
from penstock_webrtc.answer import CNAME
from penstock_webrtc.choosing import Choosing
from penstock_webrtc.muxer import PayloadUnit
from penstock_webrtc.negotiation import Played
from penstock_webrtc.playout import Playout
from penstock_webrtc.repair import build_repair
from penstock_webrtc.retransmission import History, Sent
from penstock_webrtc.srtp import Srtp

REPORT_NS = NS
"""Between two sender reports: browsers put sound and picture in step by them, and do not with what is older than some seconds."""

FRAME_NS = NS // 25
"""How long a picture is taken to be on its way to becoming the newest one."""

_MARKER = 0x80


@define(eq=False)
class Sender:
    """Its packets. Sequence numbers are unwrapped; `packets` and `octets` are what was sent, without what was sent again."""

    played: Played
    ssrc: int
    repair_ssrc: int
    sequence: int
    repair_sequence: int
    offset: int
    playout: Playout | None = None
    choosing: Choosing | None = None
    history: History = field(factory=History)
    packets: int = 0
    octets: int = 0
    report_at: int = 0
    """The time of a frame from which on a report is due."""
    _time: int = 0
    _repair: int | None = field(init=False)
    _kinds: tuple[int, int] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._repair = self.played.retransmission
        kind = self.played.format.payload_type or 0
        self._kinds = kind, kind | _MARKER if self.played.binding.marks_last else kind

    def stamp(self, srtp: Srtp, unit: PayloadUnit, pts: int) -> Sequence[bytes]:
        """The packets of a frame, shown at `pts`: header and encryption are this peer's, the payloads are everybody's."""
        payloads, number = unit.payloads, self.sequence
        if self.choosing is not None:
            pts = self.choosing.shown(pts)
        timestamp = (unit.rtp_time if pts == unit.pts else unit.ticks_of(pts)) + self.offset & 0xFFFFFFFF
        if unit.ticks:
            packets: list[bytes] = []
            for n, later in enumerate((0, *unit.ticks)):
                at = timestamp + later & 0xFFFFFFFF
                packets += srtp.seal(self.ssrc, self._kinds, at, payloads[n : n + 1], number + n)
        else:
            extension = self.playout.extension(unit.time) if self.playout is not None else b""
            if self.choosing is None:
                packets = srtp.seal(self.ssrc, self._kinds, timestamp, payloads, number, extension)
            else:
                seal = self.choosing.numbering.seal
                packets = seal(srtp, self.ssrc, self._kinds, timestamp, payloads, number, extension)
        count = len(packets)
        self._time = unit.time
        self.sequence = number + count
        self.packets += count
        self.octets += unit.size
        # RFC 7714 9.1: never the same number with other bytes, so that without RTX only what was sent can be sent again.
        kept = packets if self._repair is None else payloads
        self.history.append((number, timestamp, kept, unit.ticks))
        return packets

    def report(self, stream: Stream, unit: PayloadUnit) -> bytes:
        """A sender report with this frame's times; the next is due at `report_at`."""
        self.report_at = unit.time + REPORT_NS
        rtp_time = to_ticks(unit.pts, self.played.format.clock_rate) + self.offset
        wall = ns_to_ntp(stream.clock.steady(unit.pts))
        report = SenderReport(self.ssrc, wall, rtp_time, self.packets, self.octets)
        return encode_rtcp([report, SourceDescription(((self.ssrc, ((1, CNAME.encode()),)),))])

    def repeat(self, srtp: Srtp, nack: Nack, now: int) -> list[bytes]:
        """What the peer has lost, as far as it is there and may be sent again."""
        found: list[bytes] = []
        bound, delay = None, 0
        if self.choosing is not None:
            bound, delay = self.choosing.bound, self.choosing.estimator.delay
        for sequence in nack.sequences():
            place = self.history.find(sequence, now, self.octets, bound, delay)
            if place is not None:
                found.append(self._again(srtp, *place))
                if self.playout is not None:
                    self._shown_later(self.playout, place[0][1])
        return found

    def _shown_later(self, playout: Playout, timestamp: int) -> None:
        """A frame of that RTP time was repeated: it is as old as what went out since, and as what is due next."""
        ticks = (self.history.newest - timestamp) & 0xFFFFFFFF
        age = ticks * NS // self.played.format.clock_rate + FRAME_NS
        playout.repeated(age, self._time)

    def _again(self, srtp: Srtp, sent: Sent, index: int) -> bytes:
        first, timestamp, payloads, ticks = sent
        if self._repair is None:
            return payloads[index]
        if index and ticks:
            timestamp = timestamp + ticks[index - 1] & 0xFFFFFFFF
        kind, last = self._kinds
        again = self._repair | _MARKER if last != kind and index == len(payloads) - 1 else self._repair
        number, self.repair_sequence = self.repair_sequence, self.repair_sequence + 1
        payload = build_repair(first + index, payloads[index])
        kinds = again, again
        if self.choosing is None:
            (packet,) = srtp.seal(self.repair_ssrc, kinds, timestamp, (payload,), number)
        else:
            seal = self.choosing.numbering.seal
            (packet,) = seal(srtp, self.repair_ssrc, kinds, timestamp, (payload,), number)
        return packet

    def padding(self, srtp: Srtp, octets: int) -> list[bytes]:
        """Repetitions of what went out last, about so many bytes of them: of use only as a probe."""
        found: list[bytes] = []
        for sent in self.history.latest():
            for index in reversed(range(len(sent[2]))):
                if octets <= 0:
                    return found
                packet = self._again(srtp, sent, index)
                found.append(packet)
                octets -= len(packet)
        return found
