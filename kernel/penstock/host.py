"""What a stream asks and tells the server that it is part of."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any, Protocol

from penstock.media import Track

if TYPE_CHECKING:
    from penstock.derived import Derivation
    from penstock.feed import Feed
    from penstock.path import StreamPath
    from penstock.stream import Stream


class StreamHost(Protocol):
    """What a stream tells the server."""

    def changed(self, hook: str, **arguments: object) -> None:
        """A lifecycle notice."""
        ...

    def gone(self, stream: Stream) -> None:
        """The stream has neither publisher nor anybody who waits for one."""
        ...

    def left_out(self, feed: Feed, track: Track, reason: str) -> None:
        """The readers of `feed` do not get a track that was added while they read."""
        ...

    def awake(self) -> None:
        """The event loop is awake: what may wait a moment is done now rather than in a wake-up of its own."""
        ...

    def late(self, feed: Feed) -> None:
        """`feed` has something pending that no frame may come to flush."""
        ...

    def derivations(self, stream: Stream, track: Track) -> Iterable[Derivation]:
        """What plugins can make of `track`."""
        ...

    def serves_segments(self) -> bool:
        """Whether somebody may ask for segments, and first needs what was before."""
        ...

    def viewers(self, path: StreamPath) -> int:
        """How many sessions fetch what is made of the stream instead of reading it, such as segments: they count as readers."""
        ...

    def spawn(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Start a task that ends with the server at the latest."""
        ...
