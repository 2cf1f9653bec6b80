"""Packet sequence numbers, which count modulo 2^31 (draft-sharabayko-srt-01 3.1).

Inside the connection they are whole numbers that never wrap; only the wire has 31 bits of them.
"""

from __future__ import annotations

MASK = 0x7FFFFFFF
_HALF = 0x40000000


def offset(sequence: int, base: int) -> int:
    """How far `sequence` of the wire is after the whole number `base`; negative where it is before."""
    distance = (sequence - base) & MASK
    return distance - (MASK + 1) if distance >= _HALF else distance
