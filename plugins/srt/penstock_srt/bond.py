"""Bonding: several connections that carry one stream, all at once or one at a time (draft-sharabayko-srt-01 3.2.1.4)."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import evolve, frozen

from penstock_srt.connection import Connection
from penstock_srt.extension import GroupType
from penstock_srt.send_buffer import Run, SendBuffer
from penstock_srt.settings import MS, Settings
from penstock_srt.statistics import Statistics

MAX_LINKS = 8
"""Connections of one group."""
UNSTABLE = 300 * MS
"""Silence on the link in use after which another one is used: acknowledgements come each 10 ms."""
IDLE = 2500 * MS
"""Silence on a link not in use after which it is not chosen: keep-alives come each second."""


class Bond:
    """One peer's `links`, the first one first. All of them have one clock, one row of sequence numbers and one buffer
    for what comes: whichever link gives out what is due.

    What is to be sent is given to the bond, which says what goes on which link.
    """

    def __init__(self, type: GroupType, head: Connection, weight: int, settings: Settings) -> None:
        self.type = type
        self.links: list[Connection] = []
        self._weights: dict[Connection, int] = {}
        self._active = head
        self._active_since = 0
        self._doubted: dict[Connection, int] = {}
        self._kept = SendBuffer(head.next_sequence, settings.window)
        self._next = head.next_sequence
        self._shared = head
        self._gone = Statistics()
        self.join(head, weight)

    @property
    def open(self) -> list[Connection]:
        """The links that are not over."""
        return [link for link in self.links if not link.closed]

    @property
    def next_sequence(self) -> int:
        """The next packet that we send, a whole number."""
        return self._next

    @property
    def full(self) -> bool:
        """Whether it has as many links as it may."""
        return len(self.open) >= MAX_LINKS

    @property
    def statistics(self) -> Statistics:
        """Counts and rates of all links together, those included that are over; delays are those of the link in use, and
        the buffer of what came is shared by all.
        """
        used = next((link for link in (self._active, *self.links) if not link.closed), None)
        whole = Statistics() if used is None else evolve(used.statistics)
        for link in self.links:
            if link is not used:
                whole.add(link.statistics)
        whole.add(self._gone)
        return whole

    def join(self, link: Connection, weight: int) -> None:
        """One link more; those that are over are forgotten."""
        for gone in self.links:
            if gone.closed:
                self._gone.add(gone.statistics)
                self._weights.pop(gone, None)
                self._doubted.pop(gone, None)
        self.links = [*self.open, link]
        self._weights[link] = weight
        link.share(self._shared, self._next)

    def send(self, payloads: Sequence[bytes], now: int) -> list[tuple[Connection, list[bytes]]]:
        """The datagrams of `payloads`, and by which link they go."""
        first = self._next
        self._next += len(payloads)
        if self.type is GroupType.BROADCAST:
            return [(link, link.send(payloads, now)) for link in self.open]
        chosen, kept = self._choose(now), self._kept
        kept.acknowledge(max(kept.first, self._active.first_unacknowledged))
        sent: list[tuple[Connection, list[bytes]]] = []
        if chosen is not self._active:
            # What the old link has not brought over goes once more, as it was stamped then.
            self._active = chosen
            chosen.resume(kept.first)
            sent += [(chosen, chosen.send(run.payloads, run.sent)) for run in kept.runs()]
        kept.append(Run(first, 0, now, 0, payloads))
        sent.append((chosen, chosen.send(payloads, now)))
        return sent

    def _choose(self, now: int) -> Connection:
        """The link of most weight that is alive; the one in use where none is."""
        active = self._active
        oldest = active.oldest_unacknowledged
        if oldest is not None and now - max(active.heard, self._active_since, oldest) >= UNSTABLE:
            self._doubted[active] = now
        alive = [
            link
            for link in self.open
            if now - link.heard < IDLE and link.heard >= self._doubted.get(link, link.heard)
        ]
        chosen = max(alive, key=lambda link: self._weights[link], default=active)
        if chosen is not active:
            self._active_since = now
        return chosen


@frozen
class Joined:
    """`connection` is one more link of `bond`."""

    connection: Connection
    bond: Bond
