"""Temporal units to RTP payloads (AV1 RTP 4)."""

from __future__ import annotations

from penstock.media import Frame
from penstock_codecs.av1.obu import write_leb128
from penstock_codecs.av1.sequence import Av1Config

CONTINUES, CONTINUED, NEW_SEQUENCE = 0x80, 0x40, 0x08
_MOST_ELEMENTS = 3
"""AV1 RTP 4.4: as many as the W field counts, so that the last element needs no length."""


class Av1Packetizer:
    """Fills each packet to `max_payload`, with up to three OBU elements."""

    def __init__(self, max_payload: int) -> None:
        self._room = max_payload - 1

    def packetize(self, frame: Frame) -> list[bytes]:
        obus = frame.units
        first = 0
        if frame.key:
            first = NEW_SEQUENCE
            header = Av1Config.of(frame.track.config).sequence_header
            if header:
                obus = (header, *obus)
        payloads: list[bytes] = []
        closed: list[bytes] = []
        flags, room = first, self._room
        for obu in obus:
            at, size = 0, len(obu)
            while size - at > room:
                closed.append(obu[at : at + room])
                payloads.append(_payload(flags | CONTINUED, closed))
                at += room
                closed, flags, room = [], CONTINUES, self._room
            closed.append(obu[at:] if at else obu)
            # What it takes as one of several: its length in front, and a byte at least for the next.
            room -= size - at + len(write_leb128(size - at))
            if room < 1 or len(closed) == _MOST_ELEMENTS:
                payloads.append(_payload(flags, closed))
                closed, flags, room = [], 0, self._room
        if closed:
            payloads.append(_payload(flags, closed))
        return payloads


def _payload(flags: int, elements: list[bytes]) -> bytes:
    parts = [bytes((flags | len(elements) << 4,))]
    for element in elements[:-1]:
        parts.append(write_leb128(len(element)))
        parts.append(element)
    parts.append(elements[-1])
    return b"".join(parts)
