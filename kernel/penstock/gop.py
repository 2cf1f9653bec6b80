"""The GOP cache: what a reader needs to show a picture at once, per track, bounded."""

from __future__ import annotations

from collections import deque

from penstock.media import NS, Frame, Kind
from penstock.ring import Bounds


class GopCache:
    """Frames from the oldest key frame that some video track still needs, in the order in which they came."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._frames: deque[Frame] = deque()
        self._first = 0
        self._keys: dict[int, int] = {}
        self._key_times: dict[int, int] = {}
        self.key_intervals: dict[int, int] = {}
        """The longest that two key frames of a video track were apart since `clear`, by its id, in ns."""
        self._bytes = 0

    def add(self, frame: Frame) -> None:
        """Keep `frame`, and let go of what no reader needs any more."""
        frames, keys = self._frames, self._keys
        is_video = frame.track.codec.kind is Kind.VIDEO
        is_key = frame.key and is_video
        if is_key:
            id, before = frame.track.id, self._key_times.get(frame.track.id)
            self._key_times[id] = frame.dts
            if before is not None:
                self.key_intervals[id] = max(self.key_intervals.get(id, 0), frame.dts - before)
            keys[id] = self._first + len(frames)
        elif frame.track.id not in keys if is_video else not keys:
            return
        frames.append(frame)
        self._bytes += frame.size
        if is_key:
            oldest = min(keys.values())
            while self._first < oldest:
                self._drop()
        if not self._fits(frame):
            # A group of pictures larger than the bounds: nothing is kept until the next key frame, which may be this.
            alone = len(frames) == 1
            self.clear()
            if is_key and not alone:
                self.add(frame)

    def _fits(self, newest: Frame) -> bool:
        frames, bounds = self._frames, self._bounds
        return (
            len(frames) <= bounds.frames
            and self._bytes <= bounds.bytes
            and newest.dts - frames[0].dts <= bounds.seconds * NS
        )

    def _drop(self) -> None:
        self._bytes -= self._frames.popleft().size
        self._first += 1

    def clear(self) -> None:
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
    def start(self) -> int | None:
        """The dts of the oldest frame; None where there is none."""
        return self._frames[0].dts if self._frames else None

    @property
    def bytes(self) -> int:
        return self._bytes
