"""Supplemental enhancement information, whose messages H.264 (7.3.2.3.1) and H.265 (7.3.5) write alike."""

from __future__ import annotations

from penstock_formats.nal.syntax import unescape

RECOVERY_POINT = 6

MAX_SEI_MESSAGES = 32
"""SEI messages looked at in one NAL unit; encoders write a handful."""


def has_recovery_point(sei: bytes, header_size: int) -> bool:
    """Whether an SEI NAL unit says that decoding may start here (H.264 D.2.8, H.265 D.3.8).

    Its pictures are whole at once (open GOP) or some frames later (gradual refresh): there is no better place to start
    in a stream that has one key frame only.
    """
    data = unescape(sei)
    position, end = header_size, len(data)
    for _ in range(MAX_SEI_MESSAGES):
        # Type and size, each with 0xff for every 255; there is no type above 254.
        if position + 2 > end or data[position] == 0xFF:
            return False
        kind = data[position]
        position += 1
        size = 0
        while position < end and data[position] == 0xFF:
            size += 255
            position += 1
        if position >= end:
            return False
        size += data[position]
        position += 1
        if kind == RECOVERY_POINT:
            return position < end and size > 0
        position += size
    return False
