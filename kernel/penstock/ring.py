"""The ring of a feed: units by absolute index, bounded in number, bytes and seconds."""

from __future__ import annotations

from collections import deque

from attrs import frozen

from penstock.media import NS, Track


@frozen
class Bounds:
    """The three bounds of a GOP cache and of a feed's ring."""

    frames: int = 4096
    bytes: int = 64 << 20
    seconds: float = 30.0


class Unit:
    """One frame (or event) as its muxer wrote it, the same for every reader.

    `payloads` are the packets, or the pieces of a byte stream, `size` is the bytes of all; `key` says that a reader
    may start here; `time` is the frame's dts in ns; `track` is the track with the config in force, None for what
    belongs to no track; `channel` 1 is a track's control (RTCP). `config` says that it tells a reader of its track's
    new config, which readers that start later have from their start reply; `generation` counts those, and is the
    feed's to set. `of` is the id of the track of which it is a frame; None for a config or a control.
    """

    __slots__ = ("channel", "config", "generation", "key", "of", "payloads", "size", "time", "track", "video")

    def __init__(
        self,
        track: Track | None,
        payloads: tuple[bytes, ...],
        time: int,
        key: bool = False,
        video: bool = False,
        channel: int = 0,
        config: bool = False,
    ) -> None:
        self.track = track
        self.payloads = payloads
        self.time = time
        self.key = key
        self.video = video
        self.channel = channel
        self.config = config
        self.generation = 0
        self.size = len(payloads[0]) if len(payloads) == 1 else sum(map(len, payloads))
        self.of = track.id if track is not None and not config and not channel else None


class Ring:
    """Units between `start` and `end` (absolute indexes, end not included), and where a reader may join.

    Everything from the last key unit on is kept while it fits the bounds; what is older is kept for readers
    that lag, for `history` nanoseconds.
    """

    __slots__ = ("_bounds", "_history", "_keys", "_span", "_units", "bytes", "end", "start")

    def __init__(self, bounds: Bounds, history: int) -> None:
        self._bounds = bounds
        self._span = int(bounds.seconds * NS)
        self._history = history
        self._units: deque[Unit] = deque()
        self._keys: deque[int] = deque()
        self.start = 0
        self.end = 0
        self.bytes = 0

    def append(self, unit: Unit) -> None:
        if unit.key:
            self._keys.append(self.end)
        bounds, units, time = self._bounds, self._units, unit.time
        units.append(unit)
        self.end += 1
        self.bytes += unit.size
        while len(units) > 1 and (
            self.bytes > bounds.bytes or len(units) > bounds.frames or time - units[0].time > self._span
        ):
            self._drop()
        floor = self._keys[-1] if self._keys else self.end - 1
        oldest = time - self._history
        while self.start < floor and units[0].time < oldest:
            self._drop()

    def clear(self) -> None:
        """Let go of every unit; indexes go on."""
        self._units.clear()
        self._keys.clear()
        self.start, self.bytes = self.end, 0

    def _drop(self) -> None:
        self.bytes -= self._units.popleft().size
        self.start += 1
        if self._keys and self._keys[0] < self.start:
            self._keys.popleft()

    def __getitem__(self, index: int) -> Unit:
        return self._units[index - self.start]

    def slice(self, first: int, last: int) -> list[Unit]:
        """Units from index `first` to before `last`, both inside the ring."""
        units, start = self._units, self.start
        if last == self.end and last - first < 64:
            # Near the end a deque is fast to index from the right.
            return [units[i - self.end] for i in range(first, last)]
        return [units[i - start] for i in range(first, last)]

    @property
    def last_key(self) -> int | None:
        """Index of the newest unit at which a reader may start."""
        return self._keys[-1] if self._keys else None

    def next_key(self, index: int) -> int | None:
        """Index of the first key unit at or after `index`."""
        return next((k for k in self._keys if k >= index), None)
