"""Frames as RTP payloads, and what is the same for all viewers of those that go out at once, worked out once for all of them."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.media import Frame, Kind, to_ticks
from penstock.ring import Unit


class PayloadUnit(Unit):
    """One frame as RTP payloads. `pts` is in ns, `rtp_time` that by the track's clock, before a sender's own offset; `ticks` are
    the RTP times of the payloads after the first one's.

    `begins` says that its own track may begin here, `key` that readers of the feed may. `number` is how many payloads the track
    had before, and `end` and `octets` are how many, and how many bytes, with these.
    """

    __slots__ = ("_clock_rate", "begins", "end", "number", "octets", "pts", "rtp_time", "ticks")

    def __init__(
        self,
        frame: Frame,
        payloads: tuple[bytes, ...],
        ticks: tuple[int, ...],
        clock_rate: int,
        *,
        key: bool,
        after: PayloadUnit | None,
    ) -> None:
        super().__init__(frame.track, payloads, frame.dts, key=key, video=frame.track.kind is Kind.VIDEO)
        self.pts = frame.pts
        self.begins = frame.key
        self.ticks = ticks
        self.number: int = after.end if after is not None else 0
        self.end: int = self.number + len(payloads)
        self.octets: int = self.size + (after.octets if after is not None else 0)
        self._clock_rate = clock_rate
        self.rtp_time = to_ticks(frame.pts, clock_rate)

    def ticks_of(self, pts: int) -> int:
        """The RTP time of the frame where it is shown at `pts`, before a sender's own offset."""
        return self.rtp_time if pts == self.pts else to_ticks(pts, self._clock_rate)


class Frames:
    """Frames of one track that follow each other: `number` is that of the first payload, `pts` the earliest of them in ns, and
    `rows` has of each the number of its first payload, its RTP time and the payloads.

    `plain` says that all payloads of a frame have its time, and that none is missing between two.
    """

    __slots__ = ("last", "number", "plain", "pts", "rows", "track", "units")

    def __init__(self, track: int, units: Sequence[PayloadUnit]) -> None:
        first, last = units[0], units[-1]
        self.track = track
        self.units = units
        self.last = last
        self.number = first.number
        self.pts = min(unit.pts for unit in units)
        self.rows = [(unit.number, unit.rtp_time, unit.payloads) for unit in units]
        count = sum(len(unit.payloads) for unit in units)
        self.plain = last.end - first.number == count and not any(unit.ticks for unit in units)


class Batches:
    """The frames of each track by what the pump gives to one viewer after the other, which is the same list for all of them."""

    __slots__ = ("_found", "_units")

    def __init__(self) -> None:
        self._units: Sequence[Unit] = ()
        self._found: Sequence[Frames] = ()

    def of(self, units: Sequence[Unit]) -> Sequence[Frames]:
        """Pictures first: sound, which is in smaller packets, then goes out in one call with what follows it."""
        if units is not self._units:
            self._units, self._found = units, _sorted(units)
        return self._found


def _sorted(units: Sequence[Unit]) -> Sequence[Frames]:
    tracks: dict[int, list[PayloadUnit]] = {}
    for unit in units:
        if isinstance(unit, PayloadUnit) and unit.of is not None:
            tracks.setdefault(unit.of, []).append(unit)
    found = [Frames(track, of) for track, of in tracks.items()]
    found.sort(key=lambda frames: not frames.last.video)
    return found
