"""Packets that a reader may ask for again (RFC 4585 6.2.1, RFC 4588): where they are, and how often they are given."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence

from attrs import define, field

from penstock.media import NS

HISTORY_NS = 3 * NS
"""How long packets can be asked for: some round trips around the world."""
HISTORY_PACKETS = 8192
"""And how many: 3 s of 25 Mbit/s."""
SHARE = 5
"""One byte in so many may be sent again: a path that loses more is not helped by more of the same."""
ALLOWANCE = 128 << 10
"""Bytes of retransmissions that may be saved up for a burst: a large key frame."""
REPEAT_NS = 10_000_000
"""What was asked for twice within this was asked for before the first answer could be there."""


@define(eq=False)
class Sent:
    """The packets of one frame: `payloads` belong to all readers, or are this reader's own packets, encrypted."""

    first: int
    time: int
    timestamp: int
    payloads: Sequence[bytes]
    ticks: Sequence[int] = ()
    """How much later than the first the others are, where they are samples."""

    def timestamp_of(self, index: int) -> int:
        return self.timestamp + self.ticks[index - 1] if index and self.ticks else self.timestamp


@define(eq=False)
class History:
    """What was sent of one track to one reader. Sequence numbers are unwrapped; times are monotonic ns."""

    _sent: deque[Sent] = field(factory=lambda: deque[Sent]())
    _packets: int = 0
    _allowance: float = ALLOWANCE
    _repeated: dict[int, int] = field(factory=dict[int, int])

    def add(self, sent: Sent, size: int) -> None:
        """`size` bytes went out."""
        entries = self._sent
        entries.append(sent)
        self._packets += len(sent.payloads)
        while self._packets > HISTORY_PACKETS or sent.time - entries[0].time > HISTORY_NS:
            if len(entries) == 1:
                break
            self._packets -= len(entries.popleft().payloads)
        self._allowance = min(ALLOWANCE, self._allowance + size / SHARE)

    def find(self, sequence: int, now: int) -> tuple[Sent, int] | None:
        """The frame that has the packet, and which of its packets it is; None where it is gone, or may not be given (again)."""
        entries = self._sent
        if not entries:
            return None
        last = entries[-1].first
        number = last + ((sequence - last + 0x8000) & 0xFFFF) - 0x8000
        at = bisect_right(entries, number, key=lambda sent: sent.first) - 1
        if at < 0:
            return None
        sent = entries[at]
        index = number - sent.first
        if index >= len(sent.payloads) or now - self._repeated.get(number, -REPEAT_NS) < REPEAT_NS:
            return None
        size = len(sent.payloads[index])
        if size > self._allowance:
            return None
        self._allowance -= size
        if len(self._repeated) >= HISTORY_PACKETS:
            self._repeated.clear()
        self._repeated[number] = now
        return sent, index
