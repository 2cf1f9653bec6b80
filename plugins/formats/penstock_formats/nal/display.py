"""How a picture is to be shown: the part of the VUI that H.264 (E.1.1) and H.265 (E.2.1) have alike."""

from __future__ import annotations

from attrs import frozen

from penstock_formats.bits import BitReader

EXTENDED_SAR = 255
ASPECTS = {
    1: (1, 1), 2: (12, 11), 3: (10, 11), 4: (16, 11), 5: (40, 33), 6: (24, 11), 7: (20, 11), 8: (32, 11),
    9: (80, 33), 10: (18, 11), 11: (15, 11), 12: (64, 33), 13: (160, 99), 14: (4, 3), 15: (3, 2), 16: (2, 1),
}  # fmt: skip
"""Width to height of a pixel by aspect_ratio_idc (table E-1)."""

_UNSPECIFIED = 2


@frozen
class Colour:
    """Code points of ISO/IEC 23091-2; 2 is unspecified."""

    primaries: int = _UNSPECIFIED
    transfer: int = _UNSPECIFIED
    matrix: int = _UNSPECIFIED
    full_range: bool = False


@frozen
class Display:
    """`aspect` is the width and height of a pixel; None where nothing is said."""

    aspect: tuple[int, int] | None = None
    colour: Colour | None = None


UNTOLD = Display()


def read_display(r: BitReader) -> Display:
    """The VUI from its first bit up to the place of chroma samples. Raises `ProtocolViolation`."""
    aspect: tuple[int, int] | None = None
    if r.flag():
        number = r.u(8)
        aspect = (r.u(16), r.u(16)) if number == EXTENDED_SAR else ASPECTS.get(number)
    if r.flag():
        r.skip(1)
    colour: Colour | None = None
    if r.flag():
        r.skip(3)
        full_range = r.flag()
        if r.flag():
            colour = Colour(r.u(8), r.u(8), r.u(8), full_range)
        elif full_range:
            colour = Colour(full_range=True)
    if r.flag():
        r.ue()
        r.ue()
    return Display(aspect if aspect and all(aspect) else None, colour)
