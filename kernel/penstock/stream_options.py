"""What a stream takes from the config."""

from __future__ import annotations

from attrs import field, frozen

from penstock.ring import Bounds
from penstock.segment import SegmentBounds


@frozen
class StreamOptions:
    """The bounds of one stream, and what it lets its publishers and readers do."""

    bounds: Bounds = field(factory=Bounds)
    max_backlog: float = 5.0
    window: float | None = None
    reconnect_grace: float = 10.0
    override: bool = False
    max_readers: int = 0
    segments: SegmentBounds = field(factory=SegmentBounds)
