"""How fast a body is taken that comes faster than it plays: a file that is uploaded."""

from __future__ import annotations

from penstock.media import NS

LEAD = 2 * NS
"""How far a publisher may be ahead: live encoders send what they have gathered at once, and then keep to the clock."""
DRIFT = 1000
"""A thousandth faster than our clock is still live: no quartz is so wrong, and none may fall behind for ever."""


class Pace:
    """Tells how long to wait before more is taken, so that TCP slows the sender down; times are in ns."""

    def __init__(self) -> None:
        self._start: tuple[int, int] | None = None

    def wait(self, media: int, now: int) -> int:
        """Ns to wait, 0 for none, where the stream is at `media` by its own clock and it is `now`."""
        if self._start is None:
            self._start = media, now
        first, began = self._start
        passed = now - began
        ahead = media - first - passed - passed // DRIFT
        return max(0, ahead - LEAD)
