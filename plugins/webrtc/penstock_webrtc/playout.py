"""How much later than at once a viewer is to show pictures, so that what it lost is there in time (playout-delay)."""

from __future__ import annotations

from attrs import define

EXTENSION = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"
"""The URI of the header extension: 12 bits of the least delay, and 12 of the most, in units of 10 ms."""
UNIT_NS = 10_000_000
MOST = 25
"""A quarter of a second: what comes later than that is not worth that everything is late."""
HELD_NS = 15_000_000_000
"""How long a loss is remembered: a viewer at a good path waits for nothing."""
_LIMIT = 1000
"""What is said of the most: the ten seconds that browsers have anyway."""


@define(eq=False)
class Playout:
    """The delay of one viewer. Times are ns of any steady clock."""

    number: int
    """The extension's id, as the peer has it."""
    _units: int = 0
    _at: int = 0

    def repeated(self, after: int, now: int) -> None:
        """A packet went out again so long after it had been sent: shown so much later, it would have been there."""
        units = min(MOST, after // UNIT_NS + 1)
        if units >= self._units or now - self._at > HELD_NS:
            self._units, self._at = units, now

    def extension(self, now: int) -> bytes:
        """What is between a packet's header and its payload (RFC 8285 4.2); empty where pictures are shown at once.

        A delay holds until it is told otherwise, which packets do for as long again as a loss is remembered.
        """
        age = now - self._at
        if not self._units or age > 2 * HELD_NS:
            return b""
        units = self._units if age <= HELD_NS else 0
        return b"\xbe\xde\0\1" + (self.number << 28 | 2 << 24 | units << 12 | _LIMIT).to_bytes(4, "big")
