"""A bounded queue of frames for readers that want frames: recorders, transcoders, bots."""

from __future__ import annotations

from collections import deque

import anyio

from penstock.media import Event, Frame, Kind


class FrameQueue:
    """Events for one reader; over its bound, frames are missed up to the next key frame, and counted."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._events: deque[Event] = deque()
        self._wake = anyio.Event()
        self._skipping = False
        self._ended = False
        self._video = False
        self.skipped = 0

    def put(self, event: Event) -> None:
        if isinstance(event, Frame):
            video = event.track.kind is Kind.VIDEO
            self._video |= video
            if self._skipping and event.key and video == self._video and len(self._events) < self._most:
                self._skipping = False
            elif not self._skipping and len(self._events) >= self._most:
                self._skipping = True
            if self._skipping:
                self.skipped += 1
                return
        self._events.append(event)
        if not self._wake.is_set():
            self._wake.set()

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
        return self._events.popleft()
