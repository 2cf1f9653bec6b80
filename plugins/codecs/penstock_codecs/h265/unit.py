"""NAL units of H.265: which there are, and which make up a frame."""

from __future__ import annotations

from penstock_codecs.h265.config import NAL_PPS, NAL_SPS, NAL_VPS, H265Config, merge
from penstock_codecs.h265.record import build_record, parse_record
from penstock_formats.nal import NalCodec
from penstock_formats.nal.codec import Role
from penstock_formats.nal.sei import has_recovery_point

NAL_BLA_W_LP = 16
NAL_CRA = 21
NAL_LAST_SLICE = 31
NAL_AUD = 35
NAL_PREFIX_SEI = 39
NAL_SUFFIX_SEI = 40


def role(nal: bytes) -> Role:
    """What a NAL unit is to its access unit."""
    # 7.3.1.2: a header of two bytes; its nuh_layer_id above 0 is of another layer.
    if len(nal) < 3 or nal[0] & 1 or nal[1] >> 3:
        return Role.STRIPPED
    kind = nal[0] >> 1 & 63
    if kind <= NAL_LAST_SLICE:
        return Role.KEY_SLICE if NAL_BLA_W_LP <= kind <= NAL_CRA else Role.SLICE
    if kind == NAL_PREFIX_SEI:
        return Role.KEY_SEI if has_recovery_point(nal, 2) else Role.SEI
    if kind == NAL_SUFFIX_SEI:
        return Role.SEI
    return Role.PARAMETER_SET if kind in (NAL_VPS, NAL_SPS, NAL_PPS) else Role.STRIPPED


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


NALS = NalCodec(H265Config, role, is_slice, begins_picture, merge, parse_record, build_record)

normalize = NALS.normalize
