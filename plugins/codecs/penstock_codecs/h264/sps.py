"""The sequence parameter set of H.264 (7.3.2.1.1)."""

from __future__ import annotations

from functools import lru_cache

from attrs import frozen

from penstock.errors import ProtocolViolation
from penstock_codecs.h264.level import max_dpb_frames
from penstock_formats.bits import BitReader
from penstock_formats.nal import MAX_PARAMETER_SET, unescape
from penstock_formats.nal.display import UNTOLD, Display, read_display

CLAUSE = "H.264 7.4.2.1.1"

CHROMA_PROFILES = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 134, 135, 138, 139})
"""profile_idc of which the SPS has chroma format and bit depths."""

INTRA_PROFILES = frozenset({44, 86, 100, 110, 122, 244})
"""profile_idc that constraint_set3_flag makes intra-only (E.2.1, max_num_reorder_frames)."""

MAX_MBS = 1055
"""Macroblocks a side: the square root of 8 * MaxFS at level 6.2 (A.3.1 f, g)."""

MAX_REFERENCES = 16
"""MaxDpbFrames is never above 16 (A.3.1 h)."""


@frozen
class Sps:
    """What is used of an SPS; sizes in pixels after cropping, `reorder` in frames."""

    id: int
    profile: int
    constraints: int
    level: int
    chroma_format: int
    luma_depth: int
    chroma_depth: int
    width: int
    height: int
    frame_rate: float | None
    reorder: int
    display: Display = UNTOLD


@frozen
class _Vui:
    frame_rate: float | None = None
    reorder: int | None = None
    display: Display = UNTOLD


@lru_cache(maxsize=128)
def parse_sps(nal: bytes) -> Sps:
    """The SPS in a NAL unit. Raises `ProtocolViolation`."""
    if len(nal) > MAX_PARAMETER_SET:
        raise ProtocolViolation(f"an SPS of {len(nal)} bytes", CLAUSE)
    r = BitReader(unescape(nal), CLAUSE)
    if r.u(8) & 31 != 7:
        raise ProtocolViolation("not a sequence parameter set", CLAUSE)
    profile, constraints, level = r.u(8), r.u(8), r.u(8)
    id_ = r.ue(31)
    chroma_format, luma_depth, chroma_depth = 1, 8, 8
    chroma_array = 1
    if profile in CHROMA_PROFILES:
        chroma_format = chroma_array = r.ue(3)
        if chroma_format == 3 and r.flag():
            chroma_array = 0
        luma_depth, chroma_depth = 8 + r.ue(6), 8 + r.ue(6)
        r.skip(1)
        if r.flag():
            _skip_scaling_lists(r, 8 if chroma_format != 3 else 12)
    r.ue(12)
    order_type = r.ue(2)
    if order_type == 0:
        r.ue(12)
    elif order_type == 1:
        r.skip(1)
        r.se()
        r.se()
        for _ in range(r.ue(255)):
            r.se()
    references = r.ue(MAX_REFERENCES)
    r.skip(1)
    mbs_wide = r.ue(MAX_MBS - 1) + 1
    map_units_high = r.ue(MAX_MBS - 1) + 1
    frames_only = r.flag()
    if not frames_only:
        r.skip(1)
    r.skip(1)
    fields = 1 if frames_only else 2
    mbs_high = map_units_high * fields
    width, height = mbs_wide * 16, mbs_high * 16
    if r.flag():
        # 7.4.2.1.1: CropUnitX and CropUnitY.
        unit_x = 2 if chroma_array in (1, 2) else 1
        unit_y = (2 if chroma_array == 1 else 1) * fields
        width -= unit_x * (r.ue() + r.ue())
        height -= unit_y * (r.ue() + r.ue())
        if width <= 0 or height <= 0:
            raise ProtocolViolation("the picture is cropped to nothing", CLAUSE)
    vui = _parse_vui(r) if r.flag() else _Vui()
    if order_type == 2 or profile == 66:
        # 8.2.1.3: output order is decoding order; Baseline has no B slices and encoders of it do not reorder.
        reorder = 0
    elif vui.reorder is not None:
        reorder = vui.reorder
    elif profile in INTRA_PROFILES and constraints & 0x10:
        reorder = 0
    elif references < 2:
        # Frames that are shown before ones decoded earlier refer to two, and encoders of those have more than one.
        reorder = 0
    else:
        # What is decoded before a frame and shown after it is what that frame refers to.
        reorder = min(references, max_dpb_frames(profile, constraints, level, mbs_wide * mbs_high))
    return Sps(
        id_,
        profile,
        constraints,
        level,
        chroma_format,
        luma_depth,
        chroma_depth,
        width,
        height,
        vui.frame_rate,
        reorder,
        vui.display,
    )


def _skip_scaling_lists(r: BitReader, count: int) -> None:
    """7.3.2.1.1.1."""
    for index in range(count):
        if not r.flag():
            continue
        last = following = 8
        for _ in range(16 if index < 6 else 64):
            if following:
                following = (last + r.se()) % 256
            last = following or last


def _parse_vui(r: BitReader) -> _Vui:
    """E.1.1. Decoding needs none of it, and some cameras cut it short: a broken one counts as absent."""
    frame_rate: float | None = None
    display = UNTOLD
    try:
        display = read_display(r)
        if r.flag():
            units, scale = r.u(32), r.u(32)
            r.skip(1)
            if units and scale:
                frame_rate = scale / (2 * units)
        nal_hrd = r.flag()
        if nal_hrd:
            _skip_hrd(r)
        vcl_hrd = r.flag()
        if vcl_hrd:
            _skip_hrd(r)
        if nal_hrd or vcl_hrd:
            r.skip(1)
        r.skip(1)
        if not r.flag():
            return _Vui(frame_rate, None, display)
        r.skip(1)
        for _ in range(4):
            r.ue()
        reorder = r.ue(MAX_REFERENCES)
        r.ue(MAX_REFERENCES)
    except ProtocolViolation:
        return _Vui(frame_rate, None, display)
    return _Vui(frame_rate, reorder, display)


def _skip_hrd(r: BitReader) -> None:
    """E.1.2."""
    count = r.ue(31) + 1
    r.skip(8)
    for _ in range(count):
        r.ue()
        r.ue()
        r.skip(1)
    r.skip(20)
