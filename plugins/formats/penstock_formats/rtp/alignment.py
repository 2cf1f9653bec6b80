"""Where the tracks of one RTP sender stand to each other: as its reports say, and until then as they arrive.

RTP times begin at random and say nothing across tracks; a sender report (RFC 3550 6.4.1) puts one of them beside
the sender's wall clock. FFmpeg sends it with each track's first packet, GStreamer 1 to 3 s later, some cameras never.
"""

from __future__ import annotations

from bisect import insort
from collections import deque

from penstock.clock import MAX_REORDER, MAX_USUAL
from penstock.media import NS, to_ns, to_ticks

WAIT_NS = NS // 4
"""How long a track's first frames wait for its report, while arrivals are gathered to do without one (ADR 0014)."""
STEP_NS = 15_000_000
"""An error below this is left alone: a step in mid-stream is worse than what nobody notices."""
FAR_NS = 5 * NS
"""Reports that put tracks further apart than they arrive are not believed: no sender interleaves that coarsely."""
ASTRAY_NS = NS // 5
"""By how much RTP time may run ahead of the wall clock between the first and the last report: the first may have been late."""
ARRIVALS = 64
"""Frames of which the least delayed tells how a track arrives: 1.3 to 2.6 s."""
REPORTS_NS = 10 * NS
"""Reports of so long, by the sender's wall clock, of which the least late counts: clocks drift by a millisecond in that."""
MAX_REPORTS = 64
"""And no more than these: who reports more often than six times a second floods."""


class TrackClock:
    """One track's RTP clock. Times are unwrapped ticks of its `rate`, arrivals ns of any steady clock."""

    __slots__ = (
        "_decoded",
        "_delays",
        "_depth",
        "_reports",
        "_stale",
        "_waiting",
        "began",
        "first",
        "rate",
        "shift",
    )

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self.shift: int | None = None
        """What to add to its ticks to be on the clock of all tracks; None until it is placed."""
        self.began: int | None = None
        """When its first frame came."""
        self.first = 0
        self._depth = 0
        self._stale = False
        self._waiting: list[int] = []
        self._decoded: deque[int] = deque(maxlen=MAX_REORDER)
        self._delays: deque[int] = deque(maxlen=ARRIVALS)
        self._reports: deque[tuple[int, int]] = deque(maxlen=MAX_REPORTS)

    def frame(self, ticks: int, arrival: int, declared: int = 0) -> None:
        """A frame that is shown at `ticks` came in; its codec's config says that at most `declared` are reordered.

        It was sent when it is to be decoded. Where output order lags d frames behind decoding order, the n-th smallest of
        the times shown is when frame n + d is decoded. A config says too much where no frame is reordered, as cameras do.
        """
        if self.began is None:
            self.began, self.first = arrival, ticks
        if self._stale:
            self._forget()
        waiting, decoded = self._waiting, self._decoded
        insort(waiting, ticks)
        while decoded and ticks < decoded[-1] and self._depth < MAX_REORDER:
            depth = max(self._depth + 1, declared if declared <= MAX_USUAL else 0)
            for _ in range(min(depth - self._depth, len(decoded))):
                insort(waiting, decoded.pop())
            self._depth = depth
            self._delays.clear()
        if len(waiting) > self._depth:
            decoded.append(waiting.pop(0))
            self._delays.append(arrival - to_ns(decoded[-1], self.rate))

    @property
    def delay(self) -> int:
        """From decoding time to arrival, the least of the last frames: on the way packets are only ever held up."""
        began = self.began or 0
        return min(self._delays, default=began - to_ns(self.first, self.rate))

    def reported(self, at: int, ticks: int) -> None:
        """A sender report: at the wall time `at`, in ns, it was `ticks`."""
        reports = self._reports
        if reports and (at, ticks) == reports[-1]:
            # aiortc says again what it said of its last packet while it sends no other.
            return
        if reports and at < reports[-1][0]:
            # Its clock was set back: what it said before is of another time.
            reports.clear()
        while len(reports) > 1 and at - reports[0][0] > REPORTS_NS:
            reports.popleft()
        reports.append((at, ticks))

    @property
    def report(self) -> tuple[int, int] | None:
        """The least late of the last sender reports: wall time in ns, and the ticks it stands for.

        Some senders (aiortc, GStreamer) tell when a frame went out, and that is later than they would have it where they
        were held up, by 130 ms on a busy machine; none tells it too early.
        """
        return min(self._reports, key=lambda told: told[0] - to_ns(told[1], self.rate), default=None)

    @property
    def astray(self) -> bool:
        """Whether the reports contradict each other: RTP time runs at half the wall clock's speed too much at least.

        Those of webrtcbin (GStreamer 1.22) run at twice its speed: to the time of the packet sent last they add how long the
        pipeline has run, and not how long ago that packet was.
        """
        if len(self._reports) < 2:
            return False
        (at, ticks), (last_at, last_ticks) = self._reports[0], self._reports[-1]
        return to_ns(last_ticks - ticks, self.rate) - (last_at - at) > max(ASTRAY_NS, (last_at - at) // 2)

    @property
    def confirmed(self) -> bool:
        """Whether another report says what the least late one does."""
        offsets = sorted(at - to_ns(ticks, self.rate) for at, ticks in self._reports)
        return len(offsets) > 1 and offsets[1] - offsets[0] < STEP_NS

    def wall(self, ticks: int) -> int | None:
        """The sender's wall time at `ticks`; None without a report."""
        if self.report is None:
            return None
        at, reported = self.report
        return at + to_ns(ticks - reported, self.rate)

    def exact(self, origin: int) -> int | None:
        """The shift with which ticks count from the wall time `origin`; None without a report."""
        if self.report is None:
            return None
        at, reported = self.report
        return to_ticks(at - origin, self.rate) - reported

    def restart(self) -> None:
        """A new numbering (another SSRC): nothing of the old one holds, but who waits already waits no longer for it."""
        if self.shift is not None:
            self.shift = self.began = None
        self._reports.clear()
        self._depth = 0
        self._forget()

    def watch_anew(self) -> None:
        """How it arrived before says nothing any more, once it arrives again."""
        self._stale = True

    def _forget(self) -> None:
        self._stale = False
        self._waiting.clear()
        self._decoded.clear()
        self._delays.clear()


class Alignment:
    """The clocks of all tracks of a sender, put on one that counts from one second before the first frame."""

    def __init__(self) -> None:
        self.clocks: list[TrackClock] = []
        self._origin: int | None = None
        self._settled = False
        self._astray = False
        self._watches = False
        self._doubt: int | None = None

    def add(self, rate: int) -> TrackClock:
        clock = TrackClock(rate)
        self.clocks.append(clock)
        return clock

    def restart(self, clock: TrackClock) -> None:
        """A new numbering of one track, which is placed by how the others arrive now: their clock has drifted since they were."""
        clock.restart()
        for other in self.clocks:
            if other.shift is not None:
                other.watch_anew()

    def waits(self, now: int) -> bool:
        """Whether a track that has begun may still get a report that makes its place exact."""
        return len(self.clocks) > 1 and any(
            c.shift is None and c.report is None and c.began is not None and now - c.began < WAIT_NS
            for c in self.clocks
        )

    @property
    def watches(self) -> bool:
        """Whether arrivals are watched: a track has no place yet, or one by reports that nothing has confirmed."""
        return self._watches or not self.complete

    @property
    def complete(self) -> bool:
        """Every track has its place."""
        for clock in self.clocks:  # noqa: SIM110 - asked for each frame, and a generator is resumed for each clock
            if clock.shift is None:
                return False
        return True

    def place(self) -> None:
        """Give each track that has begun its place, by reports where there are any."""
        new = [c for c in self.clocks if c.shift is None and c.began is not None]
        placed = [c for c in self.clocks if c.shift is not None]
        if not new:
            return
        # A new track with a report is placed before one without, which then follows it by arrival.
        new.sort(key=lambda c: c.report is None)
        leader = placed[0] if placed else new[0]
        if leader.shift is None:
            leader.shift = leader.rate - leader.first
        if self._origin is None:
            self._take_origin(leader)
        for clock in new:
            if clock is leader:
                continue
            by_arrival = to_ns(leader.shift, leader.rate) + clock.delay - leader.delay
            origin = None if self._astray else self._origin
            exact = None if origin is None else clock.exact(origin)
            if exact is None or abs(to_ns(exact, clock.rate) - by_arrival) > FAR_NS:
                exact = to_ticks(by_arrival, clock.rate)
                self._settled = False
            clock.shift = exact
        self._watches = not self._settled and any(c.report is not None for c in self.clocks)

    def _take_origin(self, leader: TrackClock) -> None:
        """The leader stays where it is: what follows from that is where the others belong."""
        if leader.shift is not None:
            self._origin = leader.wall(-leader.shift)

    def correct(self) -> int:
        """Move tracks forwards, never back, to where new reports put them; by how many ns, 0 for not at all.

        Reports are believed when a second one of each track agrees: one may have been late. Later ones are when the next agree:
        between the reports of two tracks the sender's clock may have been set.
        """
        clocks = [c for c in self.clocks if c.shift is not None]
        if len(clocks) < 2 or any(c.report is None for c in clocks):
            return 0
        if not self._settled and all(c.astray for c in clocks):
            return self._correct_by_arrival(clocks)
        if self._origin is None:
            self._take_origin(clocks[0])
        origin = self._origin
        errors = {
            c: to_ns(exact - c.shift, c.rate)
            for c in clocks
            if origin is not None and c.shift is not None and (exact := c.exact(origin)) is not None
        }
        least = min(errors.values())
        error = max(errors.values()) - least
        if not self._settled:
            sure = self._settled = all(c.confirmed for c in clocks)
            self._watches = not sure
        else:
            sure = self._doubt is not None and abs(error - self._doubt) < STEP_NS
        self._doubt = error
        if origin is None or not sure or not STEP_NS < error < FAR_NS:
            return 0
        self._origin = origin + least
        return _move(errors)

    def _correct_by_arrival(self, clocks: list[TrackClock]) -> int:
        """The same where reports are of no use, once: by the first of them the tracks were placed."""
        if self._astray:
            return 0
        self._astray, self._watches = True, False
        late = {c: c.delay - to_ns(c.shift, c.rate) for c in clocks if c.shift is not None}
        error = max(late.values()) - min(late.values())
        return _move(late) if STEP_NS < error < FAR_NS else 0


def _move(errors: dict[TrackClock, int]) -> int:
    """Move each track forwards by how much more it is behind than the one that is least; returns the most of that."""
    least = min(errors.values())
    for clock, away in errors.items():
        if clock.shift is not None:
            clock.shift += to_ticks(away - least, clock.rate)
    return max(errors.values()) - least
