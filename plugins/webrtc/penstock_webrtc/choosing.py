"""Which of a group's tracks one viewer gets: the best for which there is room on its link (docs/adr/0031)."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define, field

from penstock.media import NS
from penstock_formats.transport_cc import TransportFeedback
from penstock_webrtc.estimator import LONG_NS, SAFE, Estimator
from penstock_webrtc.layers import Layer
from penstock_webrtc.numbering import Numbering
from penstock_webrtc.probe import STEP, Prober
from penstock_webrtc.units import PayloadUnit

ROOM = 1.15
"""What must be free above a layer's rate before the viewer gets it: rates go up and down."""
MARGIN = 1.3
"""Of that, so much is tried: what a probe finds is less than what it was."""
DRAIN = 0.85
"""Of what the link carries, while a queue stands there that must not overflow."""
BACK_NS = 2 * NS
"""What is earlier by less is of another layer, whose last key frame may be as old as `layered.RECENT_NS`, and late as well."""
STEP_NS = NS // 1000
"""Between two pictures of which the second is no later than the first, as may be where a layer begins."""


@define(eq=False)
class Choosing:
    """`current` is the id of the track that is sent, None before the first, and between two of which the first was too much;
    `wanted` that of the one that is to follow at its next key frame. Times are monotonic ns.
    """

    numbering: Numbering
    repairs: bool
    """Whether anything can be sent again, as a probe is made of that."""
    asks: bool = True
    """Whether the publisher can be asked for key frames: else the next may be far off, and a track goes on until then."""
    estimator: Estimator = field(factory=Estimator)
    prober: Prober = field(factory=Prober)
    current: int | None = None
    wanted: int | None = None
    _shown: int = 0

    @property
    def track(self) -> int | None:
        """What it gets, or will get soon."""
        return self.current if self.wanted is None else self.wanted

    @property
    def held(self) -> bool:
        """Whether nothing is sent until the wanted track begins."""
        return self.current is None and self.wanted is not None

    @property
    def bound(self) -> float | None:
        """Bits a second that may be sent at the moment, as a queue stands in front of the link; None where none does."""
        return (
            None if not self.estimator.delay or self.estimator.rate is None else DRAIN * self.estimator.rate
        )

    def told(self, feedback: TransportFeedback, layers: Sequence[Layer], now: int) -> None:
        """What the viewer says of its packets."""
        arrivals = self.numbering.arrivals(feedback)
        self.estimator.told(arrivals)
        found = self.prober.told(arrivals, now)
        if found is not None:
            self.estimator.raised(SAFE * found)
        self._decide(layers, now)

    def tick(self, layers: Sequence[Layer], now: int) -> int:
        """Look at the time. Returns how many bytes of repetitions should go out, as a probe."""
        self._decide(layers, now)
        prober, numbering, rate = self.prober, self.numbering, self.estimator.rate
        above = layers[self._place(layers) + 1 :]
        calm = self.wanted is None and not self.estimator.bounded and self.estimator.delay < LONG_NS
        if rate is not None and above and calm and self.current is not None and prober.ready(now):
            needed = ROOM * above[0].rate
            if not self.repairs:
                # It can only be tried out.
                self.estimator.raised(needed)
                self._decide(layers, now)
                return 0
            prober.begin(now, min(STEP * rate, MARGIN * needed), numbering.octets, numbering.next)
        return prober.due(now, numbering.octets, numbering.next)

    def takes(self, unit: PayloadUnit) -> bool:
        """Whether the viewer gets that picture's track from here on."""
        begins = self.current is None and self.wanted is None
        if not unit.begins or not (begins or unit.of == self.wanted):
            return False
        self.current, self.wanted = unit.of, None
        return True

    def shown(self, pts: int) -> int:
        """When a picture that is to be shown at `pts` is to be shown by this viewer: after the one before."""
        if -BACK_NS < pts - self._shown <= 0:
            pts = self._shown + STEP_NS
        self._shown = pts
        return pts

    def _place(self, layers: Sequence[Layer]) -> int:
        track = self.track
        return next((n for n, layer in enumerate(layers) if layer.track.id == track), -1)

    def _decide(self, layers: Sequence[Layer], now: int) -> None:
        if not layers or self.track is None:
            return
        place, rate = self._place(layers), self.estimator.rate
        best = 0
        for n, layer in enumerate(layers):
            if rate is None or layer.rate * (ROOM if n > place else 1) <= rate:
                best = n
        if place >= 0:
            if best == place or (best < place and not self.estimator.bounded):
                return
            if best > place:
                self.prober.rose(now)
            else:
                self.prober.fell(now)
                self.estimator.settle(self.numbering.next)
        found = layers[best].track.id
        self.wanted = found if found != self.current else None
        if best < place and self.wanted is not None and self.asks:
            # Whatever more of it went out would stand in the queue, in front of what the link carries.
            self.current = None
