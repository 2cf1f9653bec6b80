"""The program config element (ISO/IEC 14496-3 4.4.1.1): channels that no channel configuration fits."""

from __future__ import annotations

from penstock.errors import ProtocolViolation
from penstock_formats.bits import BitReader

CLAUSE = "ISO/IEC 14496-3 4.4.1.1"


ID_PCE = 5
"""id_syn_ele of the element in a raw data block (table 4.85)."""


def program_config_channels(bits: BitReader, start: int) -> int:
    """How many channels the element at `bits` has; `start` is the bit that its alignment counts from."""
    channels = _elements(bits)
    bits.skip((start - bits.position) % 8)
    bits.skip(8 * bits.u(8))
    if not channels:
        raise ProtocolViolation("a program config element without channels", CLAUSE)
    return channels


def program_of_block(block: bytes) -> bytes:
    """The element that a raw data block begins with, as an AudioSpecificConfig has it, without its comment."""
    bits = BitReader(block, CLAUSE)
    if bits.u(3) != ID_PCE:
        raise ProtocolViolation("channel configuration 0 without a program config element", CLAUSE)
    _elements(bits)
    return _moved(bits, 3, "")


def block_of_program(asc: bytes, position: int) -> bytes:
    """The element at a bit of an AudioSpecificConfig as a raw data block may begin with it, without its comment."""
    bits = BitReader(asc, CLAUSE, position)
    _elements(bits)
    return _moved(bits, position, f"{ID_PCE:03b}")


def begins_with_program(block: bytes) -> bool:
    """Whether a raw data block tells its channels itself."""
    return block[0] >> 5 == ID_PCE


def _moved(bits: BitReader, start: int, prefix: str) -> bytes:
    """The fields read since `start` behind the bits of `prefix`, aligned, and an empty comment."""
    size = bits.position - start
    bits.position = start
    text = f"{prefix}{bits.u(size):0{size}b}"
    return int(text.ljust(-(-len(text) // 8) * 8, "0"), 2).to_bytes(-(-len(text) // 8), "big") + b"\x00"


def _elements(bits: BitReader) -> int:
    """The channels in the fields before the alignment."""
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
    return channels
