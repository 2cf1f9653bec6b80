"""What has come and is not yet due, with holes where packets are missing (draft-sharabayko-srt-01 4.4 to 4.6)."""

from __future__ import annotations

from bisect import bisect_right

from penstock_srt.loss_list import LossList

_LOOK_BACK = 64
"""Holes before a packet that get its time: many more, and their time stays what it was."""


class ReceiveBuffer:
    """Payloads in a row from `head` on, a hole being None, with the time stamp (a whole number of us) when each is due.

    Stamps never go back. A hole has the stamp of the next packet that is there: until that is due, it may be filled.
    """

    def __init__(self, head: int, capacity: int) -> None:
        self.head = head
        self.capacity = capacity
        self.stamps: list[int] = []
        self.payloads: list[bytes | None] = []
        self.losses = LossList()
        self.last_stamp = 0
        """That of the last packet that came in order."""
        self.patience = 0
        """Ns after which what is missing is asked for: at once, unless it may yet come by another link."""
        self.reporter: int | None = None
        """The socket id of the link that brought something new last, which asks for what is missing."""

    @property
    def tail(self) -> int:
        """The sequence number after the last one that came."""
        return self.head + len(self.payloads)

    @property
    def acknowledged(self) -> int:
        """The first sequence number that is missing, or the next."""
        first = self.losses.first
        return self.tail if first is None else first

    def append(self, sequence: int, payload: bytes, stamp: int, now: int) -> int | None:
        """Put a packet after the last one, at or after the tail; returns how many are missing before it.

        None where there is no room for it.
        """
        missing = sequence - self.tail
        if missing + len(self.payloads) >= self.capacity:
            if self.payloads:
                return None
            # So much was lost, or left out by the sender, that nothing before is of use any more.
            self.head = sequence
        elif missing:
            self.losses.add(self.tail, sequence, now + self.patience)
            self.payloads += [None] * missing
            self.stamps += [stamp] * missing
        self.payloads.append(payload)
        self.stamps.append(stamp)
        return missing

    def misses(self, sequence: int) -> bool:
        """Whether `sequence` is a hole."""
        return sequence in self.losses

    def fill(self, sequence: int, payload: bytes, stamp: int) -> None:
        """Put a packet where it is missing."""
        at = sequence - self.head
        self.losses.remove(sequence, sequence)
        self.payloads[at] = payload
        if stamp >= self.stamps[at]:
            return
        begin = at
        while begin and self.payloads[begin - 1] is None:
            begin -= 1
            if at - begin > _LOOK_BACK:
                return
        if begin:
            stamp = max(stamp, self.stamps[begin - 1])
        self.stamps[begin : at + 1] = [stamp] * (at + 1 - begin)

    def deliver(self, limit: int, soon: int) -> tuple[list[bytes], int]:
        """Take out what is due up to the stamp `limit`: payloads, and how many were dropped between them (4.6); and what
        follows up to the stamp `soon`, as far as nothing is missing.
        """
        count = bisect_right(self.stamps, limit)
        missing = self.losses.first
        whole = len(self.stamps) if missing is None else missing - self.head
        if whole > count:
            count = bisect_right(self.stamps, soon, count, whole)
        due = [payload for payload in self.payloads[:count] if payload is not None]
        del self.payloads[:count], self.stamps[:count]
        self.head += count
        if len(due) < count:
            self.losses.remove(self.head - count, self.head - 1)
        return due, count - len(due)

    def give_up(self, first: int, last: int) -> int:
        """The sender has these no more; returns how many of them are missing. They are holes until the next is due."""
        return self.losses.remove(first, last)
