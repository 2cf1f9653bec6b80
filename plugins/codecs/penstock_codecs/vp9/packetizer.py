"""VP9 frames to RTP payloads (RFC 9628): non-flexible mode, without layers.

FFmpeg (5.1 to 9) does not pass over the references that flexible mode puts in each packet, and takes them for the frame's bytes.
"""

from __future__ import annotations

import struct

from penstock.media import Frame
from penstock_codecs.vp9.header import Vp9Config

PICTURE_ID, INTER, LAYERS, FLEXIBLE, BEGINS, ENDS, SCALABILITY = 0x80, 0x40, 0x20, 0x10, 0x08, 0x04, 0x02
_STRUCTURE = struct.Struct(">BHH")
_HAS_SIZE, _HAS_GROUP = 0x10, 0x08
_GROUP = b"\x01\x04\x01"
"""N_G 1, of which each picture has R 1 with P_DIFF 1: whatever it refers to, who has every picture so far can decode it."""


class Vp9Packetizer:
    """With a picture id of 15 bits from 0 on; key frames tell their size in a scalability structure."""

    def __init__(self, max_payload: int) -> None:
        self._max = max_payload
        self._picture = 0

    def packetize(self, frame: Frame) -> list[bytes]:
        data = frame.units[0]
        picture = bytes((0x80 | self._picture >> 8, self._picture & 0xFF))
        self._picture = (self._picture + 1) & 0x7FFF
        flags, structure = PICTURE_ID | INTER, b""
        if frame.key:
            flags = PICTURE_ID
            config = Vp9Config.of(frame.track.config)
            # RFC 9628 4.2.1: N_S 0, Y says that the size follows, G the picture group.
            structure = bytes((_HAS_GROUP,))
            if config.width:
                structure = _STRUCTURE.pack(_HAS_SIZE | _HAS_GROUP, config.width, config.height)
            structure += _GROUP
        room = self._max - 1 - len(picture) - len(structure)
        first = flags | BEGINS | (SCALABILITY if structure else 0)
        if len(data) <= room:
            return [bytes((first | ENDS,)) + picture + structure + data]
        payloads = [bytes((first,)) + picture + structure + data[:room]]
        middle = bytes((flags,)) + picture
        step = self._max - len(middle)
        last = room + (len(data) - room - 1) // step * step
        payloads += [middle + data[at : at + step] for at in range(room, last, step)]
        payloads.append(bytes((flags | ENDS,)) + picture + data[last:])
        return payloads
