"""Time: wire counters that wrap, sound on its sample grid, decoding times that a carrier lacks, and wall time."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import deque

from penstock.media import NS, to_ns, to_ticks

MAX_SLEW = 20_000
"""One part in so many (50 ppm) is what the wall clock of a stream is moved by: more than real clocks drift."""

MAX_ERROR_NS = 5 * NS
"""A wall clock that is further off than this was set, or the stream stood still; less is a gap in its frames."""

YOUNG_NS = 5 * NS
"""For so long after a wall clock was set a frame that comes early sets it anew: none comes before it was made. The first one is
often late, being large, FFmpeg 9 begins with half a second at once, and who restreams HLS with some segments.
"""

SNAP_TOLERANCE_NS = 2_000_000
"""How far a sound frame's time may be from its sample grid and still be snapped to it: RTMP's clock is 1 ms."""

STEP_NS = NS // 8000
"""How far apart frames of a track are set that came with one time: a tick of the coarsest clock that RTP has (8 kHz,
RFC 3551 table 4). With less, players by RTP take two pictures of one time stamp for one.
"""

MAX_REORDER = 16
"""The deepest reordering there is (H.264 A.3.1, H.265 A.4.2): a stream that lies does not get a longer memory."""


MAX_USUAL = 4
"""The deepest that encoders use; a config that says more only leaves out to say it (H.264 E.2.1)."""

OBSERVED = 64
"""Frames after which a stream is believed instead of such a config: 1 to 3 s."""

WARY_FRAMES = 250
"""Frames after one that was late until they are believed to come in time again: encoders that have too much to do leave out
some now and then, and phones change their rate as the light does."""


class Unwrapper:
    """A counter of `bits` bits as an integer that goes on over every wrap, in both directions."""

    __slots__ = ("_half", "_last", "_mask")

    def __init__(self, bits: int) -> None:
        self._mask = (1 << bits) - 1
        self._half = 1 << (bits - 1)
        self._last: int | None = None

    def unwrap(self, value: int) -> int:
        """`value` on the line without wraps, taken as the nearest to the last one."""
        if self._last is None:
            self._last = value
        else:
            delta = (value - self._last) & self._mask
            self._last += delta - self._mask - 1 if delta >= self._half else delta
        return self._last


class SampleGrid:
    """Sound that came over a coarser clock, put back on its sample grid while it stays near to it."""

    __slots__ = ("_expected", "_next", "clock_rate")

    def __init__(self, clock_rate: int) -> None:
        self.clock_rate = clock_rate
        self._next: int | None = None
        self._expected = 0
        """The time in ns of `_next`."""

    def snap(self, pts: int, samples: int) -> int:
        """The time in ns of a frame of `samples` ticks that claims to start at `pts`."""
        ticks, time = self._next, self._expected
        if ticks is None or not -SNAP_TOLERANCE_NS <= time - pts <= SNAP_TOLERANCE_NS:
            ticks = to_ticks(pts, self.clock_rate)
            time = to_ns(ticks, self.clock_rate)
        self._next = ticks + samples
        self._expected = to_ns(self._next, self.clock_rate)
        return time


class DecodingTimes:
    """Decoding times for a carrier that has none (RTP): strictly increasing, never above pts.

    With output order lagging at most `depth` frames behind decoding order, the n-th smallest pts is known
    when frame n + depth comes in, and serves as that frame's dts.

    A depth above `MAX_USUAL` is replaced by what the stream shows, so that dts is not half a second behind for nothing.
    """

    __slots__ = ("_declared", "_last", "_pending", "_seen", "_unsure", "depth")

    def __init__(self, depth: int) -> None:
        self._declared = -1
        self._pending: list[int] = []
        self._last: int | None = None
        self.depth = 0
        self.declare(depth)

    def declare(self, depth: int) -> None:
        """A config says how deep its frames are reordered; what has been seen of the same saying stays true."""
        if depth > self._declared:
            self._declared = depth
            self.depth = max(self.depth, depth)
            self._unsure = OBSERVED if depth > MAX_USUAL else 0
            self._seen = 0

    def dts(self, pts: int, interval: int) -> int:
        """The dts of the next frame in decoding order; `interval` is the frame duration in ns to expect at the start."""
        if self.depth == 0:
            dts = pts
        else:
            pending = self._pending
            insort(pending, pts)
            if self._unsure:
                self._observe(pts)
            dts = pending[0] - min(NS, max(0, self.depth + 1 - len(pending)) * interval)
            while len(pending) > self.depth:
                dts = pending.pop(0)
        if self._last is not None and dts <= self._last:
            dts = self._last + STEP_NS
        if dts > pts:
            # The stream reorders more than it declared: believe what is seen, from here on.
            self.depth = min(self.depth + 1, MAX_REORDER)
            dts = pts if self._last is None or pts > self._last else self._last + STEP_NS
        self._last = dts
        return dts

    def _observe(self, pts: int) -> None:
        """How many frames that are shown later were decoded before this one."""
        later = len(self._pending) - bisect_right(self._pending, pts)
        self._seen = max(self._seen, later)
        self._unsure -= 1
        if not self._unsure:
            self.depth = self._seen


class StreamClock:
    """Maps the stream's time to wall time (ns since 1970) by the arrival of its frames (ADR 0017).

    Drift is followed at no more than `MAX_SLEW`. `wall` leaps where the first frames came late, a clock was set, a publisher
    stood still for seconds, or another one came; `steady` never does.
    """

    __slots__ = ("_last", "_offset", "_set_at", "_steady")

    def __init__(self) -> None:
        self._set_at: int | None = None
        """When `wall` was set last; None before the first frame of a publisher."""
        self._offset = 0
        self._steady: int | None = None
        self._last = 0

    def arrival(self, time: int, wall: int) -> None:
        """A frame with `time` came in at `wall`."""
        error = wall - time - self._offset
        if self._set_at is None or self._steady is None or not -MAX_ERROR_NS <= error <= MAX_ERROR_NS:
            self._set_at = wall
            self._offset = wall - time
            self._steady = self._offset if self._steady is None else self._steady
        elif error < 0 and self._last < time and wall < self._set_at + YOUNG_NS:
            self._offset += error
        else:
            most = (time - self._last) // MAX_SLEW if time > self._last else 0
            step = error if -most <= error <= most else most if error > 0 else -most
            self._offset += step
            self._steady += step
        self._last = time

    def wall(self, time: int) -> int:
        """Wall time of `time`; 0 before the first frame of all."""
        return time + self._offset if self._steady is not None else 0

    def steady(self, time: int) -> int:
        """As `wall`, but on one line through leaps: for sender reports, by which players place what they get.

        A leap would put sound and picture apart between the reports of the one and of the other, and clocks back.
        """
        return time + self._steady if self._steady is not None else 0

    def reset(self) -> None:
        """A new publisher: its first frame sets `wall`. Until then that goes on as times do (ADR 0005), and `steady` always."""
        self._set_at = None


class FrameInterval:
    """The usual distance of a track's frames: the mean of the last few dts steps, without the least and the most.

    Steps of `most` ns and more are holes, and tell nothing of it.
    """

    __slots__ = ("_last", "_most", "_steps", "_wary", "value")

    def __init__(self, value: int = NS // 25, most: int = NS) -> None:
        self.value = value
        self._most = most
        self._last: int | None = None
        self._steps: deque[int] = deque(maxlen=11)
        self._wary = 0

    @property
    def even(self) -> bool:
        """Whether it tells how long the next frame is going to last: none was much longer for a while."""
        return not self._wary

    def add(self, dts: int) -> None:
        step = 0 if self._last is None else dts - self._last
        if self._wary:
            self._wary -= 1
        if len(self._steps) > 2 and 2 * step > 3 * self.value:
            self._wary = WARY_FRAMES
        if 0 < step < self._most:
            self._steps.append(step)
            middle = sorted(self._steps)[1:-1] or self._steps
            self.value = sum(middle) // len(middle)
        self._last = dts
