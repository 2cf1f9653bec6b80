"""The program config element (ISO/IEC 14496-3 4.4.1.1): channels that no channel configuration fits."""

from __future__ import annotations

from penstock.errors import ProtocolViolation
from penstock_formats.bits import BitReader

CLAUSE = "ISO/IEC 14496-3 4.4.1.1"


def program_config_channels(bits: BitReader, start: int) -> int:
    """How many channels the element at `bits` has; `start` is the bit that its alignment counts from."""
    bits.skip(4 + 2 + 4)
    front, side, back = bits.u(4), bits.u(4), bits.u(4)
    lfe, data, coupling = bits.u(2), bits.u(3), bits.u(4)
    for width in (4, 4, 3):
        if bits.flag():
            bits.skip(width)
    channels = lfe
    for _ in range(front + side + back):
        channels += 2 if bits.flag() else 1
        bits.skip(4)
    bits.skip(4 * lfe + 4 * data + 5 * coupling)
    bits.skip((start - bits.position) % 8)
    bits.skip(8 * bits.u(8))
    if not channels:
        raise ProtocolViolation("a program config element without channels", CLAUSE)
    return channels
