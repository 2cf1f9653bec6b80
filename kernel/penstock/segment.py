"""What carriers that are pulled serve: segments and their parts; and what a format has to say about writing them."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Protocol

from attrs import frozen

from penstock.media import NS, Frame, Track
from penstock.registry import Registry


@frozen
class SegmentBounds:
    """How streams are cut, and what is kept; times in ns. Durations are aims: only key frames of video begin a segment."""

    target: int = 2 * NS
    part: int = NS // 5
    window: int = 20 * NS
    """How far back `Rendition.listed` goes."""
    bytes: int = 128 << 20
    """Of one store, all its renditions together, with what is kept of segments that are listed no more."""
    count: int = 4096
    """Segments of one rendition."""
    idle: float = 60.0
    """Seconds after the last request for which a store is kept."""
    longest: int = 0
    """How long a segment of video becomes at most, wherever key frames are; 0: as key frames make them."""
    replay: int = 16 << 20
    """Bytes of frames before those of the GOP cache that a stream keeps to make segments of."""

    def length(self, key_interval: int, slack: int = NS // 50) -> int:
        """How long segments are where key frames are so far apart, 0 if that is not known: they end at the first one that
        is no more than `slack` before the aim; or how long they may become, where that is fixed.
        """
        if self.longest or not key_interval:
            return max(self.target, self.longest)
        return key_interval * max(1, -(-(self.target - slack) // key_interval))


class Init:
    """What a player needs before the segments that refer to it; `number` is that of the first of these."""

    __slots__ = ("data", "number", "tracks")

    def __init__(self, number: int, data: bytes, tracks: tuple[Track, ...]) -> None:
        self.number = number
        self.data = data
        self.tracks = tracks


class Part:
    """A piece of a segment that may be sent before the segment is complete.

    `dts` and `duration` in ns of the stream; `independent` says that a decoder can start at some frame in it.
    """

    __slots__ = ("_data", "dts", "duration", "independent", "number", "offset", "segment", "size")

    def __init__(
        self, segment: Segment, number: int, data: bytes, dts: int, duration: int, independent: bool
    ) -> None:
        self.segment = segment
        self.number = number
        self.offset = segment.size
        self.size = len(data)
        self.dts = dts
        self.duration = duration
        self.independent = independent
        self._data: bytes | None = data

    @property
    def data(self) -> bytes:
        """Its bytes: the same object for everybody, as long as it is recent."""
        if self._data is None:
            return self.segment.data[self.offset : self.offset + self.size]
        return self._data

    @property
    def held(self) -> bool:
        """Whether it has bytes of its own, besides those of its segment."""
        return self._data is not None

    def shed(self) -> None:
        """Keep its bytes in the segment alone."""
        self._data = None


class Segment:
    """A run of frames of one rendition; `number` is its media sequence number.

    While it is open, `parts` grows, and `data` and `duration` are empty. One that is complete and has no `size` is a
    gap: its tracks had nothing in that time. `time` is the pts of the first frame and `dts` its dts, in ns of the
    stream; `wall` is that pts as ns since 1970. `discontinuity`: it does not continue the one before it.
    """

    __slots__ = (
        "complete",
        "data",
        "discontinuity",
        "dts",
        "duration",
        "independent",
        "init",
        "number",
        "parts",
        "size",
        "time",
        "wall",
    )

    def __init__(
        self,
        number: int,
        init: Init,
        *,
        time: int,
        dts: int,
        wall: int,
        discontinuity: bool,
        independent: bool,
    ) -> None:
        self.number = number
        self.init = init
        self.time = time
        self.dts = dts
        self.wall = wall
        self.discontinuity = discontinuity
        self.independent = independent
        self.parts: list[Part] = []
        self.size = 0
        self.duration = 0
        self.data = b""
        self.complete = False

    def add(self, data: bytes, dts: int, duration: int, independent: bool) -> None:
        self.parts.append(Part(self, len(self.parts), data, dts, duration, independent))
        self.size += len(data)

    def close(self, end: int) -> None:
        """Complete, where the next one starts: `end` is a dts."""
        self.duration = max(0, end - self.dts)
        pieces = [part.data for part in self.parts]
        self.data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self.complete = True

    @property
    def end(self) -> int:
        """The dts at which it ends, as far as it is known."""
        if self.complete:
            return self.dts + self.duration
        return self.parts[-1].dts + self.parts[-1].duration if self.parts else self.dts

    @property
    def gap(self) -> bool:
        return self.complete and not self.size


class SegmentWriter(Protocol):
    """Writes the frames of one rendition in one container, for as long as its tracks' configs fit."""

    @property
    def init(self) -> bytes:
        """The init segment; empty where the container needs none."""
        ...

    @property
    def tracks(self) -> tuple[Track, ...]:
        """The tracks that it carries, with the configs that `init` has."""
        ...

    @property
    def codecs(self) -> tuple[str, ...]:
        """The RFC 6381 string of each of `tracks`, where there is one for its codec."""
        ...

    def fits(self, track: Track) -> bool:
        """Whether frames of `track`, whose config is another one now, may follow without a discontinuity."""
        ...

    def start(self, segment: Segment) -> bytes:
        """What the data of a segment begins with."""
        ...

    def write(self, frames: Sequence[Frame], ends: Mapping[int, int]) -> bytes:
        """A part. `ends` has the dts of the next frame of a track, by id, where it is known already."""
        ...


class SegmentFormat(Protocol):
    """How a container carries a stream in segments: which tracks together, and by which writer."""

    @property
    def key(self) -> Hashable:
        """Two formats with equal keys write the same bytes: who asks for either shares one store."""
        ...

    @property
    def parts(self) -> bool:
        """Whether parts are served on their own; else they are only how a segment grows."""
        ...

    def takes(self, registry: Registry, track: Track) -> bool:
        """Whether players of it are likely to have `track`; else what a plugin makes of that stands in its place."""
        ...

    def group(
        self, registry: Registry, tracks: Iterable[Track]
    ) -> tuple[dict[str, list[Track]], dict[int, str]]:
        """Tracks whose configs are known to renditions by name (of the URL's alphabet), each to one or none, and why not.

        A name means the same tracks for as long as they are there; the first is the one that players begin with.
        """
        ...

    def writer(self, registry: Registry, tracks: Sequence[Track]) -> SegmentWriter:
        """A writer of one rendition. Raises `ProtocolViolation` where some track of it cannot be carried after all."""
        ...
