"""VP9 frames to RTP payloads (RFC 9628): flexible mode, without layers."""

from __future__ import annotations

import struct

from penstock.media import Frame
from penstock_codecs.vp9.header import Vp9Config

PICTURE_ID, INTER, LAYERS, FLEXIBLE, BEGINS, ENDS, SCALABILITY = 0x80, 0x40, 0x20, 0x10, 0x08, 0x04, 0x02
_ONE_BACK = b"\x02"
"""P_DIFF 1, N 0: whatever a frame refers to, one who has every picture so far can decode it."""

_STRUCTURE = struct.Struct(">BHH")
_HAS_SIZE = 0x10


class Vp9Packetizer:
    """With a picture id of 15 bits from 0 on; key frames tell their size in a scalability structure."""

    def __init__(self, max_payload: int) -> None:
        self._max = max_payload
        self._picture = 0

    def packetize(self, frame: Frame) -> list[bytes]:
        data = frame.units[0]
        picture = bytes((0x80 | self._picture >> 8, self._picture & 0xFF))
        self._picture = (self._picture + 1) & 0x7FFF
        flags, tail, structure = PICTURE_ID | FLEXIBLE | INTER, picture + _ONE_BACK, b""
        if frame.key:
            flags, tail = PICTURE_ID | FLEXIBLE, picture
            config = Vp9Config.of(frame.track.config)
            # RFC 9628 4.2.1: N_S and G are 0, Y says that the size follows.
            structure = _STRUCTURE.pack(_HAS_SIZE, config.width, config.height) if config.width else b""
        room = self._max - 1 - len(tail) - len(structure)
        first = flags | BEGINS | (SCALABILITY if structure else 0)
        if len(data) <= room:
            return [bytes((first | ENDS,)) + tail + structure + data]
        payloads = [bytes((first,)) + tail + structure + data[:room]]
        middle = bytes((flags,)) + tail
        step = self._max - len(middle)
        last = room + (len(data) - room - 1) // step * step
        payloads += [middle + data[at : at + step] for at in range(room, last, step)]
        payloads.append(bytes((flags | ENDS,)) + tail + data[last:])
        return payloads
