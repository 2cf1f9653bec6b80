"""How often keys may be asked for: what a caller's are wrapped with takes a millisecond or more to make, and anybody may call."""

from __future__ import annotations

from attrs import define

EACH = 64
"""Blocks of PBKDF2 for callers of one address: at once, and each second. A key of 16 bytes is one, a longer one two; so many
take some 7 % of a processor."""
ALL = 128
"""The same for callers of all addresses together."""
MAX_ADDRESSES = 1024
"""Addresses that are remembered: many more than `ALL` lets in within a second."""


@define
class Bucket:
    """`limit` blocks at most; it fills again within a second."""

    limit: int
    level: float
    filled: int

    def fill(self, now: int) -> float:
        """What is in it."""
        self.level = min(self.limit, self.level + self.limit * (now - self.filled) / 1e9)
        self.filled = now
        return self.level


class Allowance:
    """One for each listener; times are in ns."""

    def __init__(self) -> None:
        self._all = Bucket(ALL, ALL, 0)
        self._by_host: dict[object, Bucket] = {}

    def take(self, host: object, blocks: int, now: int) -> bool:
        """Whether keys of so many blocks may be made for `host` now."""
        bucket = self._by_host.pop(host, None) or Bucket(EACH, EACH, now)
        # The one that was used last is the last one that is forgotten.
        self._by_host[host] = bucket
        if len(self._by_host) > MAX_ADDRESSES:
            del self._by_host[next(iter(self._by_host))]
        # One address that asks for more than its share takes nothing of what is there for all.
        if bucket.fill(now) < blocks or self._all.fill(now) < blocks:
            return False
        bucket.level -= blocks
        self._all.level -= blocks
        return True
