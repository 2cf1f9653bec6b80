"""When packets are due: time stamps of the peer's clock as times of ours (draft-sharabayko-srt-01 4.5, 4.7)."""

from __future__ import annotations

from penstock_srt.settings import MS

WRAP = 1 << 32
"""Time stamps are us modulo this: 71 minutes and 35 seconds."""
_HALF = WRAP // 2
DRIFT_SAMPLES = 1000
"""Measurements of one correction: ten seconds while data flows."""
MAX_DRIFT = 5 * MS
"""What is left of the drift's average is moved into the base beyond this, as libsrt does."""


def unwrap(stamp: int, near: int) -> int:
    """The whole number of us that `stamp` of the wire is, near another such number."""
    return near + ((stamp - near + _HALF) % WRAP) - _HALF


class TimeBase:
    """`base` is the time in ns of our clock when the peer's was 0, one way's delay included."""

    def __init__(self, base: int, latency: int) -> None:
        self.base = base
        self.latency = latency
        self.drift = 0
        self._sum = 0
        self._count = 0
        self._first_rtt: int | None = None

    def limit(self, now: int) -> int:
        """Packets of this time stamp (a whole number) and before are due at `now`."""
        return (now - self.base - self.latency) // 1000

    def due(self, stamp: int) -> int:
        """When a packet of this stamp (a whole number) is due."""
        return self.base + self.latency + stamp * 1000

    def stamp(self, now: int) -> int:
        """The stamp of a packet that comes at `now` and was no longer on its way than the first."""
        return (now - self.base) // 1000

    def sample(self, now: int, stamp: int, rtt: int) -> None:
        """An ACKACK of `stamp` (of the wire) came `now`: how far the clocks have gone apart, less what the way changed."""
        if self._first_rtt is None:
            self._first_rtt = rtt
        near = self.stamp(now)
        self._sum += (near - unwrap(stamp, near)) * 1000 - (rtt - self._first_rtt) // 2
        self._count += 1
        if self._count < DRIFT_SAMPLES:
            return
        self.drift = self._sum // self._count
        self._sum = self._count = 0
        if abs(self.drift) > MAX_DRIFT:
            excess = self.drift - (MAX_DRIFT if self.drift > 0 else -MAX_DRIFT)
            self.base += excess
            self.drift -= excess
