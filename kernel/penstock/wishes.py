"""What readers wish of who makes their tracks: a key frame, and a rate that they can take."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import structlog

from penstock.media import NS, Kind, Track

if TYPE_CHECKING:
    from penstock.stream import Stream

KEY_REQUEST_NS = NS
"""At most one key-frame request a second reaches the publisher."""


class Wishes:
    """Those of the readers of `stream`: see `Stream.request_key_frame` and `Stream.bitrate_hint`."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._asked: dict[int, int] = {}
        """When (monotonic ns) a key frame was last asked for, by the track's id."""

    def clear(self) -> None:
        """Another publisher was not asked for anything yet."""
        self._asked.clear()

    def key_frame(self, track: Track | None) -> None:
        stream = self._stream
        ask = stream.publisher.on_key_frame_request if stream.publisher is not None else None
        now = time.monotonic_ns()
        for t in (track,) if track is not None else stream.tracks:
            act: Callable[[], None] | None = None if ask is None else partial(ask, t)
            for derived in stream.derived.of((t,)):
                act = derived.on_key_frame_request or (None if ask is None else partial(ask, derived.source))
            asked = self._asked.get(t.id)
            if act is not None and t.kind is Kind.VIDEO and (asked is None or now - asked >= KEY_REQUEST_NS):
                self._asked[t.id] = now
                self._tell(act)

    def bitrate(self, track: Track, bits_per_second: int) -> None:
        publisher = self._stream.publisher
        if publisher is not None and publisher.on_bitrate_hint is not None:
            self._tell(partial(publisher.on_bitrate_hint, track, bits_per_second))

    def _tell(self, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception:  # noqa: BLE001 - the publisher's bug is not the reader's
            structlog.get_logger("penstock").exception(
                "a publisher failed at a reader's wish", path=self._stream.path
            )
