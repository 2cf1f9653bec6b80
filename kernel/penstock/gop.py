"""The GOP cache: what a reader needs to show a picture at once, per track, bounded; and what segments need of before."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import chain

from penstock.media import NS, Frame, Kind
from penstock.ring import Bounds
from penstock.segment import SegmentBounds

SOUND = NS
"""How much of sound without pictures is let go of at a time."""
EARLIER = 3
"""Segments that are to be there for who asks for them first: no live list has less than three target durations
(RFC 8216bis 6.2.2), and players begin as far from its end."""


class GopCache:
    """Frames from the oldest key frame that some video track still needs, in the order in which they came.

    Before these, where `segments` has `replay` bytes for it and `wanted` says at a key frame that somebody may ask for them,
    are the groups that make `EARLIER` segments. Of sound without pictures there is as much, in groups of `SOUND`.
    """

    def __init__(self, bounds: Bounds, segments: SegmentBounds, wanted: Callable[[], bool]) -> None:
        self._bounds = bounds
        self._segments = segments
        self._wanted = wanted
        self._frames: deque[Frame] = deque()
        self._earlier: deque[list[Frame]] = deque()
        self._earlier_count = 0
        self._earlier_bytes = 0
        self._first = 0
        self._keys: dict[int, int] = {}
        self._key_times: dict[int, int] = {}
        self.key_intervals: dict[int, int] = {}
        """The longest that two key frames of a video track were apart since `clear`, by its id, in ns."""
        self._bytes = 0

    def add(self, frame: Frame) -> int:
        """Keep `frame`, and let go of what no reader needs any more. Returns the frame's bytes."""
        size = frame.size
        frames, keys = self._frames, self._keys
        is_video = frame.track.codec.kind is Kind.VIDEO
        is_key = frame.key and is_video
        if is_key:
            if not keys:
                # What was heard before the first picture: no segment begins there.
                self._forget()
            id, before = frame.track.id, self._key_times.get(frame.track.id)
            self._key_times[id] = frame.dts
            if before is not None:
                self.key_intervals[id] = max(self.key_intervals.get(id, 0), frame.dts - before)
            keys[id] = self._first + len(frames)
        elif frame.track.id not in keys if is_video else not keys:
            if frame.track.codec.kind is Kind.AUDIO and not keys:
                self._hear(frame, size)
            return size
        frames.append(frame)
        self._bytes += size
        if is_key:
            oldest = min(keys.values())
            group = [self._drop() for _ in range(oldest - self._first)]
            if group:
                self._keep(group)
        bounds = self._bounds
        if (
            len(frames) > bounds.frames
            or self._bytes > bounds.bytes
            or frame.dts - frames[0].dts > bounds.seconds * NS
        ):
            # A group of pictures larger than the bounds: nothing is kept until the next key frame, which may be this.
            alone = len(frames) == 1
            self.clear()
            if is_key and not alone:
                self.add(frame)
        return size

    def _drop(self) -> Frame:
        frame = self._frames.popleft()
        self._bytes -= frame.size
        self._first += 1
        return frame

    def _keep(self, group: list[Frame]) -> None:
        """Frames that readers begin with no more, and segments may."""
        self._earlier.append(group)
        self._earlier_count += len(group)
        self._earlier_bytes += sum(frame.size for frame in group)
        enough = EARLIER * self._segments.length(max(self.key_intervals.values(), default=0))
        self._trim(self._frames[-1].dts - enough)

    def _hear(self, frame: Frame, size: int) -> None:
        """Sound without pictures: readers begin with what comes next, and segments with any of its frames."""
        earlier = self._earlier
        anew = not earlier or not 0 <= frame.dts - earlier[-1][0].dts < SOUND
        if anew:
            earlier.append([])
        earlier[-1].append(frame)
        self._earlier_count += 1
        self._earlier_bytes += size
        full = self._earlier_bytes > self._segments.replay or self._earlier_count > self._bounds.frames
        if anew or full:
            # A group more, since segments are a frame longer than they should be.
            self._trim(frame.dts - EARLIER * self._segments.target - SOUND)

    def _trim(self, since: int) -> None:
        """Let go of groups without which there is enough, from the dts `since` on, and of those that there is no room for."""
        earlier, room = self._earlier, self._segments.replay if self._wanted() else 0
        while earlier and (
            self._earlier_bytes > room
            or self._earlier_count > self._bounds.frames
            or (earlier[1] if len(earlier) > 1 else self._frames or earlier[0])[0].dts <= since
        ):
            gone = earlier.popleft()
            self._earlier_count -= len(gone)
            self._earlier_bytes -= sum(frame.size for frame in gone)

    def _forget(self) -> None:
        self._earlier.clear()
        self._earlier_count = self._earlier_bytes = 0

    def clear(self) -> None:
        self._forget()
        self._first += len(self._frames)
        self._frames.clear()
        self._keys.clear()
        self._key_times.clear()
        self.key_intervals.clear()
        self._bytes = 0

    @property
    def frames(self) -> tuple[Frame, ...]:
        return tuple(self._frames)

    @property
    def replay(self) -> tuple[Frame, ...]:
        """What segments are made of for who asks first: `frames`, and what is kept of before."""
        return tuple(chain(*self._earlier, self._frames))

    @property
    def replay_start(self) -> int | None:
        """The dts of the oldest of these; None where there is none."""
        return self._earlier[0][0].dts if self._earlier else self.start

    @property
    def start(self) -> int | None:
        """The dts of the oldest frame; None where there is none."""
        return self._frames[0].dts if self._frames else None

    @property
    def bytes(self) -> int:
        """Of `frames`."""
        return self._bytes
