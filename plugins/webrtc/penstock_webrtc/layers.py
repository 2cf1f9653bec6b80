"""The alternatives of a group as they are at the moment: which are sent, how large their pictures are, and at what rate."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attrs import define, field

from penstock.media import NS, CodecConfig, Track
from penstock.registry import INFO, Registry, VideoInfo
from penstock_webrtc.rate import Rate

ALIVE_NS = 2 * NS
"""After so long without a picture a layer is not sent any more: browsers stop the largest where they lack bandwidth."""


@define(eq=False)
class Layer:
    """One of them. Times are dts."""

    track: Track
    pixels: int = 0
    seen: int = 0
    _config: CodecConfig | None = None
    _rate: Rate = field(factory=Rate)

    def frame(self, registry: Registry, track: Track, payloads: Sequence[bytes], time: int) -> None:
        """One of its pictures."""
        if time - self.seen > ALIVE_NS:
            self._rate = Rate()
        self.track, self.seen = track, time
        if track.config is not self._config:
            self._config, self.pixels = track.config, _pixels(registry, track)
        self._rate.frame(payloads, time)

    @property
    def rate(self) -> float:
        """Bits a second."""
        return self._rate.value


class Layers:
    """What a muxer writes of one group."""

    def __init__(self, registry: Registry, tracks: Iterable[Track]) -> None:
        self._registry = registry
        self._layers = {track.id: Layer(track) for track in tracks}
        self._time = 0

    def __contains__(self, track_id: int) -> bool:
        return track_id in self._layers

    def frame(self, track: Track, payloads: Sequence[bytes], time: int) -> None:
        """A picture was written."""
        layer = self._layers.get(track.id)
        if layer is not None:
            self._time = max(self._time, time)
            layer.frame(self._registry, track, payloads, time)

    @property
    def alive(self) -> list[Layer]:
        """Those that are sent, the best last."""
        found = [
            layer for layer in self._layers.values() if layer.seen and self._time - layer.seen <= ALIVE_NS
        ]
        return sorted(found, key=lambda layer: (layer.pixels, layer.rate))


def _pixels(registry: Registry, track: Track) -> int:
    info = registry.get(track.codec, INFO)
    described = info.describe(track.config) if info is not None and track.config is not None else None
    return described.width * described.height if isinstance(described, VideoInfo) else 0
