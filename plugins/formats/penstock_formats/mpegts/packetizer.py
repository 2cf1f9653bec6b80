"""What one PID carries, cut into packets."""

from __future__ import annotations

from functools import lru_cache
from struct import Struct

from penstock_formats.mpegts.packet import BODY, SIZE, SYNC

DATAGRAM_PACKETS = 7
"""What SRT and UDP carry at once: 1316 bytes, which leave room for all headers in 1500."""

_PAYLOAD, _ADAPTED = 0x10, 0x20
_STUFFING = b"\xff" * BODY
_COUNTERS = bytes([_PAYLOAD | counter for counter in range(16)])
"""The last header byte of sixteen packets in a row."""


@lru_cache(maxsize=512)
def _cutter(count: int) -> Struct:
    """Cuts `count` payloads off a buffer in one call: a slice for each takes twice as long."""
    return Struct(f"{BODY}s" * count)


class Packetizer:
    """The packets of one PID, whose continuity counter goes on from call to call."""

    def __init__(self, pid: int) -> None:
        self._first = bytes((SYNC, pid >> 8 | 0x40, pid & 255))
        self._header = bytes((SYNC, pid >> 8, pid & 255, _PAYLOAD))
        self._counter = 0

    def packets(self, data: bytes, adaptation: bytes = b"") -> bytes:
        """Whole packets with `data`, which begins in the first; `adaptation` are the fields of that one's, from its flags on."""
        counter = self._counter
        if adaptation:
            head = self._first + bytes((_PAYLOAD | _ADAPTED | counter, len(adaptation))) + adaptation
        else:
            head = self._first + bytes((_PAYLOAD | counter,))
        room = SIZE - len(head)
        if len(data) < room:
            self._counter = counter + 1 & 15
            length = BODY - 1 - len(data)
            head = (
                self._first
                + bytes((_PAYLOAD | _ADAPTED | counter, length))
                + (adaptation or b"\x00"[:length])
            )
            return head + _STUFFING[: SIZE - len(head) - len(data)] + data
        count, left = divmod(len(data) - room, BODY)
        packets = 1 + count + (left > 0)
        self._counter = counter + packets & 15
        parts = [head + data[:room], *_cutter(count).unpack_from(data, room)]
        if left:
            stuffing = BODY - left
            fields = bytes((stuffing - 1,)) + b"\x00"[: stuffing - 1] + _STUFFING[: max(stuffing - 2, 0)]
            parts.append(fields + data[-left:])
        # First all with one header, and then what differs: a quarter less than with a header for each.
        joined = bytearray(self._header.join(parts))
        joined[3::SIZE] = (_COUNTERS * (packets // 16 + 2))[counter : counter + packets]
        if adaptation:
            joined[3] |= _ADAPTED
        if left:
            joined[3 - SIZE] |= _ADAPTED
        return bytes(joined)

    def adaptation_only(self, adaptation: bytes) -> bytes:
        """A packet without payload, which does not count (H.222.0 2.4.3.3)."""
        head = self._header[:3] + bytes((_ADAPTED | (self._counter - 1 & 15), BODY - 1)) + adaptation
        return head + _STUFFING[: SIZE - len(head)]


def datagrams(packets: bytes, most: int = DATAGRAM_PACKETS) -> tuple[bytes, ...]:
    """`packets` in payloads of datagrams, `most` in each: none is split, and what is left at the end makes a shorter one."""
    step = most * SIZE
    if len(packets) <= step:
        return (packets,) if packets else ()
    return tuple([packets[at : at + step] for at in range(0, len(packets), step)])
