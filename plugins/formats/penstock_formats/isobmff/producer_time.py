"""The producer reference time (ISO/IEC 14496-12 8.16.5): which wall time a fragment's media time was."""

from __future__ import annotations

from attrs import frozen

from penstock.media import NS
from penstock_formats.isobmff.box import Box, full_box

NTP_EPOCH = 2_208_988_800
"""Seconds from 1900, where NTP counts from, to 1970."""


@frozen
class ProducerTime:
    """`media_time` in ticks of the track was at `wall`, in ns since 1970; it comes before its fragment."""

    track_id: int
    media_time: int
    wall: int
    flags: int = 0

    def build(self) -> bytes:
        """The ``prft`` box."""
        seconds, rest = divmod(self.wall, NS)
        ntp = (seconds + NTP_EPOCH) % (1 << 32) << 32 | (rest << 32) // NS
        body = (self.track_id.to_bytes(4, "big"), ntp.to_bytes(8, "big"), self.media_time.to_bytes(8, "big"))
        return full_box("prft", 1, self.flags, *body)


def parse_producer_time(prft: Box) -> ProducerTime:
    """What a ``prft`` box says. Raises `ProtocolViolation`."""
    fields = prft.fields
    version, flags = fields.full()
    track_id, ntp = fields.u(4), fields.u(8)
    seconds = (ntp >> 32) - NTP_EPOCH
    if seconds < 0:
        # RFC 4330 3: from 2036 on NTP counts anew.
        seconds += 1 << 32
    wall = seconds * NS + -(-(ntp & 0xFFFFFFFF) * NS >> 32)
    return ProducerTime(track_id, fields.u(8 if version else 4), wall, flags)
