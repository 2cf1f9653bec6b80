"""Puts RTP packets that came over UDP back in order, and says where some are missing."""

from __future__ import annotations

from bisect import insort

from penstock.media import NS
from penstock_formats.rtp.packet import RtpPacket

MAX_PACKETS = 512
"""Packets held back: 200 ms of 25 Mbit/s."""
MAX_BYTES = 2 * 1024 * 1024
"""Bytes held back, where packets are larger than an Ethernet frame."""
MAX_DELAY = NS // 5
"""How long a missing packet is waited for: above the round trip of a retransmission in one country."""
MAX_DROPOUT = 3000
"""RFC 3550 A.1: a larger step forward is a new numbering, not a loss."""
MAX_MISORDER = 512
"""A larger step back is a new numbering. RFC 3550 A.1 has 100, which high rates over several links exceed."""

Ordered = list[tuple[RtpPacket, bool]]
"""Packets in order, each with whether packets right before it are missing."""


class ReorderBuffer:
    """The packets of one SSRC at a time; a new SSRC starts anew. Times are nanoseconds of any steady clock.

    `lost` counts packets given up, `late` those of them that came after all, `duplicate` those that came
    twice, `resyncs` how often the numbering began anew.
    """

    def __init__(
        self, max_packets: int = MAX_PACKETS, max_bytes: int = MAX_BYTES, max_delay: int = MAX_DELAY
    ) -> None:
        self.lost = 0
        self.late = 0
        self.duplicate = 0
        self.resyncs = 0
        self._max_packets = max_packets
        self._max_bytes = max_bytes
        self._max_delay = max_delay
        self._ssrc = -1
        self._next = 0
        self._probation = -1
        self._gap = False
        self._held: dict[int, tuple[RtpPacket, int]] = {}
        self._order: list[int] = []
        self._bytes = 0
        self._deadline: int | None = None
        self._given_up: dict[int, None] = {}

    def push(self, packet: RtpPacket, now: int) -> Ordered:
        """Take one packet; what is now in order comes back, at most `max_packets` and this one."""
        if packet.ssrc == self._ssrc:
            step = ((packet.sequence - self._next + 0x8000) & 0xFFFF) - 0x8000
            if step == 0 and not self._held:
                gap, self._gap = self._gap, False
                self._next += 1
                return [(packet, gap)]
            out = self.handle_timeout(now) if self._held else []
            return out + self._place(packet, now)
        first = self._ssrc < 0
        out = self._restart(packet)
        if first:
            self._gap = False
        return out + self.push(packet, now)

    def skip_to(self, packet: RtpPacket) -> Ordered:
        """What is missing before that packet is waited for no more; what was held back."""
        out = self.flush()
        step = ((packet.sequence - self._next + 0x8000) & 0xFFFF) - 0x8000
        if packet.ssrc == self._ssrc and step > 0:
            self._give_up(self._next, self._next + step)
            self._next += step
        return out

    def next_timeout(self) -> int | None:
        """When `handle_timeout` is due; None while nothing is held back."""
        return self._deadline

    def handle_timeout(self, now: int) -> Ordered:
        """Give up what was waited for too long; packets that are now in order."""
        if self._deadline is None or now < self._deadline:
            return []
        oldest = now - self._max_delay
        until = max(number for number, (_, arrival) in self._held.items() if arrival <= oldest)
        return self._release(until)

    def flush(self) -> Ordered:
        """All that is held back, at the end of the stream."""
        return self._release(self._order[-1]) if self._order else []

    def _place(self, packet: RtpPacket, now: int) -> Ordered:
        step = ((packet.sequence - self._next + 0x8000) & 0xFFFF) - 0x8000
        # RFC 3550 A.1: two packets in a row tell a new numbering from a stray one, the second wherever it is: of a step
        # back that is just too large to be misordering it would look like that.
        if packet.sequence == self._probation:
            return self._restart(packet) + self.push(packet, now)
        if not -MAX_MISORDER <= step <= MAX_DROPOUT:
            self._probation = (packet.sequence + 1) & 0xFFFF
            return []
        self._probation = -1
        number = self._next + step
        if step < 0 or number in self._held:
            if number in self._given_up:
                del self._given_up[number]
                self.late += 1
            else:
                self.duplicate += 1
            return []
        self._held[number] = packet, now
        insort(self._order, number)
        self._bytes += len(packet.payload)
        if self._deadline is None:
            self._deadline = now + self._max_delay
        if step == 0:
            return self._release(number)
        if len(self._held) > self._max_packets or self._bytes > self._max_bytes:
            return self._release(self._order[0])
        return []

    def _release(self, until: int) -> Ordered:
        """Everything up to `until`, and what follows it without a gap."""
        out: Ordered = []
        count = 0
        for number in self._order:
            if number > until and number != self._next:
                break
            count += 1
            if number != self._next:
                self._give_up(self._next, number)
            packet, _ = self._held.pop(number)
            self._bytes -= len(packet.payload)
            out.append((packet, self._gap))
            self._gap = False
            self._next = number + 1
        del self._order[:count]
        arrivals = [arrival for _, arrival in self._held.values()]
        self._deadline = min(arrivals) + self._max_delay if arrivals else None
        return out

    def _give_up(self, start: int, end: int) -> None:
        self.lost += end - start
        self._gap = True
        for number in range(max(start, end - MAX_MISORDER), end):
            self._given_up[number] = None
        while len(self._given_up) > MAX_MISORDER:
            del self._given_up[next(iter(self._given_up))]

    def _restart(self, packet: RtpPacket) -> Ordered:
        out = self.flush()
        if self._ssrc >= 0:
            self.resyncs += 1
        self._ssrc = packet.ssrc
        self._next = packet.sequence
        self._probation = -1
        self._given_up.clear()
        self._gap = True
        return out
