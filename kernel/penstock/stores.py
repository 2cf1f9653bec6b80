"""The segment stores of one stream, one for each format that is asked for."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from typing import TYPE_CHECKING

import structlog

from penstock.derived import DerivedTrack, in_order
from penstock.media import Event, Track, TrackAdded
from penstock.segment import SegmentFormat
from penstock.segments import SegmentStore

if TYPE_CHECKING:
    from penstock.stream import Stream

REST_NS = 100_000_000
"""The longest that a publisher's frames lie unread while nobody waits for any of them, not even for a part."""


class SegmentStores:
    """Those of `stream`."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.known: dict[Hashable, SegmentStore] = {}
        """By their formats' keys."""
        self._numbers: dict[Hashable, int] = {}
        """From which a store that is made anew has to count: names do not come again."""

    def __iter__(self) -> Iterator[SegmentStore]:
        return iter(tuple(self.known.values()))

    def __len__(self) -> int:
        return len(self.known)

    def find(self, format: SegmentFormat) -> SegmentStore | None:
        """That of `format`'s key, which is kept for longer by that; None where there is none."""
        store = self.known.get(format.key)
        if store is not None:
            store.touch()
        return store

    def of(self, format: SegmentFormat, derived: Iterable[DerivedTrack]) -> SegmentStore:
        """That of `format`'s key, which is kept for longer by that, with these derived tracks."""
        store = self.find(format)
        if store is None:
            return self._made(format, derived)
        for made in derived:
            if not store.has(made.track):
                store.push(TrackAdded(made.track))
        return store

    def _made(self, format: SegmentFormat, derived: Iterable[DerivedTrack]) -> SegmentStore:
        """One that begins with what the stream has kept."""
        stream, derived = self._stream, tuple(derived)
        store = SegmentStore(
            stream,
            format,
            stream.options.segments,
            tuple(in_order(stream.replayed, derived)),
            self._numbers.get(format.key, 0),
            [made.track for made in derived],
        )
        if stream.ended:
            store.end(stream.end_reason)
        self.known[format.key] = store
        return store

    def put(self, event: Event, derived: Track | None = None) -> None:
        """One event of the stream, or of a `derived` track for those that have it."""
        for key, store in tuple(self.known.items()):
            try:
                if derived is None or store.has(derived):
                    store.push(event)
            except Exception:  # noqa: BLE001 - a writer's bug ends its segments, not the publisher
                structlog.get_logger("penstock").exception(
                    "a writer of segments failed", path=self._stream.path
                )
                self._drop(key, "internal error")

    def interrupt(self) -> None:
        """The publisher left, and may come again: what there is of its last segment is all of that."""
        for store in self.known.values():
            store.interrupt()

    @property
    def patience(self) -> int:
        """For how many ns frames may lie unread that are read by nobody but made into segments (ADR 0036)."""
        if any(store.format.parts and store.hurried for store in self.known.values()):
            return 0
        return min(REST_NS, self._stream.options.segments.part // 2)

    def drop_idle(self, now: float) -> bool:
        """Let go of what nobody has asked for in a while, at `now` in monotonic seconds; whether there was such."""
        idle = [key for key, store in self.known.items() if store.is_idle(now)]
        for key in idle:
            self._drop(key, "nobody asks for it")
        return bool(idle)

    def _drop(self, key: Hashable, reason: str) -> None:
        store = self.known.pop(key)
        self._numbers[key] = store.number
        store.end(reason)

    def end(self, reason: str) -> None:
        """The stream is over: what is there may still be asked for."""
        for store in self.known.values():
            store.end(reason)
