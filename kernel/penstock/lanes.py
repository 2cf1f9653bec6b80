"""The pump: how a feed's units reach its readers, one lane for each kind of sink.

What costs is the number of writes, so a lane gathers what its window allows, joins it once, and offers the same
buffer to every socket in a flat loop. No queue, wake-up or await per frame and reader.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from anyio.lowlevel import checkpoint

from penstock.pages import Pages
from penstock.sink import ByteSink, Source, broken

if TYPE_CHECKING:
    from penstock.feed import Feed, Reader
    from penstock.ring import Unit

BATCH = 512
"""Sockets served before the loop is yielded: so many writes are a few milliseconds."""

SHARED_BYTES = 2 << 10
SHARED_READERS = 8
"""From so many bytes and readers on, a write that copies nothing is cheaper than one that does."""

KEY_WAIT = 5.0
"""Seconds that a reader waits for a key frame where none is at hand, before it gets what there is."""

PICTURE_WAIT_NS = 40_000_000
"""The longest that sound waits for the next picture."""

REST_READERS = 64
"""From so many readers on, the ingest sleeps until the next picture is due, and wakes once for it and its sound."""
REST_MARGIN_NS = 2_000_000
REST_STEP_NS = 250_000
"""The sleep ends at first this long after the picture is due, and each time a step earlier until it ends too early."""

SOUND_WAIT_NS = 20_000_000
"""Sound alone goes with the next frame after this, which is every other one: about each 40 ms."""


class ReaderSink(Protocol):
    """What a feed needs of any sink."""

    source: Source | None

    @property
    def closed(self) -> str: ...

    def control(self, data: bytes) -> None: ...

    def close(self, reason: str) -> None: ...

    def lane(self, feed: Feed) -> Lane:
        """A lane of `feed` for this kind of sink."""
        ...


class Lane:
    """The readers of one feed that are served alike: which units they have had, and when they get the next.

    Units before `head` have been offered to every reader in `ready`. A reader in `waiting` gets nothing until the
    next key unit. The window says how long units may gather: None lets sound wait for the next picture, 0 writes at
    once, otherwise milliseconds.
    """

    def __init__(self, feed: Feed, window: float | None) -> None:
        self.feed = feed
        self.window = window
        self.head = feed.ring.end
        self.sent = 0
        """Bytes that a reader which was ready all the time has had."""
        self.ready: dict[Reader, None] = {}
        self.waiting: dict[Reader, float] = {}
        self.changed = False
        """Whether `ready` has changed since this was last set to false."""
        self.disturbed = False
        """Whether control bytes came to wait at the socket of a reader."""
        self._by_picture = window is None
        """Whether each picture takes along what waits. So it is for a window about as long as from one picture to the next,
        too: a sleep of its own would only end more often, and between the pictures."""
        self._oldest = 0
        self._picture = False
        self._last = 0
        self._next_picture = 0

    def takes(self, sink: ReaderSink) -> bool:
        raise NotImplementedError

    async def flush(self) -> None:
        """Offer what is pending to every ready reader."""
        raise NotImplementedError

    def start(self, reader: Reader) -> None:
        """Let a reader catch up from its cursor."""
        raise NotImplementedError

    def leave(self, reader: Reader) -> None:
        """A reader is gone."""

    def note(self, unit: Unit) -> None:
        """A unit was appended to the ring."""
        if not self._oldest:
            self._oldest = time.monotonic_ns()
        if unit.video:
            self._picture = True

    @property
    def pending(self) -> bool:
        return self.head < self.feed.ring.end

    @property
    def due_at(self) -> int:
        """The moment (monotonic ns) at which what is pending should go out; 0 for at once."""
        if self._by_picture:
            if self._picture:
                return 0
            stream = self.feed.stream
            return self._oldest + (
                min(PICTURE_WAIT_NS, stream.frame_interval) if stream.has_video else SOUND_WAIT_NS
            )
        return self._gathered_at

    @property
    def rest_until(self) -> int:
        """Until when (monotonic ns) the ingest may sleep and let frames gather; 0 where each should go out at once."""
        if self._by_picture:
            return self._next_picture if self.window or len(self.ready) >= REST_READERS else 0
        return self._gathered_at

    @property
    def _gathered_at(self) -> int:
        window = self.window
        return self._last + int(window * 1_000_000) if window else 0

    def _expect_picture(self, now: int) -> None:
        """Follow the publisher's pace: where the picture was there when the sleep ended, end the next one earlier."""
        stream = self.feed.stream
        if self.window:
            self._by_picture = (
                abs(self.window * 1_000_000 - stream.frame_interval) * 8 <= stream.frame_interval
            )
        expected = self._next_picture + stream.frame_interval - REST_STEP_NS
        if stream.rested and expected > now:
            self._next_picture = expected
        else:
            self._next_picture = now + stream.frame_interval + REST_MARGIN_NS
        if not self.window:
            # Where pictures are rare, sound lies unread for no longer than it would wait here.
            self._next_picture = min(self._next_picture, now + PICTURE_WAIT_NS + REST_MARGIN_NS)

    def take(self, end: int | None = None) -> list[Unit]:
        """What is pending (up to the ring's index `end`), moving the head; who waits for a key unit in it is put at it."""
        now = time.monotonic_ns()
        if self._picture:
            self._expect_picture(now)
        self._picture, self._oldest, self._last = False, 0, now
        ring, first = self.feed.ring, max(self.head, self.feed.ring.start)
        self.head = end = ring.end if end is None else end
        units = ring.slice(first, end)
        if self.waiting:
            key = ring.next_key(first)
            self._wake(key if key is not None and key < end else None, first)
        return units

    def _wake(self, key: int | None, first: int) -> None:
        now = time.monotonic()
        for reader, since in tuple(self.waiting.items()):
            if key is None and now - since < KEY_WAIT:
                continue
            del self.waiting[reader]
            reader.state = "lagging"
            reader.leap(key if key is not None else first)
            self.start(reader)
        if self.waiting:
            self.feed.stream.request_key_frame()


class ByteLane(Lane):
    """Readers at byte streams: pending units joined once, one write to each."""

    def __init__(self, feed: Feed) -> None:
        super().__init__(feed, feed.window)
        self._served: list[Reader] = []
        self._sends: list[Callable[[bytes], int]] = []
        """What writes to each of `_served`: the loop over them touches nothing else of theirs, which would be in no cache."""

    def takes(self, sink: ReaderSink) -> bool:
        return isinstance(sink, ByteSink) and not sink.plain

    async def flush(self) -> None:
        first = self.head
        units = self.take()
        if not self.ready:
            return
        buffer = b"".join([p for unit in units for p in unit.payloads])
        size = len(buffer)
        self.sent += size
        if self.changed or self.disturbed:
            self._prepare(first, size)
        served = self._served
        for i in range(0, len(served), BATCH):
            if i:
                await checkpoint()
                if self.changed or self.disturbed:
                    self._finish(served[i:], buffer, first)
                    return
            # Nothing else runs within a batch, so that nothing about its readers needs to be looked at.
            self._serve(i, buffer)

    def _serve(self, first: int, buffer: bytes) -> None:
        """Offer `buffer` to a batch of readers, of which `first` is the first."""
        size = len(buffer)
        for n, send in enumerate(self._sends[first : first + BATCH], first):
            try:
                sent = send(buffer)
            except BlockingIOError:
                sent = 0
            except OSError as e:
                self._served[n].sink.close(broken(e))
                continue
            if sent != size:
                self._short(self._served[n], buffer, sent)

    def _prepare(self, first: int, size: int) -> None:
        """List the readers to serve; those at whose socket control bytes wait take this pass's units after them."""
        self.changed = self.disturbed = False
        self._served = []
        for reader in tuple(self.ready):
            sink: ByteSink = reader.sink  # type: ignore[assignment]
            if sink.blocked:
                reader.lag(first, unsent=size)
            else:
                self._served.append(reader)
        self._sends = [reader.sink.send for reader in self._served]  # type: ignore[attr-defined]

    def _finish(self, readers: list[Reader], buffer: bytes, first: int) -> None:
        """The rest of a pass in the middle of which readers came, left or were written to by others."""
        size = len(buffer)
        for reader in readers:
            if reader.state != "ready":
                continue
            sink: ByteSink = reader.sink  # type: ignore[assignment]
            if sink.blocked:
                reader.lag(first, unsent=size)
            elif (sent := sink.try_send(buffer)) != size and not sink.closed:
                self._short(reader, buffer, sent)

    def _short(self, reader: Reader, buffer: bytes, sent: int) -> None:
        """The socket is full: what was begun is finished first."""
        reader.lag(self.head)
        sink: ByteSink = reader.sink  # type: ignore[assignment]
        sink.block(memoryview(buffer)[sent:] if sent else buffer)

    def start(self, reader: Reader) -> None:
        sink: ByteSink = reader.sink  # type: ignore[assignment]
        sink.drain()


class SocketLane(ByteLane):
    """Readers at plain sockets: what is large enough is put into pages once, which all of them send."""

    def __init__(self, feed: Feed) -> None:
        super().__init__(feed)
        self._pages = Pages()
        self._descriptors: list[int] = []
        """Of `_served`: three hundred sockets that are asked for theirs are as many objects that are in no cache. A socket
        is closed after its sink, which says that the readers have changed, so that no descriptor here is another's.
        """

    def takes(self, sink: ReaderSink) -> bool:
        return isinstance(sink, ByteSink) and sink.plain

    async def flush(self) -> None:
        try:
            await super().flush()
        finally:
            self._pages.drop()

    def _prepare(self, first: int, size: int) -> None:
        super()._prepare(first, size)
        self._descriptors = [reader.sink.sock.fileno() for reader in self._served]  # type: ignore[attr-defined]

    def _serve(self, first: int, buffer: bytes) -> None:
        size, pages = len(buffer), self._pages
        if size < SHARED_BYTES or len(self._served) < SHARED_READERS or not pages.put(buffer):
            super()._serve(first, buffer)
            return
        source, sendfile = pages.fd, os.sendfile
        for n, target in enumerate(self._descriptors[first : first + BATCH], first):
            try:
                sent = sendfile(target, source, 0, size)
            except BlockingIOError:
                sent = 0
            except OSError:
                sink: ByteSink = self._served[n].sink  # type: ignore[assignment]
                sent = sink.try_send(buffer)
                if sink.closed:
                    continue
            if sent != size:
                self._short(self._served[n], buffer, sent)

    def leave(self, reader: Reader) -> None:
        if len(self.ready) < SHARED_READERS:
            self._pages.close()
