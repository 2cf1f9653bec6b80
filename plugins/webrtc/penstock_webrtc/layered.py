"""A viewer that may get any of some layers: what it says of its link is heard, and the layer that it gets is changed by that."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from attrs import define, field

from penstock.errors import ProtocolViolation
from penstock.media import NS, CodecConfig, Track
from penstock.ring import Ring, Unit
from penstock.session import Session
from penstock.stream import Stream
from penstock_formats.transport_cc import TransportFeedback
from penstock_webrtc.choosing import Choosing
from penstock_webrtc.layers import Layer, Layers
from penstock_webrtc.pacer import Pacer
from penstock_webrtc.sender import Sender
from penstock_webrtc.units import PayloadUnit

FEEDBACK_NS = 20_000_000
"""Feedback is read so often at most, as each makes us go through all packets of late; libwebrtc sends it each 50 ms or more."""
BURST_NS = 4 * FEEDBACK_NS
"""What was held up together on its way is read all the same."""
RECENT_NS = NS
"""A smaller layer begins with its last key frame, where that is no older: a new one may not be had at once."""
RECENT_SECONDS = 0.5
"""And where all since then is no more than the link carries in so long: what is shown is late by that for some time."""


@define(eq=False)
class Layered:
    """`tracks` are the layers, of which `sender` sends one; `layers` is what the muxer knows of them, `ring` has what it wrote,
    and in `pacer`, if there is one, is what has not gone out yet. Times are monotonic ns.
    """

    stream: Stream
    session: Session
    tracks: Sequence[Track]
    sender: Sender
    choosing: Choosing
    layers: Layers | None = None
    ring: Ring | None = None
    pacer: Pacer | None = None
    _ids: frozenset[int] = field(init=False)
    _read_at: int = 0
    _fits: dict[int, tuple[CodecConfig | None, bool]] = field(
        factory=dict[int, tuple[CodecConfig | None, bool]]
    )

    def __attrs_post_init__(self) -> None:
        self._ids = frozenset(track.id for track in self.tracks)

    @property
    def track(self) -> Track:
        """What the viewer gets, or will get soon."""
        wanted = self.choosing.track
        return next((track for track in self.tracks if track.id == wanted), self.sender.played.track)

    def arrived(self, data: bytes, now: int) -> None:
        """Feedback about packets, as `TransportFeedback.parse` takes it."""
        read_at = max(self._read_at, now - BURST_NS)
        if read_at > now:
            return
        self._read_at = read_at + FEEDBACK_NS
        try:
            feedback = TransportFeedback.parse(data)
        except ProtocolViolation:
            self.session.count("bad_packets", 1)
            return
        held = self._held()
        self.choosing.told(feedback, self._alive(), now)
        self._decided(held)

    def tick(self, now: int) -> int:
        """Look at the time. Returns how many bytes of repetitions should go out, as a probe."""
        held = self._held()
        octets = self.choosing.tick(self._alive(), now)
        self._decided(held)
        return octets

    def passed(self, units: Iterable[Unit]) -> Iterator[Unit]:
        """What the viewer gets of `units`: of the layers one at a time, and at once what is needed to begin with that."""
        choosing = self.choosing
        for unit in units:
            if isinstance(unit, PayloadUnit) and unit.of in self._ids and unit.of != choosing.current:
                earlier = self._begun(unit)
                if earlier is None:
                    continue
                yield from earlier
            yield unit

    def _begun(self, unit: PayloadUnit) -> Sequence[PayloadUnit] | None:
        """What goes in front of one of a layer that was not sent so far, if the viewer gets that from here on."""
        track, choosing = unit.track, self.choosing
        if track is None or not self._plays(track):
            return None
        found: Sequence[PayloadUnit] = ()
        if choosing.held and choosing.wanted == unit.of and not unit.begins:
            found = self._group(unit)
        if not choosing.takes(found[0] if found else unit):
            return None
        if choosing.estimator.delay:
            self._let_go()
        self.session.info["layer"] = unit.of
        return found

    def _group(self, unit: PayloadUnit) -> Sequence[PayloadUnit]:
        """Those of its layer in front of `unit`, from the last key frame on, where that is not long ago."""
        found: list[PayloadUnit] = []
        room = RECENT_SECONDS * (self.choosing.estimator.rate or 0.0) / 8
        if (ring := self.ring) is None:
            return found
        after = False
        for index in reversed(range(ring.start, ring.end)):
            earlier = ring[index]
            if earlier.of != unit.of or not isinstance(earlier, PayloadUnit):
                continue
            if unit.time - earlier.time > RECENT_NS or room < 0:
                break
            if after:
                room -= earlier.size
                found.append(earlier)
                if earlier.begins:
                    return found[::-1]
            after = after or earlier is unit
        return ()

    def _alive(self) -> list[Layer]:
        """The layers that are sent, and that the peer takes."""
        layers = self.layers.alive if self.layers is not None else []
        return [layer for layer in layers if self._plays(layer.track)]

    def _plays(self, track: Track) -> bool:
        known = self._fits.get(track.id)
        if known is None or known[0] is not track.config:
            known = self._fits[track.id] = track.config, self.sender.played.fits(track)
        return known[1]

    def _held(self) -> bool:
        """Whether nothing is sent already, before it is thought over."""
        publisher = self.stream.publisher
        self.choosing.asks = publisher is not None and publisher.on_key_frame_request is not None
        return self.choosing.held

    def _let_go(self) -> None:
        """Nothing more goes out of what was sent so far, which is no loss of the link's."""
        self.choosing.estimator.settle(self.choosing.numbering.next)
        self.sender.history.clear()
        if self.pacer is not None:
            self.pacer.clear(self.sender.ssrc)

    def _decided(self, held: bool) -> None:
        """A layer begins with a key frame, which the stream asks for at most once a second. Before a smaller one nothing more
        goes out of the one before, not even again.
        """
        if self.choosing.held and not held:
            self._let_go()
        if self.choosing.wanted is not None:
            self.stream.request_key_frame(self.track)
        rate = self.choosing.estimator.rate
        self.session.info["estimate"] = None if rate is None else int(rate)
