"""Frames for those who read a stream by themselves: recorders, transcoders, bots."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from penstock.media import Event
from penstock.queue import FrameQueue

if TYPE_CHECKING:
    from penstock.session import Session
    from penstock.stream import Stream


class Frames:
    """What `Stream.read` gives: an asynchronous iterator that leaves the stream where its loop ends, breaks or fails."""

    def __init__(self, stream: Stream, queue: FrameQueue, session: Session | None) -> None:
        self._stream = stream
        self._queue = queue
        self._session = session
        self._open = True
        stream.join(queue, session)

    @property
    def skipped(self) -> int:
        """Frames that it missed because it could not keep up."""
        return self._queue.skipped

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        try:
            event = await self._queue.get()
        except BaseException:
            self.close()
            raise
        if event is None:
            self.close()
            raise StopAsyncIteration
        return event

    def close(self) -> None:
        """Leave the stream; a second call does nothing."""
        if self._open:
            self._open = False
            self._stream.leave(self._queue, self._session)

    async def aclose(self) -> None:
        """As `close`, for ``contextlib.aclosing``."""
        self.close()

    # Not an async generator: under trio one of those that a `break` leaves behind is an error.
    __del__ = close
