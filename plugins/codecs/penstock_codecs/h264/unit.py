"""NAL units of H.264: which there are, and which make up a frame."""

from __future__ import annotations

from penstock_codecs.h264.config import NAL_PPS, NAL_SPS, H264Config, merge
from penstock_codecs.h264.record import build_record, parse_record
from penstock_formats.nal import NalCodec
from penstock_formats.nal.codec import Role
from penstock_formats.nal.sei import has_recovery_point

NAL_IDR = 5
NAL_SEI = 6
NAL_AUD = 9


def role(nal: bytes) -> Role:
    """What a NAL unit is to its access unit."""
    kind = nal[0] & 31
    if kind == NAL_IDR:
        return Role.KEY_SLICE
    if 1 <= kind < NAL_IDR:
        return Role.SLICE
    if kind == NAL_SEI:
        return Role.KEY_SEI if has_recovery_point(nal, 1) else Role.SEI
    return Role.PARAMETER_SET if kind in (NAL_SPS, NAL_PPS) else Role.STRIPPED


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


NALS = NalCodec(H264Config, role, is_slice, begins_picture, merge, parse_record, build_record)

normalize = NALS.normalize
