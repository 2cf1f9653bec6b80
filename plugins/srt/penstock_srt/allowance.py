"""How often keys may be asked for: what a caller's are wrapped with takes a millisecond or more to make, and anybody may call."""

from __future__ import annotations

from attrs import define

from penstock.places import site_of

EACH = 64
"""Blocks of PBKDF2 for callers of one address, or one network of IPv6: at once, and each second. A key of 16 bytes is one, a
longer one two; so many take some 7 % of a processor."""
ALL = 128
"""The same for callers of all addresses together."""
FEW = 4
"""Who had no more of late may have what there is: the last half of `ALL` is not for those who had, or a few of them would keep
everybody else out."""
MAX_SITES = 1024
"""Sites that are remembered: many more than `ALL` lets in within a second."""


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
        self._by_site: dict[str, Bucket] = {}

    def allows(self, host: str, blocks: int, now: int) -> bool:
        """Whether keys of so many blocks may be made for `host` now."""
        own, everybody = self._bucket(host, now).fill(now), self._all.fill(now)
        # One that asks for more than its share takes nothing of what is there for all.
        return own >= blocks and everybody >= (blocks if own >= EACH - FEW else ALL // 2 + blocks)

    def take(self, host: str, blocks: int, now: int) -> bool:
        """As `allows`, and they are made."""
        if not self.allows(host, blocks, now):
            return False
        site, bucket = site_of(host), self._bucket(host, now)
        # The one that was used last is the last one that is forgotten.
        self._by_site.pop(site, None)
        self._by_site[site] = bucket
        if len(self._by_site) > MAX_SITES:
            del self._by_site[next(iter(self._by_site))]
        bucket.level -= blocks
        self._all.level -= blocks
        return True

    def _bucket(self, host: str, now: int) -> Bucket:
        return self._by_site.get(site_of(host)) or Bucket(EACH, EACH, now)
