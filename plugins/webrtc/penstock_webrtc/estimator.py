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
NEWEST_NS = NS // 5
"""What came last, which is enough where the queue is a long one, or full: each picture more that is sent makes it longer."""
NEWEST_PACKETS = 4
PICTURE_NS = 25_000_000
"""No picture is sent for so long, but where it is spread out on purpose."""
LEAST_NS = NS // 5
LEAST_PACKETS = 6
STANDING_NS = 30_000_000
"""A delay that every packet of the window had above the least there was: a queue, and not what one picture makes by itself."""
LONG_NS = 80_000_000
"""The same for those that came last."""
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
    delay: int = 0
    """How long the queue is that stands in front of it, in ns; 0 where none does."""
    _settled: int = 0
    """The number of the first packet that says something of what is sent now."""
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
            if arrival.number < self._settled:
                continue
            # What was late was told of as lost before.
            if arrival.arrived is not None or arrival.number not in window:
                window[arrival.number] = arrival
            if arrival.arrived is not None:
                self._delayed(arrival.arrived - arrival.sent, arrival.sent)
        heavy = self._forget()
        self._judge(heavy=heavy)

    def settle(self, number: int) -> None:
        """Less is sent from packet `number` on: those before have said what they can, and what queued up drains."""
        self._settled = number
        self._window.clear()
        self._counted = self._missing = self._counted_from = 0
        self.bounded = False

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
        window = [arrival for _, arrival in sorted(self._window.items())]
        if self._least is None or not window:
            return
        newest = _newest(window)
        delays = self._delays(newest)
        least = min((delay for _, delay in delays), default=0)
        self.delay = least if least > STANDING_NS else 0
        if len(window) < NEWEST_PACKETS:
            return
        carried = flow(window)
        if self.delay and len(delays) >= NEWEST_PACKETS and (_overflows(newest) or _stands(delays, LONG_NS)):
            self.bounded, carried = True, flow(newest)
        elif _span(window) >= LEAST_NS and len(window) >= LEAST_PACKETS:
            delays = self._delays(window)
            full = len(window) - len(delays) > SOME_LOSS * len(window)
            self.bounded = heavy or _stands(delays, STANDING_NS, full=full)
        if self.bounded:
            self.rate = SAFE * carried
        else:
            self.raised(carried)

    def _delays(self, arrivals: Iterable[Arrival]) -> list[tuple[int, int]]:
        """When each was sent, and how much longer it took than the one that took least."""
        least = self._least[1] if self._least is not None else 0
        return [(a.sent, a.arrived - a.sent - least) for a in arrivals if a.arrived is not None]


def _newest(window: list[Arrival]) -> list[Arrival]:
    """Those that came last, and what was lost among them."""
    last = max((a.arrived for a in window if a.arrived is not None), default=0)
    first = next(
        (n for n, a in enumerate(window) if a.arrived is not None and last - a.arrived < NEWEST_NS), 0
    )
    return window[first:]


def _span(window: list[Arrival]) -> int:
    """The time in which they were sent, or came."""
    came = [a.arrived for a in window if a.arrived is not None]
    return max(window[-1].sent - window[0].sent, max(came, default=0) - min(came, default=0))


def _overflows(newest: list[Arrival]) -> bool:
    """Whether too much was lost, and not of one large picture alone."""
    lost = [a.sent for a in newest if a.arrived is None]
    return len(lost) > HEAVY_LOSS * len(newest) and max(lost) - min(lost) > PICTURE_NS


def _stands(delays: list[tuple[int, int]], least: int, *, full: bool = False) -> bool:
    """Whether a queue stands that grows from what was sent earlier to what was later, or is full."""
    middle = (delays[0][0] + delays[-1][0]) // 2 if delays else 0
    early = min((delay for sent, delay in delays if sent <= middle), default=0)
    late = min((delay for sent, delay in delays if sent > middle), default=0)
    return min(early, late) > least and (late > early + GROWTH_NS or full)
