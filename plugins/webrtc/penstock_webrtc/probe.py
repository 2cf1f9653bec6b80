"""Whether a link carries more than what is sent: repetitions of what went out are added for a moment, and watched."""

from __future__ import annotations

from attrs import define, field

from penstock.media import NS
from penstock_webrtc.numbering import Arrival, flow

PROBE_NS = NS // 10
"""How long: what is too much for the link waits there as long again, and nobody sees that."""
TICK_NS = 20_000_000
"""About how often some of it goes out."""
STEP = 2.0
"""At most so many times the estimate: the next probe goes on from there."""
GROWTH_NS = 10_000_000
"""A probe of 0.1 s at so much more than the link carries that it matters makes a queue of more than that."""
SOME_LOSS = 0.1
GOOD = 0.85
"""Of what was sent, where all of it gets through: a probe is short, and arrivals are told in steps."""
WAIT_NS = NS
"""How long the viewer's word of it is waited for."""
FIRST_NS = 2 * NS
LAST_NS = 16 * NS
"""Between two probes: twice as long after each that failed."""
TRUST_NS = 10 * NS
"""Who falls back before that had risen in error."""
MOST = 32 << 10
"""Bytes at once."""


@define(eq=False)
class Prober:
    """One viewer's. Times are monotonic ns, rates bits a second; `octets` and `number` are those of its `Numbering`."""

    rate: float = 0.0
    """What is being tried; 0 where nothing is."""
    _next_at: int = 0
    _backoff: int = FIRST_NS
    _rose_at: int = -TRUST_NS
    _began: int = 0
    _octets: int = 0
    _first: int = 0
    _last: int | None = None
    _heard: dict[int, Arrival] = field(factory=dict[int, Arrival])

    @property
    def sending(self) -> bool:
        """Whether `due` is to be asked often."""
        return self.rate > 0 and self._last is None

    def ready(self, now: int) -> bool:
        """Whether it is time to try more."""
        return not self.rate and now >= self._next_at

    def begin(self, now: int, rate: float, octets: int, number: int) -> None:
        """Try `rate`, of all that is sent, from here on."""
        self.rate, self._began, self._octets, self._first = rate, now, octets, number
        self._last = None
        self._heard.clear()

    def due(self, now: int, octets: int, number: int) -> int:
        """Bytes of repetitions to be sent now."""
        elapsed = now - self._began
        if self.rate and self._last is None and elapsed >= PROBE_NS:
            self._last = number - 1
        if self.rate and self._last is not None:
            if elapsed >= PROBE_NS + WAIT_NS:
                self._failed(now)
            return 0
        wanted = self.rate * (elapsed + TICK_NS) / NS / 8 - (octets - self._octets)
        return max(0, min(MOST, int(wanted)))

    def told(self, arrivals: list[Arrival], now: int) -> float | None:
        """What the viewer says; the rate that got through, once it has said all of the probe."""
        last = self._last
        if not self.rate:
            return None
        for arrival in arrivals:
            if arrival.number >= self._first and (last is None or arrival.number <= last):
                self._heard[arrival.number] = arrival
        if last is None or not any(arrival.number >= last for arrival in arrivals):
            return None
        # Without the last to be told of: what came just behind them was not told of yet.
        found = max(flow(self._heard.values()), self._unhindered())
        whole = sum(arrival.size for arrival in self._heard.values()) * 8 * NS >= GOOD * self.rate * PROBE_NS
        if found >= GOOD * self.rate:
            self.rate, self._next_at = 0.0, now
        elif not whole:
            # It was not told of what was sent, which says nothing of the link.
            self.rate, self._next_at = 0.0, now + FIRST_NS
        else:
            self._failed(now)
        self._heard.clear()
        return found

    def _unhindered(self) -> float:
        """The rate that was sent, where no queue grew by it: that packets came in clumps is not the link's fault. Else 0."""
        told = sorted(self._heard.items())
        got = [arrival for _, arrival in told if arrival.arrived is not None]
        half = len(got) // 2
        if not half or len(told) - len(got) > SOME_LOSS * len(told):
            return 0.0
        delays = [arrival.arrived - arrival.sent for arrival in got if arrival.arrived is not None]
        if min(delays[half:]) - min(delays[:half]) > GROWTH_NS:
            return 0.0
        span = got[-1].sent - got[0].sent + TICK_NS
        return min(self.rate, 8 * NS * sum(arrival.size for arrival in got) / span)

    def rose(self, now: int) -> None:
        """The viewer gets more from now on."""
        self._rose_at = now

    def fell(self, now: int) -> None:
        """It gets less: what is tried is too much, and soon after it rose that was too much as well."""
        self._backoff = min(LAST_NS, 2 * self._backoff) if now - self._rose_at < TRUST_NS else FIRST_NS
        self.rate, self._next_at = 0.0, now + self._backoff

    def _failed(self, now: int) -> None:
        self.rate, self._next_at = 0.0, now + self._backoff
        self._backoff = min(LAST_NS, 2 * self._backoff)
