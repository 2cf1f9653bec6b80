"""The sequence parameter set of H.265 (7.3.2.2.1), as far as its timing."""

from __future__ import annotations

from functools import lru_cache

from attrs import frozen

from penstock.errors import ProtocolViolation
from penstock_codecs.h265.profile import Profile, parse_profile
from penstock_formats.bits import BitReader
from penstock_formats.nal import MAX_PARAMETER_SET, unescape
from penstock_formats.nal.display import UNTOLD, Display, read_display

CLAUSE = "H.265 7.4.3.2.1"

MAX_SIDE = 33776
"""Luma samples a side: the square root of 8 * MaxLumaPs at level 7.2 (A.4.1 b, c)."""

MAX_PICTURES = 16
"""maxDpbSize is never above 16 (A.4.2)."""


@frozen
class Sps:
    """What is used of an SPS; sizes in pixels after cropping, `reorder` in pictures."""

    id: int
    sub_layers: int
    nested: bool
    profile: Profile
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
    display: Display = UNTOLD


@lru_cache(maxsize=128)
def parse_sps(nal: bytes) -> Sps:
    """The SPS in a NAL unit. Raises `ProtocolViolation`."""
    if len(nal) > MAX_PARAMETER_SET:
        raise ProtocolViolation(f"an SPS of {len(nal)} bytes", CLAUSE)
    r = BitReader(unescape(nal), CLAUSE)
    if r.u(16) >> 9 & 63 != 33:
        raise ProtocolViolation("not a sequence parameter set", CLAUSE)
    r.skip(4)
    sub_layers = r.u(3) + 1
    if sub_layers > 7:
        raise ProtocolViolation("more than 7 temporal sub-layers", CLAUSE)
    nested = r.flag()
    profile = parse_profile(r, sub_layers)
    id_ = r.ue(15)
    chroma_format = r.ue(3)
    separate = chroma_format == 3 and r.flag()
    width, height = r.ue(MAX_SIDE), r.ue(MAX_SIDE)
    if r.flag():
        # 7.4.3.2.1: SubWidthC and SubHeightC.
        width -= (2 if chroma_format in (1, 2) else 1) * (r.ue() + r.ue())
        height -= (2 if chroma_format == 1 else 1) * (r.ue() + r.ue())
    if width <= 0 or height <= 0:
        raise ProtocolViolation("the picture has no size", CLAUSE)
    luma_depth, chroma_depth = 8 + r.ue(8), 8 + r.ue(8)
    order_bits = r.ue(12) + 4
    reorder = 0
    for _ in range(sub_layers if r.flag() else 1):
        r.ue(MAX_PICTURES - 1)
        reorder = r.ue(MAX_PICTURES - 1)
        r.ue()
    vui = _find_vui(r, order_bits)
    return Sps(
        id_,
        sub_layers,
        nested,
        profile,
        0 if separate else chroma_format,
        luma_depth,
        chroma_depth,
        width,
        height,
        vui.frame_rate,
        reorder,
        vui.display,
    )


def _find_vui(r: BitReader, order_bits: int) -> _Vui:
    """The VUI, where there is one.

    What lies before it says nothing that is needed here, and a VUI that a camera cut short stops no decoder:
    what cannot be read counts as absent.
    """
    try:
        _skip_to_vui(r, order_bits)
        return _parse_vui(r) if r.flag() else _Vui()
    except ProtocolViolation:
        return _Vui()


def _skip_to_vui(r: BitReader, order_bits: int) -> None:
    for _ in range(6):
        r.ue()
    if r.flag() and r.flag():
        _skip_scaling_lists(r)
    r.skip(2)
    if r.flag():
        r.skip(8)
        r.ue()
        r.ue()
        r.skip(1)
    _skip_reference_sets(r, r.ue(64))
    if r.flag():
        for _ in range(r.ue(32)):
            r.skip(order_bits + 1)
    r.skip(2)


def _skip_scaling_lists(r: BitReader) -> None:
    """7.3.4."""
    for size in range(4):
        for _ in range(2 if size == 3 else 6):
            if not r.flag():
                r.ue()
                continue
            if size > 1:
                r.se()
            for _ in range(min(64, 1 << 4 + 2 * size)):
                r.se()


def _skip_reference_sets(r: BitReader, sets: int) -> None:
    """7.3.7: each may be told as a change of the one before it."""
    count = 0
    for index in range(sets):
        if index and r.flag():
            r.skip(1)
            r.ue()
            kept = 0
            for _ in range(count + 1):
                # used_by_curr_pic_flag, else use_delta_flag.
                if r.flag() or r.flag():
                    kept += 1
            count = kept
        else:
            count = r.ue(MAX_PICTURES) + r.ue(MAX_PICTURES)
            for _ in range(count):
                r.ue()
                r.skip(1)
        if count > MAX_PICTURES:
            raise ProtocolViolation("a reference picture set has more than 16 pictures", CLAUSE)


def _parse_vui(r: BitReader) -> _Vui:
    """E.2.1, as far as the timing."""
    display = read_display(r)
    r.skip(3)
    if r.flag():
        for _ in range(4):
            r.ue()
    if not r.flag():
        return _Vui(None, display)
    units, scale = r.u(32), r.u(32)
    return _Vui(scale / units if units and scale else None, display)
