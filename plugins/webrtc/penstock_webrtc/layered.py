"""A viewer that may get any of some layers: what it says of its link is heard, and the layer that it gets is changed by that."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence

from attrs import define, field

from penstock.errors import ProtocolViolation
from penstock.media import CodecConfig, Track
from penstock.session import Session
from penstock.stream import Stream
from penstock_formats.transport_cc import TransportFeedback
from penstock_webrtc.choosing import Choosing
from penstock_webrtc.layers import Layer, Layers
from penstock_webrtc.muxer import PayloadUnit
from penstock_webrtc.sender import Sender

FEEDBACK_NS = 20_000_000
"""Feedback is read so often at most, as each makes us go through all packets of late; libwebrtc sends it each 50 ms or more."""
BURST_NS = 4 * FEEDBACK_NS
"""What was held up together on its way is read all the same."""


@define(eq=False)
class Layered:
    """`tracks` are the layers, of which `sender` sends one; `layers` is what the muxer knows of them. Times are monotonic ns."""

    stream: Stream
    session: Session
    tracks: Sequence[Track]
    sender: Sender
    choosing: Choosing
    layers: Layers | None = None
    _read_at: int = 0
    _fits: dict[int, tuple[CodecConfig | None, bool]] = field(
        factory=dict[int, tuple[CodecConfig | None, bool]]
    )

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
        self.choosing.told(feedback, self._alive(), now)
        self._ask()

    def tick(self, now: int) -> int:
        """Look at the time. Returns how many bytes of repetitions should go out, as a probe."""
        octets = self.choosing.tick(self._alive(), now)
        self._ask()
        return octets

    def begun(self, unit: PayloadUnit, senders: MutableMapping[int, Sender]) -> Sender | None:
        """Who sends one of a track that was not sent so far, if the viewer gets that from here on: `senders` has it then."""
        before = self.choosing.current
        track = unit.track
        if unit.of is None or track is None or not self._plays(track) or not self.choosing.takes(unit):
            return None
        if before is not None:
            del senders[before]
        senders[unit.of] = self.sender
        self.session.info["layer"] = unit.of
        return self.sender

    def _alive(self) -> list[Layer]:
        """The layers that are sent, and that the peer takes."""
        layers = self.layers.alive if self.layers is not None else []
        return [layer for layer in layers if self._plays(layer.track)]

    def _plays(self, track: Track) -> bool:
        known = self._fits.get(track.id)
        if known is None or known[0] is not track.config:
            known = self._fits[track.id] = track.config, self.sender.played.fits(track)
        return known[1]

    def _ask(self) -> None:
        """A layer begins with a key frame, which the stream asks for at most once a second."""
        if self.choosing.wanted is not None:
            self.stream.request_key_frame(self.track)
        rate = self.choosing.estimator.rate
        self.session.info["estimate"] = None if rate is None else int(rate)
