"""Transport-wide numbers of what goes to a viewer, and what it says of them (draft-holmer-rmcat-transport-wide-cc-extensions)."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from attrs import define, field

from penstock.media import NS
from penstock_formats.rtp.packet import unwrap_sequence
from penstock_formats.transport_cc import REFERENCE_NS, TICK_NS, TransportFeedback
from penstock_webrtc.srtp import Srtp

MAX_SENT = 2048
"""Packets of which is known when they went out: a second of 20 Mbit/s, in which a viewer's word of them comes back."""
LEAST_NS = NS // 50
_ELEMENT = struct.Struct("!BHx")


class Arrival(NamedTuple):
    """What became of one packet: when it was `sent` by our clock, and `arrived` by the viewer's, None where it did not; in ns."""

    number: int
    sent: int
    arrived: int | None
    size: int


@define(eq=False)
class Numbering:
    """Numbers are unwrapped. `identifier` is the header extension's, as the peer has it; `clock` tells monotonic ns."""

    identifier: int
    clock: Callable[[], int]
    next: int = 0
    octets: int = 0
    """Bytes of all that was sent."""
    _sent: deque[tuple[int, int]] = field(factory=lambda: deque[tuple[int, int]](maxlen=MAX_SENT))
    _reference: int = 0
    _waiting: int | None = None

    def extensions(self, count: int, others: bytes = b"") -> list[bytes]:
        """What the next packets have between header and payload (RFC 8285 4.2), behind `others`, an extension of one word."""
        first = self.next
        self.next += count
        head = b"\xbe\xde\0\2" + others[4:] if others else b"\xbe\xde\0\1"
        pack, byte = _ELEMENT.pack, self.identifier << 4 | 1
        return [head + pack(byte, number & 0xFFFF) for number in range(first, first + count)]

    def seal(
        self,
        srtp: Srtp,
        ssrc: int,
        kinds: tuple[int, int],
        timestamp: int,
        payloads: Sequence[bytes],
        number: int,
        extension: bytes = b"",
    ) -> list[bytes]:
        """As `Sealer.seal`, for packets that go out now, each with its number in the whole transport."""
        (kind, last), final = kinds, len(payloads) - 1
        found: list[bytes] = []
        for n, own in enumerate(self.extensions(len(payloads), extension)):
            pair = kind, last if n == final else kind
            found += srtp.seal(ssrc, pair, timestamp, payloads[n : n + 1], number + n, own)
        self.sent(found)
        return found

    def sent(self, packets: Iterable[bytes]) -> None:
        """They go out now, in the order of their numbers."""
        now, note = self.clock(), self._sent.append
        for packet in packets:
            size = len(packet)
            self.octets += size
            note((now, size))

    def left(self, packets: Iterable[bytes], following: Iterable[bytes]) -> None:
        """They go out only now, of what was made before; `following` still waits. There may be others' packets among them."""
        now, sent = self.clock(), self._sent
        for packet in packets:
            if (number := self._number_of(packet)) is not None:
                sent[number - self.next] = now, len(packet)
        numbers = map(self._number_of, following)
        self._waiting = next((number for number in numbers if number is not None), None)

    def _number_of(self, packet: bytes) -> int | None:
        """The number in what `seal` made, if it is known; None for RTCP (RFC 5761 4) and what has another extension or none."""
        if 192 <= packet[1] <= 223 or not packet[0] & 0x10:
            return None
        end = 16 + 4 * packet[15]
        if packet[end - 4] != self.identifier << 4 | 1:
            return None
        number = unwrap_sequence(int.from_bytes(packet[end - 3 : end - 1], "big"), self.next)
        return number if self.next - len(self._sent) <= number < self.next else None

    def arrivals(self, feedback: TransportFeedback) -> list[Arrival]:
        """What the viewer says, as far as it is of packets that are known."""
        sent, end = self._sent, self.next
        start = end - len(sent)
        # 24 bits of 64 ms wrap after 12 days.
        wrapped = feedback.reference - self._reference & 0xFFFFFF
        self._reference += wrapped - (1 << 24) if wrapped & 0x800000 else wrapped
        at = self._reference * REFERENCE_NS
        found: list[Arrival] = []
        for number, step in enumerate(feedback.arrivals, unwrap_sequence(feedback.base, end)):
            if step is not None:
                at += step * TICK_NS
            waits = self._waiting is not None and number >= self._waiting and step is None
            if start <= number < end and not waits:
                time, size = sent[number - end]
                found.append(Arrival(number, time, at if step is not None else None, size))
        return found


def flow(arrivals: Iterable[Arrival]) -> float:
    """Bits a second at which packets got through: no more than they were sent at, however close together they came.

    0 where they were sent and came within too short a time to tell.
    """
    got = sorted((a.arrived, a.sent, a.size) for a in arrivals if a.arrived is not None)
    sent = [sent for _, sent, _ in got]
    began, ended = min(sent, default=0), max(sent, default=0)
    stretch = got[-1][0] - got[0][0] if got else 0
    if max(stretch, ended - began) < LEAST_NS:
        return 0.0
    # What counts is what lies between two moments: of the last to be sent, and of the first to come, only the time does.
    inward = sum(size for _, _, size in got[1:]) / max(1, stretch)
    if began == ended:
        return 8 * NS * inward
    return 8 * NS * min(inward, sum(size for _, at, size in got if at < ended) / (ended - began))
