"""NAL units of H.265: which there are, and which make up a frame."""

from __future__ import annotations

from collections.abc import Sequence

from penstock_codecs.h265.config import NAL_PPS, NAL_SPS, NAL_VPS, H265Config, merge

NAL_BLA_W_LP = 16
NAL_CRA = 21
NAL_LAST_SLICE = 31
NAL_AUD = 35
NAL_PREFIX_SEI = 39
NAL_SUFFIX_SEI = 40


def normalize(
    nals: Sequence[bytes], previous: H265Config | None
) -> tuple[tuple[bytes, ...], bool, H265Config | None]:
    """The NAL units of one access unit in normal form, whether it is key, and its config where that changed.

    Raises `ProtocolViolation` for parameter sets that cannot be parsed.
    """
    units: list[bytes] = []
    sets: list[bytes] = []
    picture = key = False
    for raw in nals:
        # 7.4.2.1: a NAL unit does not end in zeros; FFmpeg takes the one before the next start code along.
        nal = raw.rstrip(b"\x00")
        # 7.3.1.2: a header of two bytes; its nuh_layer_id above 0 is of another layer.
        if len(nal) < 3 or nal[0] & 1 or nal[1] >> 3:
            continue
        kind = nal[0] >> 1 & 63
        if kind <= NAL_LAST_SLICE:
            units.append(nal)
            picture = True
            if NAL_BLA_W_LP <= kind <= NAL_CRA:
                key = True
        elif kind in (NAL_PREFIX_SEI, NAL_SUFFIX_SEI):
            units.append(nal)
        elif kind in (NAL_VPS, NAL_SPS, NAL_PPS):
            sets.append(nal)
    config = merge(previous, sets) if sets else None
    if not picture:
        return (), False, config
    return tuple(units), key, config


def is_slice(nal: bytes) -> bool:
    """Whether `nal`, or the NAL unit that starts with it, is a coded slice segment."""
    return nal[0] >> 1 & 63 <= NAL_LAST_SLICE


def begins_picture(nal: bytes) -> bool:
    """Whether `nal`, or the NAL unit that starts with it, surely begins an access unit (7.4.2.4.4)."""
    kind = nal[0] >> 1 & 63
    if kind in (NAL_VPS, NAL_SPS, NAL_AUD):
        return True
    # first_slice_segment_in_pic_flag.
    return kind <= NAL_LAST_SLICE and len(nal) > 2 and nal[2] & 0x80 != 0
