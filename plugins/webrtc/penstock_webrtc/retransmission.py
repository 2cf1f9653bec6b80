"""Packets that a reader may ask for again (RFC 4585 6.2.1, RFC 4588): where they are, and how often they are given."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from attrs import define, field

from penstock.media import NS
from penstock_formats.rtp.packet import unwrap_sequence

HISTORY_FRAMES = 128
"""How many frames can be asked for: 2 s of 60 pictures a second, which are some round trips around the world."""
MAX_REPEATED = 8192
"""Packets of which is known when they were last sent again."""
SHARE = 2
"""One byte in so many may be sent again. Losses alone need much less, but browsers also ask for what only came out of order:
with 2 ms of jitter for every fourth packet, as was seen."""
FLOOR = 32 << 10
"""Bytes a second that may be sent again whatever the stream's own rate, which may be a few packets a second."""
ALLOWANCE = 128 << 10
"""Bytes of retransmissions that may be saved up for a burst: a large key frame."""
NARROW_SHARE = 4
"""One byte in so many of what a link carries may be one that is sent again, while a queue stands there."""
NARROW_SECONDS = 1
"""For so long that may be saved up."""
REPEAT_NS = 10_000_000
"""What was asked for twice within this was asked for before the first answer could be there."""

Sent = tuple[int, int, Sequence[bytes], Sequence[int]]
"""The packets of one frame: the number of the first, the RTP time, then payloads that belong to all readers (or this
reader's own packets, encrypted), and how much later than the first the others are, where they are samples."""
Place = tuple[Sent, int]
"""A frame, and which of its packets."""


@define(eq=False)
class History:
    """What was sent of one track to one reader. Sequence numbers are unwrapped; times are monotonic ns.

    `place` tells where a packet of that number is, None where it is not any more: here, unless it is kept for all readers.
    """

    place: Callable[[int], Place | None] = field(init=False)
    _sent: deque[Sent] = field(factory=lambda: deque[Sent](maxlen=HISTORY_FRAMES))
    append: Callable[[Sent], None] = field(init=False)
    """It went out."""
    _allowance: float = ALLOWANCE
    _octets: int = 0
    _asked: int | None = None
    _repeated: dict[int, int] = field(factory=dict[int, int])

    def __attrs_post_init__(self) -> None:
        self.append = self._sent.append
        self.place = self._own

    @property
    def newest(self) -> int:
        """The RTP time of what went out last."""
        return self._sent[-1][1]

    def latest(self) -> Iterator[Sent]:
        """The frames, the newest first."""
        return reversed(self._sent)

    def clear(self) -> None:
        """What went out so far is of no use any more."""
        self._sent.clear()

    def find(
        self, sequence: int, now: int, octets: int, bound: float | None = None, delay: int = 0
    ) -> Place | None:
        """The frame that has the packet, and which of its packets it is; None where it is gone, or may not be given (again).

        `octets` are all that went out so far, by which what may be sent again grows; `bound` is bits a second that may be sent,
        and `delay` how long the first answer stands in a queue, in ns.
        """
        place = self.place(sequence)
        if place is None:
            return None
        (first, _, payloads, _), index = place
        number = first + index
        at = self._repeated.get(number)
        if at is not None and now - at < max(REPEAT_NS, delay):
            return None
        since = now - self._asked if self._asked is not None else 0
        more = (octets - self._octets) / SHARE + since * FLOOR / NS
        most: float = ALLOWANCE
        if bound is not None:
            narrow = bound / 8 / NARROW_SHARE
            more, most = min(more, since * narrow / NS), min(most, narrow * NARROW_SECONDS)
        self._allowance = min(most, self._allowance + more)
        self._octets, self._asked = octets, now
        size = len(payloads[index])
        if size > self._allowance:
            return None
        self._allowance -= size
        if len(self._repeated) >= MAX_REPEATED:
            self._repeated.clear()
        self._repeated[number] = now
        return place

    def _own(self, sequence: int) -> Place | None:
        entries = self._sent
        if not entries:
            return None
        number = unwrap_sequence(sequence, entries[-1][0])
        place = bisect_right(entries, number, key=lambda sent: sent[0]) - 1
        if place < 0 or number - entries[place][0] >= len(entries[place][2]):
            return None
        return entries[place], number - entries[place][0]
