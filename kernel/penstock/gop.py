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
        self._bytes = 0

    def add(self, frame: Frame) -> None:
        """Keep `frame`, and let go of what no reader needs any more."""
        frames, keys = self._frames, self._keys
        if frame.track.kind is Kind.VIDEO:
            if frame.key:
                keys[frame.track.id] = self._first + len(frames)
                oldest = min(keys.values())
                frames.append(frame)
                self._bytes += frame.size
                while self._first < oldest:
                    self._drop()
                return
            if frame.track.id not in keys:
                return
        elif not keys:
            return
        frames.append(frame)
        self._bytes += frame.size
        bounds = self._bounds
        if (
            len(frames) > bounds.frames
            or self._bytes > bounds.bytes
            or frame.dts - frames[0].dts > bounds.seconds * NS
        ):
            # A group of pictures larger than the bounds: nothing is kept until the next key frame.
            self.clear()

    def _drop(self) -> None:
        self._bytes -= self._frames.popleft().size
        self._first += 1

    def clear(self) -> None:
        self._first += len(self._frames)
        self._frames.clear()
        self._keys.clear()
        self._bytes = 0

    @property
    def frames(self) -> tuple[Frame, ...]:
        return tuple(self._frames)

    @property
    def bytes(self) -> int:
        return self._bytes
