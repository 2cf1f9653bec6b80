"""NAL units of H.264: which there are, and which make up a frame."""

from __future__ import annotations

from collections.abc import Sequence

from penstock_codecs.h264.config import NAL_PPS, NAL_SPS, H264Config, merge
from penstock_formats.nal import unescape

NAL_IDR = 5
NAL_SEI = 6
NAL_AUD = 9

SEI_RECOVERY_POINT = 6

MAX_SEI_MESSAGES = 32
"""SEI messages looked at for a recovery point in one NAL unit; encoders write a handful."""


def normalize(
    nals: Sequence[bytes], previous: H264Config | None
) -> tuple[tuple[bytes, ...], bool, H264Config | None]:
    """The NAL units of one access unit in normal form, whether it is key, and its config where that changed.

    Raises `ProtocolViolation` for parameter sets that cannot be parsed.
    """
    units: list[bytes] = []
    sets: list[bytes] = []
    picture = key = False
    for raw in nals:
        # 7.4.1: a NAL unit does not end in zeros; FFmpeg takes the one before the next start code along.
        nal = raw.rstrip(b"\x00")
        if not nal:
            continue
        kind = nal[0] & 31
        if 1 <= kind <= NAL_IDR:
            units.append(nal)
            picture = True
            if kind == NAL_IDR:
                key = True
        elif kind == NAL_SEI:
            units.append(nal)
            if not key and is_exact_recovery_point(nal):
                key = True
        elif kind in (NAL_SPS, NAL_PPS):
            sets.append(nal)
    config = merge(previous, sets) if sets else None
    if not picture:
        return (), False, config
    return tuple(units), key, config


def is_exact_recovery_point(sei: bytes) -> bool:
    """Whether an SEI NAL unit has a recovery point whose recovery_frame_cnt is 0 (D.2.8)."""
    data = unescape(sei)
    position, end = 1, len(data)
    for _ in range(MAX_SEI_MESSAGES):
        # 7.3.2.3.1: type and size, each with 0xff for every 255; there is no type above 254.
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
        if kind == SEI_RECOVERY_POINT:
            # ue(v) of 0 is a single 1 bit.
            return position < end and size > 0 and data[position] & 0x80 != 0
        position += size
    return False


def is_slice(nal: bytes) -> bool:
    """Whether `nal`, or the NAL unit that starts with it, is a coded slice."""
    return 1 <= nal[0] & 31 <= NAL_IDR


def begins_picture(nal: bytes) -> bool:
    """Whether `nal`, or the NAL unit that starts with it, surely begins an access unit (7.4.1.2.3)."""
    kind = nal[0] & 31
    if kind in (NAL_AUD, NAL_SPS):
        return True
    # first_mb_in_slice of 0 is a single 1 bit.
    return 1 <= kind <= NAL_IDR and len(nal) > 1 and nal[1] & 0x80 != 0
