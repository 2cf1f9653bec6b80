"""What a viewer's link carries, by what its packets do there (docs/adr/0031): while a queue stands in front of the link, what
arrives in a second is what it carries in a second.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import define, field

from penstock.media import NS
from penstock_webrtc.numbering import Arrival, flow

WINDOW_NS = 6 * NS // 10
"""What is looked at: some 15 pictures, so that one large one is no queue."""
LEAST_NS = NS // 5
LEAST_PACKETS = 6
STANDING_NS = 30_000_000
"""A delay that every packet of the window had above the least there was: a queue, and not what one picture makes by itself."""
GROWTH_NS = 5_000_000
SOME_LOSS = 0.02
"""Where a queue stands as well, it is full."""
HEAVY_LOSS = 0.1
"""What is taken for a link without a queue (draft-ietf-rmcat-gcc-02 6); less than that is repaired."""
LOSS_NS = NS
LOSS_PACKETS = 150
"""Over so much at least, since a few packets may be lost by chance."""
SAFE = 0.95
"""Of what was seen to get through: what was queued drains."""
BASE_NS = 5 * NS
"""How long the least delay holds at least, and twice that at most: clocks drift, and ways change."""


@define(eq=False)
class Estimator:
    """Times are those of `Arrival`. `rate` is in bits a second, and None until the link has shown a bound."""

    rate: float | None = None
    bounded: bool = False
    """Whether more is sent at the moment than the link carries."""
    _window: dict[int, Arrival] = field(factory=dict[int, Arrival])
    _least: tuple[int, int] | None = None
    """The least delay of this span of `BASE_NS`, and of this and the one before."""
    _since: int = 0
    _counted: int = 0
    _missing: int = 0
    _counted_from: int = 0

    def told(self, arrivals: Iterable[Arrival]) -> None:
        """What the viewer says of packets, which come to be told of in about the order in which they were sent."""
        window = self._window
        for arrival in arrivals:
            # What was late was told of as lost before.
            if arrival.arrived is not None or arrival.number not in window:
                window[arrival.number] = arrival
            if arrival.arrived is not None:
                self._delayed(arrival.arrived - arrival.sent, arrival.sent)
        heavy = self._forget()
        self._judge(heavy=heavy)

    def raised(self, rate: float) -> None:
        """So much got through besides, as a probe has shown."""
        if self.rate is not None:
            self.rate = max(self.rate, rate)

    def _delayed(self, delay: int, sent: int) -> None:
        if self._least is None:
            self._least, self._since = (delay, delay), sent
            return
        now, both = self._least
        if sent - self._since > BASE_NS:
            self._since = sent
            now, both = delay, now
        self._least = min(now, delay), min(both, delay)

    def _forget(self) -> bool:
        """Let go of what is too old by either clock, and count it. Returns whether too much of late was lost."""
        window = self._window
        sent = max((a.sent for a in window.values()), default=0)
        arrived = max((a.arrived for a in window.values() if a.arrived is not None), default=0)
        last = max(
            (
                n
                for n, a in window.items()
                if sent - a.sent > WINDOW_NS or (a.arrived is not None and arrived - a.arrived > WINDOW_NS)
            ),
            default=-1,
        )
        for number in [n for n in window if n <= last]:
            self._counted += 1
            self._missing += window.pop(number).arrived is None
        self._counted_from = self._counted_from or sent
        if self._counted < LOSS_PACKETS or sent - self._counted_from < LOSS_NS:
            return False
        heavy = self._missing > HEAVY_LOSS * self._counted
        self._counted = self._missing = 0
        self._counted_from = sent
        return heavy

    def _judge(self, *, heavy: bool) -> None:
        self.bounded = False
        window = sorted(self._window.items())
        got = [(a.sent, a.arrived - a.sent, a.arrived) for _, a in window if a.arrived is not None]
        if len(window) < LEAST_PACKETS or len(got) < 2 or self._least is None:
            return
        stretch = max(at for _, _, at in got) - min(at for _, _, at in got)
        if max(stretch, window[-1][1].sent - window[0][1].sent) < LEAST_NS:
            return
        half = len(got) // 2
        early = min(delay for _, delay, _ in got[:half]) - self._least[1]
        late = min(delay for _, delay, _ in got[half:]) - self._least[1]
        full = len(window) - len(got) > SOME_LOSS * len(window)
        stands = min(early, late) > STANDING_NS and (late > early + GROWTH_NS or full)
        carried = flow(a for _, a in window)
        if stands or heavy:
            self.bounded = True
            self.rate = SAFE * carried
        else:
            self.raised(carried)
