"""A bounded queue of frames for readers that want frames: recorders, transcoders, bots."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import anyio

from penstock.media import Epoch, Event, Frame, Kind, TrackRemoved


class FrameQueue:
    """Events for one reader; over its bound, frames are missed up to the next key frame, and counted."""

    def __init__(self, most: int, first: Iterable[Event] = ()) -> None:
        """`most` counts what comes after `first`, which the reader gets in any case."""
        self._most = most
        self._events: deque[Event] = deque(first)
        self._ahead = len(self._events)
        self._wake = anyio.Event()
        self._skipping = False
        self._ended = False
        self._video = any(isinstance(e, Frame) and e.track.kind is Kind.VIDEO for e in self._events)
        self.skipped = 0

    def put(self, event: Event) -> None:
        if isinstance(event, Frame):
            video = event.track.kind is Kind.VIDEO
            self._video |= video
            if self._skipping and event.key and video == self._video and not self._full:
                self._skipping = False
            elif not self._skipping and self._full:
                self._skipping = True
            if self._skipping:
                self.skipped += 1
                return
        else:
            if isinstance(event, TrackRemoved) and event.track.kind is Kind.VIDEO:
                self._video = False  # until there is another picture, sound starts anywhere
            if self._full:
                self._replace(event)
        self._events.append(event)
        if not self._wake.is_set():
            self._wake.set()

    @property
    def _full(self) -> bool:
        return len(self._events) - self._ahead >= self._most

    def _replace(self, event: Event) -> None:
        """Over the bound, an event outdates the last of its kind: a config that changes all the time fills nothing."""
        events = self._events
        for index in range(len(events) - 1, -1, -1):
            other = events[index]
            if isinstance(other, Frame):
                return
            if type(other) is type(event) and _track(other) == _track(event):
                del events[index]
                return

    def __len__(self) -> int:
        return len(self._events)

    def end(self) -> None:
        self._ended = True
        self._wake.set()

    async def get(self) -> Event | None:
        """The next event, None at the end of the stream."""
        while not self._events:
            if self._ended:
                return None
            self._wake = anyio.Event()
            await self._wake.wait()
        self._ahead = max(0, self._ahead - 1)
        return self._events.popleft()


def _track(event: Event) -> int:
    """The id of the track that an event is about; 0 for an epoch."""
    return 0 if isinstance(event, Epoch) else event.track.id
